/**
 * How fast accesses go through the model CPU: a loop over the words of trace records, as replay has one, on Ice Lake's
 * TLB and four levels of page tables.
 */
import type { Pfn } from "../src/base/units.ts";
import { FETCH, LOAD, STORE } from "../src/hw/access.ts";
import { Cpu } from "../src/hw/cpu.ts";
import { x86_64 } from "../src/hw/paging-format.ts";
import { PhysicalMemory } from "../src/hw/physical-memory.ts";
import { Entries, linkFlags, type OpenTable, PTE_PRESENT, PTE_USER, PTE_WRITE } from "../src/hw/pte.ts";
import { tlbPresets } from "../src/hw/tlb-presets.ts";

export interface Measurement {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

/** A chunk of a trace: `kind | (count - 1) << 2 | pageIndex << 14`, and the pages that it names. */
interface Records {
  readonly words: Uint32Array;
  readonly pages: Float64Array;
}

const RECORDS = 1 << 16;
const FIRST_PAGE = 0x7f000_0000;

/** Records with the locality of programs: code and data pages by popularity, and a pass over an array. */
export function benchHits(now: () => number, seconds = 1): Measurement {
  const code = 60;
  const data = 400;
  const pages = Float64Array.from({ length: code + data }, (_, index) => FIRST_PAGE + index * 3);
  const random = generator(1);
  const words = new Uint32Array(RECORDS);
  for (let record = 0; record < RECORDS; record++) {
    const kind = pickKind(random());
    const popularity = random() ** 12;
    const index = kind === FETCH ? Math.floor(popularity * code) : code + Math.floor(popularity * data);
    words[record] = kind | (4 << 2) | (index << 14);
  }
  return measure("accesses that mostly hit the TLB", { words, pages }, now, seconds);
}

/** Records at random over 512 MiB, of which next to all miss the TLB. */
export function benchMisses(now: () => number, seconds = 1): Measurement {
  const areaPages = 1 << 17;
  const random = generator(2);
  const pages = Float64Array.from({ length: RECORDS }, () => FIRST_PAGE + Math.floor(random() * areaPages));
  const words = Uint32Array.from({ length: RECORDS }, (_, index) => pickKind(random()) | (index << 14));
  return measure("accesses of which 98 % miss the TLB", { words, pages }, now, seconds);
}

function measure(name: string, records: Records, now: () => number, seconds: number): Measurement {
  const cpu = machineWith(records.pages);
  replay(cpu, records);
  let replayed = 0;
  const start = now();
  let elapsed = 0;
  do {
    for (let round = 0; round < 20; round++) replay(cpu, records);
    replayed += 20 * records.words.length;
    elapsed = now() - start;
  } while (elapsed < seconds * 1000);
  return { name, value: replayed / (elapsed / 1000), unit: "records/s" };
}

function replay(cpu: Cpu, { words, pages }: Records): number {
  let accesses = 0;
  for (let record = 0; record < words.length; record++) {
    const word = words[record]!;
    if (!cpu.touch(pages[word >>> 14]!, word & 3)) throw new Error(`page ${cpu.mmu.faultPage} is not mapped`);
    accesses += ((word >>> 2) & 0xfff) + 1;
  }
  return accesses;
}

/** A CPU and four-level page tables that map each of `pages`. */
function machineWith(pages: Float64Array): Cpu {
  const format = x86_64;
  const memory = new PhysicalMemory(1 << 24);
  const entries = new Entries(memory, format);
  let nextFrame = 1;
  const newTable = (): OpenTable => nextFrame++ as Pfn as OpenTable;
  const root = newTable();
  for (const page of pages) {
    let table = root;
    for (let level = format.levels; level > 1; level--) {
      const index = format.indexAt(page, level);
      if (entries.flags(table, index) === 0) entries.set(table, index, newTable(), linkFlags(format, level));
      table = entries.frame(table, index) as OpenTable;
    }
    entries.set(table, format.indexAt(page, 1), (1 << 23) + (page % (1 << 22)), PTE_PRESENT | PTE_WRITE | PTE_USER);
  }
  const cpu = new Cpu(0, memory, format, tlbPresets.icelake);
  cpu.loadRoot(root);
  return cpu;
}

/** One fetch and two loads for each store, about. */
function pickKind(random: number): number {
  if (random < 0.25) return FETCH;
  return random < 0.75 ? LOAD : STORE;
}

/** Numbers in [0, 1), the same ones for the same seed (xorshift32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
