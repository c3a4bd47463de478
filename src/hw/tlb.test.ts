/**
 * The TLB against a model that is as naive as can be: sets are lists of objects, the model looks through all of them,
 * and knows nothing of rings, tags or arrays.
 */
import { describe, expect, test } from "vitest";
import { UsageError } from "../base/errors.ts";
import { Rng } from "../base/rng.ts";
import { type Access, FETCH, LOAD, STORE } from "./access.ts";
import { HandBuiltTables } from "./hand-built-tables.ts";
import { Mmu } from "./mmu.ts";
import { type PagingFormat, pagingFormats, x86_64 } from "./paging-format.ts";
import { PhysicalMemory } from "./physical-memory.ts";
import { PTE_PRESENT, PTE_USER, PTE_WRITE } from "./pte.ts";
import { type ArrayShape, absorbableSets, Tlb, type TlbShape } from "./tlb.ts";
import { tlbPresets } from "./tlb-presets.ts";

const PAGES_OF = { "4K": 1, "2M": 512, "1G": 262_144 } as const;
type Size = keyof typeof PAGES_OF;
const SIZES: readonly Size[] = ["4K", "2M", "1G"];

interface NaiveEntry {
  readonly size: Size;
  readonly number: number;
  dirty: boolean;
  readonly way: number;
  usedAt: number;
}

class NaiveArray {
  readonly shape: ArrayShape;
  readonly ways: number;
  private readonly plru: boolean;
  private readonly sets: NaiveEntry[][];
  /** By set: the empty ways, to be used from the end. */
  private readonly empty: number[][];
  /** By set: the halves of the tree that were used last, by the prefix of the way's bits. */
  private readonly lastHalf: Map<string, string>[];
  private clock = 0;

  constructor(shape: ArrayShape, plru: boolean) {
    this.shape = shape;
    this.plru = plru;
    this.ways = shape.ways === "full" ? shape.entries : shape.ways;
    this.sets = Array.from({ length: shape.entries / this.ways }, () => []);
    this.empty = this.sets.map(() => Array.from({ length: this.ways }, (_, at) => this.ways - 1 - at));
    this.lastHalf = this.sets.map(() => new Map());
  }

  holds(size: Size): boolean {
    return this.shape.pages.includes(size);
  }

  find(size: Size, page: number): NaiveEntry | undefined {
    const number = Math.floor(page / PAGES_OF[size]);
    const set = number % this.sets.length;
    const entry = this.sets[set]!.find((each) => each.size === size && each.number === number);
    if (entry !== undefined) this.use(set, entry);
    return entry;
  }

  insert(size: Size, page: number, dirty: boolean): void {
    const number = Math.floor(page / PAGES_OF[size]);
    const set = number % this.sets.length;
    const entries = this.sets[set]!;
    const allowed = size === "4K" ? this.ways : (this.shape.largeWays ?? this.ways);
    let way = this.takeEmpty(set, allowed);
    if (way === undefined) {
      way = this.plru ? this.treeVictim(set) : this.leastRecent(set, allowed);
      entries.splice(
        entries.findIndex((each) => each.way === way),
        1,
      );
    }
    const entry = { size, number, dirty, way, usedAt: 0 };
    entries.push(entry);
    this.use(set, entry);
  }

  drop(page: number): void {
    for (const [number, set] of this.sets.entries()) {
      const at = set.findIndex((each) => Math.floor(page / PAGES_OF[each.size]) === each.number);
      if (at >= 0) this.empty[number]!.push(...set.splice(at, 1).map(({ way }) => way));
    }
  }

  clear(): void {
    for (const [number, set] of this.sets.entries()) {
      const lastFirst = set.splice(0).sort((one, other) => other.usedAt - one.usedAt);
      this.empty[number]!.unshift(...lastFirst.map(({ way }) => way));
    }
  }

