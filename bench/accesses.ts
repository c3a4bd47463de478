/**
 * How fast accesses go through the model CPU: a loop over the words of trace records, as replay has one, on Ice Lake's
 * TLB and four levels of page tables.
 */
import { FETCH, LOAD, STORE } from "../src/hw/access.ts";
import { Cpu } from "../src/hw/cpu.ts";
import { HandBuiltTables } from "../src/hw/hand-built-tables.ts";
import { x86_64 } from "../src/hw/paging-format.ts";
import { PhysicalMemory } from "../src/hw/physical-memory.ts";
import { PTE_PRESENT, PTE_USER, PTE_WRITE } from "../src/hw/pte.ts";
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

/**
 * How uneven the popularity of pages is. With it, 4 % of the records miss the first level and next to none the second;
 * of the records of python3 (absorbed with one slot a stream) 3.4 % do.
 */
const POPULARITY = 60;

/** Records with the locality of programs: few pages are popular, most are not. */
export function benchHits(now: () => number, seconds = 1): Measurement {
  const code = 60;
  const data = 400;
  const pages = Float64Array.from({ length: code + data }, (_, index) => FIRST_PAGE + index * 3);
  const random = generator(1);
  const words = new Uint32Array(RECORDS);
  for (let record = 0; record < RECORDS; record++) {
    const kind = pickKind(random());
    const popularity = random() ** POPULARITY;
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
  const memory = new PhysicalMemory(1 << 24);
  const tables = new HandBuiltTables(memory, x86_64);
  for (const page of pages) tables.map(page, (1 << 23) + (page % (1 << 22)), PTE_PRESENT | PTE_WRITE | PTE_USER);
  const cpu = new Cpu(0, memory, x86_64, tlbPresets.icelake);
  cpu.loadRoot(tables.root);
  return cpu;
}

/** Kinds as a recording of python3 has them: 14 % fetches, 63 % loads, 23 % stores. */
function pickKind(random: number): number {
  if (random < 0.14) return FETCH;
  return random < 0.77 ? LOAD : STORE;
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
