import { describe, expect, test } from "vitest";
import { specOf } from "../../presets.ts";
import type { Chunk, ChunkSource } from "../trace/chunk.ts";
import { ChunkBuilder } from "../trace/chunk.ts";
import type { EventOf, TraceEvent } from "../trace/event.ts";
import { FETCH, LOAD, STORE } from "../trace/format.ts";
import { walkChunk } from "../trace/walk.ts";
import type { TraceInput } from "../trace-input.ts";
import { nativeTrace } from "./native-trace.ts";
import { predict } from "./predict.ts";

const PAGE = 4096;
const spec = specOf("amd64-8g", "linux-6.1");

// A program as qemu-user shows it: relocatable, with a dynamic linker and a stack that is mapped as a whole.
const BASE = 0x40_0000_0000;
const LINKER = BASE + 0x280_0000;
const STACK_END = LINKER;
const image = (start: number, pages: number, rights: string, file: string) => ({
  start,
  end: start + pages * PAGE,
  rights,
  what: "image",
  offset: 0,
  file,
  fileBytes: pages * PAGE,
});
const start: EventOf<"start"> = {
  op: "start",
  thread: 1,
  process: 1,
  abi: "x86-64",
  name: "prog",
  regions: [
    image(BASE, 2, "r-xp", "/bin/prog"),
    image(BASE + 2 * PAGE, 1, "rw-p", "/bin/prog"),
    { start: STACK_END - 34 * PAGE, end: STACK_END, rights: "rw-p", what: "stack", offset: 0 },
    image(LINKER, 1, "r-xp", "/lib/ld.so"),
  ],
  brk: BASE + 3 * PAGE,
};
const call = (name: string, args: number[], result: number): TraceEvent => ({ op: "call", name, args, result });
const mmap = (pages: number, result: number): TraceEvent => call("mmap", [0, pages * PAGE, 3, 0x22, -1, 0], result);

function inputOf(fill: (builder: ChunkBuilder) => void): TraceInput {
  const open = (): ChunkSource => ({
    name: "hand-made",
    hash: "0",
    header: async () => ({
      schema: "bigmem.trace/1",
      recorder: "by hand",
      command: [],
      abi: "x86-64",
      sets: 1,
      accesses: "recorded",
      ordering: "exact",
      notes: [],
    }),
    async *chunks() {
      const builder = new ChunkBuilder();
      fill(builder);
      yield builder.take();
    },
  });
  return { name: "hand-made", open };
}

async function nativeChunk(fill: (builder: ChunkBuilder) => void): Promise<Chunk> {
  for await (const chunk of nativeTrace(inputOf(fill), spec).open().chunks()) return chunk;
  throw new Error("no chunk");
}

const pagesOf = (chunk: Chunk): string[] => {
  const pages: string[] = [];
  walkChunk(chunk, { run: (_kind, page) => pages.push((page * PAGE).toString(16)), event: () => {} });
  return pages;
};

describe("a recording laid out natively", () => {
  test("has its image, linker, stack and break where Linux puts them", async () => {
    const chunk = await nativeChunk((builder) => {
      builder.event(start);
      builder.run(FETCH, BASE / PAGE, 1);
      builder.run(FETCH, LINKER / PAGE, 1);
      builder.run(STORE, STACK_END / PAGE - 1, 1);
      builder.event(call("brk", [0], start.brk));
      builder.event(call("brk", [start.brk + 2 * PAGE], start.brk + 2 * PAGE));
      builder.run(STORE, start.brk / PAGE, 1);
    });
    // After the vdso, which the linker reads: the image, the linker, the stack, the heap behind the image.
    expect(pagesOf(chunk).slice(1)).toEqual(["555555554000", "7ffff7ffe000", "7fffffffe000", "555555557000"]);
    const brk = chunk.events.filter((event) => event.op === "call").map(({ result }) => result);
    expect(brk).toEqual([0x555555557000, 0x555555559000]);
  });

  test("has later mappings below earlier ones, and gaps used again", async () => {
    const chunk = await nativeChunk((builder) => {
      builder.event(start);
      builder.event(mmap(4, BASE + 0x100_0000));
      builder.event(mmap(1, BASE + 0x200_0000));
      builder.run(LOAD, (BASE + 0x200_0000) / PAGE, 1);
      builder.event(call("munmap", [BASE + 0x100_0000, 4 * PAGE], 0));
      builder.event(mmap(4, BASE + 0x300_0000));
      builder.run(LOAD, (BASE + 0x300_0000) / PAGE, 1);
    });
    // The vdso's area lies below the linker's one page: 6 pages from 0x7ffff7ff8000.
    expect(pagesOf(chunk).slice(1)).toEqual(["7ffff7ff3000", "7ffff7ff4000"]);
  });

  test("counts faults from the first instruction on, without those of exec", async () => {
    const { processes, differenceCount, signalCount } = await predict(
      inputOf((builder) => {
        builder.event(start);
        builder.run(FETCH, LINKER / PAGE, 1);
        builder.run(STORE, STACK_END / PAGE - 1, 1);
        builder.run(STORE, BASE / PAGE + 2, 1);
        builder.event(mmap(3, BASE + 0x100_0000));
        for (let page = 0; page < 3; page++) builder.run(STORE, (BASE + 0x100_0000) / PAGE + page, 1);
        builder.event({ op: "exit", thread: 1, status: 0, scope: "process" });
      }),
      spec,
      { version: "" },
    );
    expect({ differenceCount, signalCount }).toEqual({ differenceCount: 0, signalCount: 0 });
    // The vdso, the linker's page and three new ones; exec has touched the stack and the writable page.
    expect(processes).toMatchObject([{ minorFaults: 5, majorFaults: 0 }]);
    // Leaf tables of the image, the mappings and the stack, and two levels above for each half.
    expect(processes[0].pageTablesBytes).toBe((3 + 2 + 2) * PAGE);
  });
});