  /** The way emptied last; a tree takes the lowest empty one. */
  private takeEmpty(set: number, allowed: number): number | undefined {
    const empty = this.empty[set]!;
    if (this.plru) empty.sort((one, other) => other - one);
    const at = empty.findLastIndex((way) => way < allowed);
    return at < 0 ? undefined : empty.splice(at, 1)[0];
  }

  private use(set: number, entry: NaiveEntry): void {
    entry.usedAt = ++this.clock;
    const bits = this.wayBits(entry.way);
    for (let length = 0; length < bits.length; length++) this.lastHalf[set]!.set(bits.slice(0, length), bits[length]!);
  }

  private leastRecent(set: number, allowed: number): number {
    const candidates = this.sets[set]!.filter((each) => each.way < allowed);
    return candidates.reduce((oldest, each) => (each.usedAt < oldest.usedAt ? each : oldest)).way;
  }

  private treeVictim(set: number): number {
    let path = "";
    while (2 ** path.length < this.ways) path += this.lastHalf[set]!.get(path) === "0" ? "1" : "0";
    return Number.parseInt(path || "0", 2);
  }

  private wayBits(way: number): string {
    const bits = Math.round(Math.log2(this.ways));
    return bits === 0 ? "" : way.toString(2).padStart(bits, "0");
  }
}

/** The two levels, and how a walk fills them. `pageSize` is the size that the page tables map each page with. */
class NaiveTlb {
  misses = 0;
  secondLevelHits = 0;
  walks = 0;
  private readonly built = new Map<ArrayShape, NaiveArray>();
  private readonly first: readonly (readonly NaiveArray[])[];
  private readonly second: readonly (readonly NaiveArray[])[];

  constructor(shape: TlbShape) {
    const plru = shape.replacement === "tree-plru";
    const arrays = (list: readonly ArrayShape[]) =>
      list.map((each) => {
        if (!this.built.has(each)) this.built.set(each, new NaiveArray(each, plru));
        return this.built.get(each)!;
      });
    const both = shape.second ?? [];
    const data = arrays([...both, ...(shape.secondData ?? [])]);
    this.first = [shape.instruction, shape.load, shape.store ?? shape.load].map(arrays);
    this.second = [arrays([...both, ...(shape.secondInstruction ?? [])]), data, data];
  }

  access(page: number, kind: Access, pageSize: Size): void {
    const needsDirty = kind === STORE;
    const hit = lookUp(this.first[kind]!, page);
    if (hit !== undefined && (hit.dirty || !needsDirty)) return;
    if (hit === undefined) {
      this.misses++;
      const second = lookUp(this.second[kind]!, page);
      if (second !== undefined) this.secondLevelHits++;
      if (second !== undefined && (second.dirty || !needsDirty)) {
        enter(this.first[kind]!, page, second.size, second.dirty, true);
        return;
      }
      if (second !== undefined) this.drop(page, kind);
    } else {
      this.drop(page, kind);
    }
    this.walks++;
    const dirty = needsDirty || this.dirtyPages.has(Math.floor(page / PAGES_OF[pageSize]));
    if (needsDirty) this.dirtyPages.add(Math.floor(page / PAGES_OF[pageSize]));
    enter(this.first[kind]!, page, pageSize, dirty, true);
    enter(this.second[kind]!, page, pageSize, dirty, false);
  }

  flushPage(page: number): void {
    for (const array of this.built.values()) array.drop(page);
  }

  flushAll(): void {
    for (const array of this.built.values()) array.clear();
  }

  /** By number of the page of its size: whether memory says D. (Sizes do not share pages here.) */
  private readonly dirtyPages = new Set<number>();

  private drop(page: number, kind: Access): void {
    for (const array of [...this.first[kind]!, ...this.second[kind]!]) array.drop(page);
  }
}

function lookUp(arrays: readonly NaiveArray[], page: number): NaiveEntry | undefined {
  for (const size of SIZES) {
    for (const array of arrays) {
      const entry = array.holds(size) ? array.find(size, page) : undefined;
      if (entry !== undefined) return entry;
    }
  }
  return undefined;
}

