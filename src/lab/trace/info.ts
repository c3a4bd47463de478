/** `trace info`: what is in a trace, and how far its streams are in order. */
import { z } from "zod";
import { PAGE_SIZE } from "../../base/units.ts";
import type { ChunkSource } from "./chunk.ts";
import type { TraceEvent } from "./event.ts";
import { headerSchema, orderings } from "./format.ts";
import { PageSet } from "./page-set.ts";
import { walk } from "./walk.ts";

const kindCounts = z.strictObject({ fetch: z.int(), load: z.int(), store: z.int() });

export const traceInfoSchema = z.strictObject({
  schema: z.literal("bigmem.trace-info/1"),
  name: z.string(),
  hash: z.string(),
  header: headerSchema,
  chunks: z.int(),
  records: z.int(),
  accesses: z.int(),
  recordsByKind: kindCounts,
  accessesByKind: kindCounts,
  accessesPerRecord: z.number(),
  processes: z.int(),
  threads: z.int(),
  /** Pages that any access or kernel access touches, each address space's own. */
  distinctPages: z.int(),
  /** By operation; of calls by name: "call mmap". */
  events: z.record(z.string(), z.int()),
  failedCalls: z.int(),
  /** Times the current thread changed: the finest order between threads that the trace knows. */
  switches: z.int(),
  ordering: z.string(),
});
export type TraceInfo = z.infer<typeof traceInfoSchema>;

/** No kernel access is longer: a larger length in a trace is not believed. */
const MOST_PAGES = 1 << 20;

const kindNames = ["fetch", "load", "store"] as const;

export async function traceInfo(source: ChunkSource): Promise<TraceInfo> {
  const header = await source.header();
  const counter = new Counter();
  let chunks = 0;
  await walk(source, counter, async () => {
    chunks++;
  });
  const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((a, b) => a + b, 0);
  const runs = sum(counter.records);
  const accesses = sum(counter.accesses);
  return {
    schema: "bigmem.trace-info/1",
    name: source.name,
    hash: source.hash,
    header,
    chunks,
    records: runs + counter.eventCount,
    accesses,
    recordsByKind: counter.records,
    accessesByKind: counter.accesses,
    accessesPerRecord: runs === 0 ? 0 : accesses / runs,
    processes: counter.processes.size,
    threads: counter.processOf.size,
    distinctPages: counter.distinctPages(),
    events: Object.fromEntries([...counter.events].sort(([a], [b]) => (a < b ? -1 : 1))),
    failedCalls: counter.failedCalls,
    switches: counter.events.get("switch") ?? 0,
    ordering: counter.processOf.size <= 1 ? "exact: one thread" : `${header.ordering}: ${orderings[header.ordering]}`,
  };
}

class Counter {
  readonly records = { fetch: 0, load: 0, store: 0 };
  readonly accesses = { fetch: 0, load: 0, store: 0 };
  readonly events = new Map<string, number>();
  readonly processes = new Set<number>();
  /** By thread: its process. */
  readonly processOf = new Map<number, number>();
  failedCalls = 0;
  eventCount = 0;
  private readonly touched = new Map<number, PageSet>();
  private pages = this.pagesOf(0);

  run(kind: 0 | 1 | 2, page: number, count: number): void {
    const name = kindNames[kind];
    this.records[name]++;
    this.accesses[name] += count;
    this.pages.add(page);
  }

  event(event: TraceEvent): void {
    this.eventCount++;
    const name = event.op === "call" ? `call ${event.name}` : event.op;
    this.events.set(name, (this.events.get(name) ?? 0) + 1);
    if (event.op === "call" && event.result < 0) this.failedCalls++;
    if (event.op === "start") this.enter(event.thread, event.process);
    else if (event.op === "fork") this.adopt(event.child, event.process);
    else if (event.op === "switch") this.enter(event.thread, this.processOf.get(event.thread) ?? event.thread);
    else if (event.op === "kernel-access") this.touch(event.address, event.lengthBytes);
  }

  distinctPages(): number {
    let pages = 0;
    for (const set of this.touched.values()) pages += set.size;
    return pages;
  }

  private enter(thread: number, process: number): void {
    this.adopt(thread, process);
    this.pages = this.pagesOf(process);
  }

  private adopt(thread: number, process: number): void {
    this.processes.add(process);
    this.processOf.set(thread, process);
  }

  private touch(address: number, lengthBytes: number): void {
    const first = Math.floor(address / PAGE_SIZE);
    const end = Math.min(Math.ceil((address + lengthBytes) / PAGE_SIZE), first + MOST_PAGES);
    for (let page = first; page < end; page++) this.pages.add(page);
  }

  private pagesOf(process: number): PageSet {
    let pages = this.touched.get(process);
    if (pages === undefined) {
      pages = new PageSet();
      this.touched.set(process, pages);
    }
    return pages;
  }
}

/** For people. */
export function infoText(info: TraceInfo): string {
  const count = (value: number): string => value.toLocaleString("en-US");
  const rows: [string, string][] = [
    ["trace", `${info.name} (${info.hash})`],
    ["recorded by", info.header.recorder],
    ["command", info.header.command.join(" ")],
    ["addresses", info.header.abi],
    ["records", `${count(info.records)} in ${count(info.chunks)} chunks`],
    [
      "accesses",
      `${count(info.accesses)} (${info.accessesPerRecord.toPrecision(3)} a record, absorbed at ${info.header.sets} sets)`,
    ],
    ["fetches", count(info.accessesByKind.fetch)],
    ["loads", count(info.accessesByKind.load)],
    ["stores", count(info.accessesByKind.store)],
    ["distinct pages", count(info.distinctPages)],
    ["processes", count(info.processes)],
    ["threads", count(info.threads)],
    ["order", info.ordering],
    ["switches", count(info.switches)],
    ["failed calls", count(info.failedCalls)],
    ...Object.entries(info.events).map(([name, times]): [string, string] => [`  ${name}`, count(times)]),
    ...info.header.notes.map((note): [string, string] => ["note", note]),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join("");
}
