/**
 * Making whole page tables present at once leaves behind what a fault for each page does: the same words, counts, chains
 * and costs, whatever the design, and whatever happens to those pages afterwards.
 */
import { describe, expect, test } from "vitest";
import { addressOf, type Vpn } from "../src/base/units.ts";
import { audit } from "../src/check/audit/audit.ts";
import { describe as picture } from "../src/check/describe.ts";
import { LOAD, STORE } from "../src/hw/access.ts";
import { MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE } from "../src/lab/import/calls.ts";
import { DONE, Machine } from "../src/machine.ts";
import { OpenFile } from "../src/mm/file.ts";
import { meminfo } from "../src/mm/meminfo.ts";
import { populate } from "../src/mm/populate.ts";
import type { Process } from "../src/mm/process.ts";
import { specOf } from "../src/presets.ts";

const chained = ["pte-chain-a", "pte-chain-b", "pte-chain-e", "object-chain-convert", "object-chain-incremental"];
const searched = ["none", "object-anon", "anonmm"];
const reclaims = (reverseMap: string) => (reverseMap === "none" ? ["reclaim=linux-2.4"] : []);
const highTables = ["pageTablePlacement=highmem", "pageTableAccess=kmap-atomic"];

const cases: [string, string, string[]][] = [
  ...[...chained, ...searched].map((reverseMap): [string, string, string[]] => [
    "piii-4g",
    "linux-2.6.11",
    [`reverseMap=${reverseMap}`, ...reclaims(reverseMap)],
  ]),
  ...["pte-chain-a", "object-anon"].map((reverseMap): [string, string, string[]] => [
    "opteron-32g",
    "linux-2.6.11",
    [`reverseMap=${reverseMap}`],
  ]),
  ["nonpae-3g", "linux-2.6.11", ["reverseMap=pte-chain-e"]],
  ["piii-4g", "linux-2.6.11", [...highTables, "reverseMap=pte-chain-e", "reverseMapPlacement=highmem"]],
  ["piii-4g", "linux-2.6.11", [...highTables, "reverseMap=pte-chain-e", "pageTableFreeing=when-empty"]],
  ["piii-4g", "linux-2.6.11", ["pageTableCache=per-cpu-pages", "reverseMap=pte-chain-b"]],
  ["pae-8g", "linux-6.1", []],
  ["amd64-8g", "linux-6.18", ["pageTableFreeing=when-empty"]],
];

const START: Vpn = 0x40000;

/** How a range is made present: at once, or a page at a time, which is too little for a table. */
type Way = "tables" | "pages";

class System {
  readonly machine: Machine;
  readonly file: OpenFile;
  readonly span: number;
  readonly way: Way;

  constructor(way: Way, machine: string, kernel: string, settings: readonly string[]) {
    this.way = way;
    this.machine = new Machine(specOf(machine, kernel, ["geometry.memory=1G", ...settings]));
    this.span = this.machine.kernel.tables.span(1);
    const sizeBytes = addressOf(3 * this.span);
    this.file = new OpenFile(
      this.machine.kernel.files.create({ name: "segment", kind: "shmem", sizeBytes }),
      "read-write",
    );
  }

  start(name: string, offset: number, prot = PROT_READ | PROT_WRITE): Process {
    const process = this.machine.spawn(name);
    const thread = process.threads[0]!;
    const pages = 3 * this.span - offset;
    const args = [addressOf(START), addressOf(pages), prot, MAP_SHARED | MAP_FIXED, this.file, addressOf(offset)];
    expect(this.machine.call(thread, "mmap", args)).toBe(addressOf(START));
    const step = this.way === "tables" ? pages : 1;
    for (let page = START; page < START + pages; page += step) {
      expect(this.machine.run(thread, populate(this.machine.kernel, thread, page, page + step))).toBe(0);
    }
    return process;
  }

  touch(process: Process, page: Vpn, kind: typeof LOAD | typeof STORE): void {
    expect(this.machine.access(process.threads[0]!, addressOf(page), kind)).toBe(DONE);
  }

  get state() {
    const { kernel, processes } = this.machine;
    const { reverseMap, counters, slabs, allocator } = kernel;
    return {
      costs: { ...reverseMap.costs },
      bytes: reverseMap.bytes,
      counters: { ...counters },
      slabs: slabs.all.map(({ name, objects, pages }) => [name, objects, pages]),
      zones: allocator.zones.map(({ free, listed }) => [free, listed]),
      memory: meminfo(kernel),
      faults: processes.map(({ minorFaults }) => minorFaults),
      tables: processes.map(({ mm }) => [...mm.tablesByLevel]),
      resident: processes.map(({ mm }) => ({ ...mm.resident })),
      mapped: kernel.frames.mapped,
    };
  }
}

describe.each(cases)("%s, %s, %j", (machine, kernel, settings) => {
  test("tables at once leave behind what pages one by one do", () => {
    const [fast, slow] = (["tables", "pages"] as const).map((way) => new System(way, machine, kernel, settings));
    const both = <T>(doing: (system: System) => T): void => {
      doing(fast!);
      doing(slow!);
      expect(fast!.state).toEqual(slow!.state);
    };
    const started = new Map<System, Process[]>([fast!, slow!].map((system) => [system, []]));
    const start = (name: string, offset: number, prot?: number) =>
      both((system) => started.get(system)!.push(system.start(name, offset, prot)));

    start("first", 0);
    for (let at = 0; at < 6; at++) start(`same ${at}`, 0);
    expect(picture(fast!.machine)).toBe(picture(slow!.machine));
    start("shifted by a table", fast!.span);
    start("shifted by some pages", 100);
    start("reader", 0, PROT_READ);
    start("last", 0);
    both((system) => {
      const [, one, two] = started.get(system)!;
      system.touch(one!, START + 3, STORE);
      system.touch(two!, START + system.span + 3, LOAD);
    });
    expect(picture(fast!.machine)).toBe(picture(slow!.machine));
    both((system) => {
      const [first, one, two] = started.get(system)!;
      system.machine.call(two!.threads[0]!, "munmap", [addressOf(START + 5), addressOf(system.span)]);
      system.machine.exit(one!, 0);
      system.machine.exit(first!, 0);
    });
    start("after", 0);
    expect(picture(fast!.machine)).toBe(picture(slow!.machine));
    for (const system of [fast!, slow!]) expect(audit(system.machine)).toEqual([]);
    both((system) => {
      for (const process of started.get(system)!) if (process.state === "alive") system.machine.exit(process, 0);
    });
  });
});

test("tables made present at once take less of the host", () => {
  for (const [machine, kernel, settings] of [cases[0]!, cases.at(-1)!]) {
    const [fast, slow] = (["tables", "pages"] as const).map((way) => new System(way, machine, kernel, settings));
    for (let at = 0; at < 10; at++) for (const system of [fast!, slow!]) system.start(`process ${at}`, 0);
    const literal = ({ machine }: System) => machine.kernel.memory.literalFrames;
    expect(literal(slow!) - literal(fast!)).toBeGreaterThanOrEqual(8 * 3);
  }
});