function enter(arrays: readonly NaiveArray[], page: number, size: Size, dirty: boolean, splitsAll: boolean): void {
  const exact = arrays.find((array) => array.holds(size));
  if (exact !== undefined) {
    exact.insert(size, page, dirty);
    return;
  }
  for (const smaller of SIZES.slice(0, SIZES.indexOf(size)).reverse()) {
    const array = arrays.find((each) => each.holds(smaller) && (splitsAll || each.shape.splits?.includes(size)));
    if (array === undefined) continue;
    array.insert(smaller, page, dirty);
    return;
  }
}

const trees: TlbShape = {
  name: "trees",
  rests: "a test",
  replacement: "tree-plru",
  instruction: [{ pages: ["4K", "2M"], entries: 32, ways: 8 }],
  load: [{ pages: ["4K", "2M"], entries: 64, ways: 4 }],
  store: [{ pages: ["4K", "2M", "1G"], entries: 16, ways: "full" }],
  second: [{ pages: ["4K", "2M"], entries: 256, ways: 16 }],
};

const shapes: TlbShape[] = [...Object.values(tlbPresets), trees];

/** Pages of 4 KiB, 2 MiB and 1 GiB in areas of their own, some popular, some not. */
function randomAccesses(seed: number, accesses: number, withLarge: boolean) {
  const random = new Rng(seed);
  return Array.from({ length: accesses }, () => {
    const size: Size = withLarge ? random.pick(SIZES) : "4K";
    const spread = random.chance(0.7) ? 24 : 3000;
    const number = random.below(size === "1G" ? 40 : Math.min(spread, size === "2M" ? 600 : spread));
    const page = AREA[size] + number * PAGES_OF[size] + (size === "4K" ? 0 : random.below(3));
    return { page, size, kind: random.below(3) as Access, flush: random.below(2000) };
  });
}

const AREA: Record<Size, number> = { "4K": 2 ** 27, "2M": 2 ** 28, "1G": 2 ** 29 };

/** The accesses on an MMU whose tables map just their pages, and on the naive model. */
function compare(shape: TlbShape, accesses: ReturnType<typeof randomAccesses>): void {
  const tables = new HandBuiltTables(new PhysicalMemory(2 ** 16), x86_64);
  const mapped = new Set<number>();
  for (const { page, size } of accesses) {
    const first = page - (page % PAGES_OF[size]);
    if (mapped.has(first)) continue;
    mapped.add(first);
    tables.map(first, first % 2 ** 30, PTE_PRESENT | PTE_WRITE | PTE_USER, SIZES.indexOf(size) + 1);
  }
  const mmu = new Mmu(tables.entries.memory, x86_64, shape);
  mmu.loadRoot(tables.root);
  const naive = new NaiveTlb(shape);
  const mayFlushPages = ![...accesses].some(({ size }) => size === "1G");
  accesses.forEach(({ page, size, kind, flush }, at) => {
    if (!mmu.translate(page, kind)) throw new Error(`access ${at} faulted`);
    if (mmu.lastFrame !== page % 2 ** 30) throw new Error(`access ${at}: page ${page} is frame ${mmu.lastFrame}`);
    naive.access(page, kind, size);
    if (mayFlushPages && flush < 40) {
      mmu.flushPage(page);
      naive.flushPage(page);
    }
    if (flush === 1000) {
      mmu.flushAll();
      naive.flushAll();
    }
    const actual = [mmu.missesInstruction + mmu.missesData, mmu.secondLevelHits, mmu.walks];
    const expected = [naive.misses, naive.secondLevelHits, naive.walks];
    if (actual.join() !== expected.join()) throw new Error(`after access ${at}: ${actual}, expected ${expected}`);
  });
  expect(mmu.walks).toBeGreaterThan(0);
}

describe.each(shapes)("$name", (shape) => {
  test("hits and misses as the naive model does, with pages of 4 KiB", () => {
    compare(shape, randomAccesses(1, 20_000, false));
  });

  test("hits and misses as the naive model does, with pages of all sizes", () => {
    compare(shape, randomAccesses(2, 20_000, true));
  });
});

