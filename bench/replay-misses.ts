/** Replay of random loads and stores over memory far beyond the reach of any TLB, already mapped: 98 of 100 records walk. */
import { Rng } from "../src/base/rng.ts";
import { unmoved } from "../src/lab/rebase.ts";
import { Replay } from "../src/lab/replay.ts";
import { type Chunk, ChunkBuilder } from "../src/lab/trace/chunk.ts";
import { LOAD, STORE } from "../src/lab/trace/format.ts";
import { Machine } from "../src/machine.ts";
import { specOf } from "../src/presets.ts";
import type { Measurement, Size } from "./all.ts";

const AREA_PAGES = 1 << 18;
const FIRST_PAGE = 0x10_0000;

export function benchReplayMisses(now: () => number, size: Size): Measurement {
  const machine = new Machine(specOf("icelake-1t", "linux-6.1", ["geometry.cpus=1"]));
  const replay = new Replay(machine, 1, unmoved);
  const builder = new ChunkBuilder();
  builder.event({ op: "start", thread: 1, process: 1, abi: "x86-64", regions: [area], brk: 0 });
  for (let page = 0; page < AREA_PAGES; page++) {
    if (builder.full) replay.chunk(builder.take());
    builder.run(STORE, FIRST_PAGE + page, 1);
  }
  replay.chunk(builder.take());

  const chunks = randomChunks(builder, size === "full" ? 128 : 2);
  const records = chunks.reduce((sum, { words }) => sum + words.length, 0);
  const began = now();
  for (const chunk of chunks) replay.chunk(chunk);
  return { value: (records / (now() - began)) * 1000, unit: "records/s" };
}

const area = {
  start: FIRST_PAGE * 4096,
  end: (FIRST_PAGE + AREA_PAGES) * 4096,
  rights: "rw-p",
  what: "anonymous",
  offset: 0,
};

function randomChunks(builder: ChunkBuilder, count: number): Chunk[] {
  const rng = new Rng(1);
  return Array.from({ length: count }, () => {
    while (!builder.full) builder.run(rng.below(4) === 0 ? STORE : LOAD, FIRST_PAGE + rng.below(AREA_PAGES), 1);
    const chunk = builder.take();
    return { ...chunk, words: chunk.words.slice() };
  });
}
