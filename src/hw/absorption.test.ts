/**
 * A trace's record stands for accesses that find their translation most recently used. So a replay of the records alone
 * must leave the same misses, walks, faults, A and D bits as a replay of every access.
 */
import { describe, expect, test } from "vitest";
import { Rng } from "../base/rng.ts";
import { type Access, FETCH, LOAD, STORE } from "./access.ts";
import { HandBuiltTables } from "./hand-built-tables.ts";
import { Mmu } from "./mmu.ts";
import { i386, type PagingFormat, pae, x86_64 } from "./paging-format.ts";
import { PhysicalMemory } from "./physical-memory.ts";
import { PTE_PRESENT, PTE_USER, PTE_WRITE } from "./pte.ts";
import { absorbableSets, type TlbShape } from "./tlb.ts";
import { tlbPresets } from "./tlb-presets.ts";

interface Record {
  readonly page: number;
  readonly kind: Access;
}

/** By slot of each stream: the page accessed last. A fetch needs its own; data needs all data's and its own kind's. */
class Absorber {
  private readonly fetches: number[];
  private readonly data: number[];
  private readonly byKind: number[][];

  constructor(slots: number) {
    const stream = () => new Array<number>(slots).fill(-1);
    this.fetches = stream();
    this.data = stream();
    this.byKind = [this.fetches, stream(), stream()];
  }

  absorbs({ page, kind }: Record): boolean {
    const slot = page % this.data.length;
    const own = this.byKind[kind]!;
    const absorbed = own[slot] === page && (kind === FETCH || this.data[slot] === page);
    own[slot] = page;
    if (kind !== FETCH) this.data[slot] = page;
    return absorbed;
  }
}

const isReadOnly = (page: number): boolean => page % 7 === 0;
const isAbsentAtFirst = (page: number): boolean => page % 5 === 0;

/** Accesses that stay on a few pages for a while; nobody stores to a read-only page. */
function randomAccesses(seed: number, length: number): Record[] {
  const random = new Rng(seed);
  const favourites = [0, 0, 0, 0];
  let page = 0;
  let kind: Access = LOAD;
  return Array.from({ length }, () => {
    const which = random.below(favourites.length);
    if (random.chance(0.03)) favourites[which] = random.below(random.chance(0.8) ? 90 : 5000);
    if (random.chance(0.4)) page = favourites[which]!;
    if (random.chance(0.3)) kind = random.pick([FETCH, LOAD, LOAD, STORE]);
    return { page, kind: kind === STORE && isReadOnly(page) ? LOAD : kind };
  });
}

/** What can be told apart afterwards. Absent pages are mapped at the fault, as a kernel would, with no flush. */
function outcomeOf(accesses: readonly Record[], shape: TlbShape, format: PagingFormat) {
  const tables = new HandBuiltTables(new PhysicalMemory(2 ** 16), format);
  const mmu = new Mmu(tables.entries.memory, format, shape);
  const map = (page: number) =>
    tables.map(page, 1000 + page, PTE_PRESENT | PTE_USER | (isReadOnly(page) ? 0 : PTE_WRITE));
  const pages = [...new Set(accesses.map(({ page }) => page))].sort((one, other) => one - other);
  for (const page of pages) if (!isAbsentAtFirst(page)) map(page);
  mmu.loadRoot(tables.root);
  const faults: string[] = [];
  for (const { page, kind } of accesses) {
    while (!mmu.touch(page, kind)) {
      faults.push(`${mmu.faultPage}:${mmu.faultError}`);
      map(page);
    }
  }
  const { missesInstruction, missesData, secondLevelHits, walks, walkSteps, dirtyUpdates } = mmu;
  const counts = { missesInstruction, missesData, secondLevelHits, walks, walkSteps, dirtyUpdates };
  return { counts, faults, flags: pages.map((page) => tables.flags(page)) };
}

function checkAbsorption(shape: TlbShape, format: PagingFormat, slots: number, accesses: readonly Record[]): void {
  const absorber = new Absorber(slots);
  const records = accesses.filter((access) => !absorber.absorbs(access));
  expect(records.length).toBeLessThan(accesses.length * 0.7);
  expect(outcomeOf(records, shape, format)).toEqual(outcomeOf(accesses, shape, format));
}

describe.each(Object.values(tlbPresets) as TlbShape[])("$name", (shape) => {
  test.each([i386, pae, x86_64])("one slot a stream changes nothing, on $name", (format) => {
    checkAbsorption(shape, format, 1, randomAccesses(11, 60_000));
  });

  test("nor with a tree instead of LRU, where its sets can have one", () => {
    const powerOfTwo = (array: { entries: number; ways: number | "full" }) => {
      const ways = array.ways === "full" ? array.entries : array.ways;
      return ways <= 32 && Number.isInteger(Math.log2(ways));
    };
    const lists = [shape.instruction, shape.load, shape.store, shape.second, shape.secondInstruction, shape.secondData];
    if (!lists.every((list) => (list ?? []).every(powerOfTwo))) return;
    checkAbsorption({ ...shape, replacement: "tree-plru" }, x86_64, 1, randomAccesses(12, 60_000));
  });

  test("as many slots a stream as divide the sets of every first-level array change nothing", () => {
    checkAbsorption(shape, x86_64, absorbableSets(shape), randomAccesses(13, 60_000));
  });
});

test("sixteen slots are exact on Skylake, whose first-level arrays all have sixteen sets or more", () => {
  expect(absorbableSets(tlbPresets["skylake-sp"])).toBe(16);
  checkAbsorption(tlbPresets["skylake-sp"], x86_64, 16, randomAccesses(14, 200_000));
});

test("more slots than a first-level array has sets are not exact: sixteen, on P6", () => {
  const absorber = new Absorber(16);
  const accesses = randomAccesses(13, 60_000);
  const records = accesses.filter((access) => !absorber.absorbs(access));
  expect(outcomeOf(records, tlbPresets.p6, x86_64).counts).not.toEqual(
    outcomeOf(accesses, tlbPresets.p6, x86_64).counts,
  );
});