test("a TLB that holds pieces of a large page drops them all when one of its pages is flushed", () => {
  const tables = new HandBuiltTables(new PhysicalMemory(64), x86_64);
  tables.map(0, 0, PTE_PRESENT | PTE_USER, 3);
  const mmu = new Mmu(tables.entries.memory, x86_64, tlbPresets["skylake-sp"]);
  mmu.loadRoot(tables.root);
  mmu.touch(0, FETCH);
  mmu.touch(512, FETCH);
  mmu.flushPage(5);
  tables.entries.clear(tables.root, 0);
  expect(mmu.touch(512, FETCH)).toBe(false);
});

test("its translations can be listed: range, frame, rights", () => {
  const tables = new HandBuiltTables(new PhysicalMemory(64), x86_64);
  tables.map(1024, 512, PTE_PRESENT | PTE_USER, 2);
  tables.map(7, 40, PTE_PRESENT | PTE_USER);
  const mmu = new Mmu(tables.entries.memory, x86_64, tlbPresets.k8);
  mmu.loadRoot(tables.root);
  mmu.touch(7, FETCH);
  mmu.touch(1030, LOAD);
  const seen = [...mmu.tlb.translations()].map(({ firstPage, pages, frame }) => ({ firstPage, pages, frame }));
  expect(seen).toHaveLength(3); // page 7 at both levels; K8's second level takes no large pages
  expect(seen).toContainEqual({ firstPage: 7, pages: 1, frame: 40 });
  expect(seen).toContainEqual({ firstPage: 1024, pages: 512, frame: 512 });
});

test("absorption is exact up to the smallest number of sets", () => {
  const exact = Object.fromEntries(Object.entries(tlbPresets).map(([name, shape]) => [name, absorbableSets(shape)]));
  expect(exact).toEqual({
    p6: 8,
    p4: 1,
    k7: 1,
    k8: 1,
    "skylake-sp": 16,
    icelake: 1,
    "sapphire-rapids": 1,
    zen4: 1,
  });
});

test("reaches as far as its entries, by page size: of two levels the larger one", () => {
  const kib = (shape: TlbShape, format: PagingFormat, kind: Access, level: number) =>
    new Tlb(shape, format).reach(kind, level) * 4;
  const { p6, icelake, zen4 } = tlbPresets;
  expect([1, 2].map((level) => kib(p6, pagingFormats.pae, LOAD, level))).toEqual([256, 16 * 1024]);
  expect([1, 2].map((level) => kib(p6, pagingFormats.pae, FETCH, level))).toEqual([128, 4 * 1024]);
  // With two levels of tables big pages are of 4 MiB.
  expect([LOAD, FETCH].map((kind) => kib(p6, pagingFormats.i386, kind, 2))).toEqual([32 * 1024, 8 * 1024]);
  // Of 2048 entries big pages may have half.
  expect([1, 2, 3].map((level) => kib(icelake, x86_64, LOAD, level))).toEqual([2 ** 13, 2 ** 21, 2 ** 30]);
  // The second level holds 1 GiB as 512 pieces, the first as one entry.
  expect([1, 2, 3].map((level) => kib(zen4, x86_64, LOAD, level))).toEqual([3072 * 4, 3072 * 2 ** 11, 72 * 2 ** 20]);
});

test("impossible shapes are refused with what was expected", () => {
  const tlb =
    (entries: number, ways: number, replacement: TlbShape["replacement"] = "lru") =>
    () =>
      new Tlb({ ...tlbPresets.p6, replacement, load: [{ pages: ["4K"], entries, ways }] }, x86_64);
  expect(tlb(48, 4)).toThrow(UsageError);
  expect(tlb(48, 12, "tree-plru")).toThrow(UsageError);
  expect(tlb(64, 64, "tree-plru")).toThrow(UsageError);
  expect(() => new Tlb({ ...tlbPresets.p6, load: [{ pages: ["2M"], entries: 8, ways: 4 }] }, x86_64)).toThrow(/4 KiB/);
});
