import { describe, expect, test } from "vitest";
import { KernelBug } from "../base/errors.ts";
import { Rng } from "../base/rng.ts";
import { FETCH, LOAD, STORE } from "./access.ts";
import { HandBuiltTables } from "./hand-built-tables.ts";
import { FAULT_FETCH, FAULT_PROTECTION, FAULT_RESERVED, FAULT_USER, FAULT_WRITE, Mmu } from "./mmu.ts";
import { i386, type PagingFormat, pae, pagingFormats, x86_64 } from "./paging-format.ts";
import { PhysicalMemory } from "./physical-memory.ts";
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_GLOBAL,
  PTE_LARGE,
  PTE_NO_EXECUTE,
  PTE_PRESENT,
  PTE_PROT_NONE,
  PTE_USER,
  PTE_WRITE,
} from "./pte.ts";
import type { TlbShape } from "./tlb.ts";
import { tlbPresets } from "./tlb-presets.ts";

const USER_RW = PTE_PRESENT | PTE_WRITE | PTE_USER;
const USER_R = PTE_PRESENT | PTE_USER;
const KERNEL_RW = PTE_PRESENT | PTE_WRITE;

const { walkCache: _walkCache, ...withoutWalkCache } = tlbPresets["skylake-sp"];

/** A small machine: tables from frame 1 on in 64 frames, and an MMU that uses them. */
function machine(format: PagingFormat, shape: TlbShape = withoutWalkCache) {
  const memory = new PhysicalMemory(64);
  const tables = new HandBuiltTables(memory, format);
  const mmu = new Mmu(memory, format, shape);
  return { memory, tables, mmu };
}

describe.each(Object.values(pagingFormats))("$name", (format) => {
  const PAGE = format.maxPages / 2 - 7;

  test("a page in the tables is found, with its frame", () => {
    const { tables, mmu } = machine(format);
    tables.map(PAGE, 40, USER_RW);
    tables.map(PAGE + 1, 41, USER_RW);
    mmu.loadRoot(tables.root);
    expect(mmu.translate(PAGE, LOAD)).toBe(true);
    expect(mmu.lastFrame).toBe(40);
    expect(mmu.translate(PAGE + 1, STORE)).toBe(true);
    expect(mmu.lastFrame).toBe(41);
  });

  test("a walk after any change of memory is what an MMU that has just been made does", () => {
    const rng = new Rng(3);
    const memory = new PhysicalMemory(2 ** 14);
    const tables = new HandBuiltTables(memory, format, 100);
    const mmu = new Mmu(memory, format, withoutWalkCache);
    mmu.loadRoot(tables.root);
    const span = format.entriesPerTable(1);
    const pages = [0, 1, span, span + 3, 5 * span, 1024 * span, PAGE].filter((page) => page < format.maxPages);
    for (const page of pages) tables.map(page, 30 + rng.below(30), USER_RW);
    const inner = format.cachesTopLevel ? format.levels - 1 : format.levels;
    const flags = [USER_RW, USER_R, KERNEL_RW, USER_RW | PTE_ACCESSED, PTE_PROT_NONE];
    const seen = new Set<string>();
    for (let step = 0; step < 3000; step++) {
      const page = rng.pick(pages);
      const level = 1 + rng.below(inner);
      const table = tables.table(page, level);
      const index = format.indexAt(page, level);
      if (rng.chance(0.2)) {
        const before = tables.entries.flags(table, index);
        const kept = before === 0 ? 0 : tables.entries.frame(table, index);
        if (before !== 0 && rng.chance(0.5)) tables.entries.setFlags(table, index, rng.pick(flags));
        else tables.entries.clear(table, index);
        if (rng.chance(0.6)) tables.entries.set(table, index, kept, before | PTE_PRESENT);
      }
      const fresh = new Mmu(memory, format, withoutWalkCache);
      fresh.loadRoot(tables.root);
      mmu.flushAll();
      if (format.cachesTopLevel || rng.chance(0.1)) mmu.loadRoot(tables.root);
      const kind = rng.pick([LOAD, STORE, FETCH]);
      const steps = mmu.walkSteps;
      const outcome = (each: Mmu, from: number) =>
        each.translate(page, kind)
          ? `frame ${each.lastFrame}, ${each.walkSteps - from} steps`
          : `error ${each.faultError}, ${each.walkSteps - from} steps`;
      const found = outcome(mmu, steps);
      const marked = tables.entries.flags(table, index);
      expect(found).toBe(outcome(fresh, 0));
      expect(tables.entries.flags(table, index)).toBe(marked);
      seen.add(found);
    }
    expect(seen.size).toBeGreaterThan(8);
  });

  test("a walk reads one entry a level; but pae's root entries are in the CPU", () => {
    const { tables, mmu } = machine(format);
    tables.map(PAGE, 40, USER_RW);
    mmu.loadRoot(tables.root);
    mmu.touch(PAGE, LOAD);
    expect(mmu.walkSteps).toBe(format === pae ? 2 : format.levels);
  });

  test("an absent page faults: the registers say page, kind and mode; nothing is marked", () => {
    const { tables, mmu } = machine(format);
    tables.map(PAGE, 40, USER_RW);
    mmu.loadRoot(tables.root);
    expect(mmu.touch(PAGE + 1, STORE)).toBe(false);
    expect(mmu.faultPage).toBe(PAGE + 1);
    expect(mmu.faultError).toBe(FAULT_USER | FAULT_WRITE);
    expect(mmu.touch(0, LOAD)).toBe(false);
    expect([mmu.faultPage, mmu.faultError]).toEqual([0, FAULT_USER]);
    expect(mmu.supervisorTouch(0, LOAD)).toBe(false);
    expect(mmu.faultError).toBe(0);
    expect(tables.flags(PAGE) & (PTE_ACCESSED | PTE_DIRTY)).toBe(0);
  });

  test("a PROT_NONE page is absent for the MMU", () => {
    const { tables, mmu } = machine(format);
    tables.map(PAGE, 40, PTE_PROT_NONE);
    mmu.loadRoot(tables.root);
    expect(mmu.touch(PAGE, LOAD)).toBe(false);
    expect(mmu.faultError).toBe(FAULT_USER);
  });

  test("a load sets A, a store sets A and D, and a store after a load goes back to memory for D", () => {
    const { tables, mmu } = machine(format);
    tables.map(PAGE, 40, USER_RW);
    tables.map(PAGE + 1, 41, USER_RW);
    mmu.loadRoot(tables.root);
    mmu.touch(PAGE, LOAD);
    expect(tables.flags(PAGE)).toBe(USER_RW | PTE_ACCESSED);
    mmu.touch(PAGE + 1, STORE);
    expect(tables.flags(PAGE + 1)).toBe(USER_RW | PTE_ACCESSED | PTE_DIRTY);
    expect(mmu.dirtyUpdates).toBe(0);
    expect(mmu.touch(PAGE, STORE)).toBe(true);
    expect(tables.flags(PAGE)).toBe(USER_RW | PTE_ACCESSED | PTE_DIRTY);
    expect(mmu.dirtyUpdates).toBe(1);
  });

  test("a hit does not see that the kernel cleared A or D: that takes a flush", () => {
    const { tables, mmu } = machine(format);
    tables.map(PAGE, 40, USER_RW);
    mmu.loadRoot(tables.root);
    mmu.touch(PAGE, STORE);
    tables.map(PAGE, 40, USER_RW);
    mmu.touch(PAGE, STORE);
    expect(tables.flags(PAGE)).toBe(USER_RW);
    mmu.flushPage(PAGE);
    mmu.touch(PAGE, STORE);
    expect(tables.flags(PAGE)).toBe(USER_RW | PTE_ACCESSED | PTE_DIRTY);
  });

  test("permission is the AND over all levels; A is set only once it is given", () => {
    for (let level = 1; level <= format.levels - (format.cachesTopLevel ? 1 : 0); level++) {
      for (const missing of [PTE_WRITE, PTE_USER]) {
        const { tables, mmu } = machine(format);
        tables.map(PAGE, 40, USER_RW);
        const table = tables.table(PAGE, level);
        tables.entries.setFlags(table, format.indexAt(PAGE, level), USER_RW & ~missing);
        mmu.loadRoot(tables.root);
        expect(mmu.touch(PAGE, STORE)).toBe(false);
        expect(mmu.faultError).toBe(FAULT_PROTECTION | FAULT_WRITE | FAULT_USER);
        expect(tables.flags(PAGE) & (PTE_ACCESSED | PTE_DIRTY)).toBe(0);
        expect(mmu.touch(PAGE, LOAD)).toBe(missing === PTE_WRITE);
        expect(mmu.supervisorTouch(PAGE, STORE)).toBe(missing === PTE_USER);
      }
    }
  });

  test("the supervisor's stores honour W if WP says so, and only then", () => {
    const { memory, tables, mmu } = machine(format);
    tables.map(PAGE, 40, USER_R);
    mmu.loadRoot(tables.root);
    expect(mmu.supervisorTouch(PAGE, STORE)).toBe(false);
    expect(mmu.faultError).toBe(FAULT_PROTECTION | FAULT_WRITE);

    const carefree = new Mmu(memory, format, tlbPresets.p6, { writeProtect: false });
    carefree.loadRoot(tables.root);
    expect(carefree.supervisorTouch(PAGE, LOAD)).toBe(true);
    expect(carefree.supervisorTouch(PAGE, STORE)).toBe(true);
    expect(tables.flags(PAGE) & PTE_DIRTY).toBe(PTE_DIRTY);
    expect(carefree.touch(PAGE, STORE)).toBe(false);
  });

  test("fetches obey NX at any level where the format has it", () => {
    const { tables, mmu } = machine(format);
    tables.map(PAGE, 40, USER_RW | PTE_NO_EXECUTE);
    tables.map(PAGE + 1, 41, USER_RW);
    mmu.loadRoot(tables.root);
    expect(mmu.touch(PAGE, LOAD)).toBe(true);
    expect(mmu.touch(PAGE, FETCH)).toBe(!format.hasNoExecute);
    if (!format.hasNoExecute) return;
    expect(mmu.faultError).toBe(FAULT_PROTECTION | FAULT_USER | FAULT_FETCH);
    expect(mmu.touch(PAGE + 1, FETCH)).toBe(true);
    const above = tables.table(PAGE, 2);
    tables.entries.setFlags(above, format.indexAt(PAGE, 2), USER_RW | PTE_NO_EXECUTE);
    mmu.flushAll();
    expect(mmu.touch(PAGE + 1, FETCH)).toBe(false);
    expect(mmu.touch(PAGE + 1, STORE)).toBe(true);
  });

  test.each(format.largePages)(
    "a large page at level $level is one translation of $pages pages",
    ({ level, pages }) => {
      const { tables, mmu } = machine(format);
      const first = PAGE - (PAGE % pages);
      tables.map(first, pages, USER_RW, level);
      mmu.loadRoot(tables.root);
      for (const within of [0, 1, pages - 1]) {
        expect(mmu.translate(first + within, LOAD)).toBe(true);
        expect(mmu.lastFrame).toBe(pages + within);
      }
      expect(mmu.walks).toBe(1);
      expect(mmu.touch(first + 1, STORE)).toBe(true);
      expect(tables.flags(first, level)).toBe(USER_RW | PTE_LARGE | PTE_ACCESSED | PTE_DIRTY);
      mmu.flushPage(first + pages - 1);
      mmu.touch(first, LOAD);
      expect(mmu.walks).toBe(3);
    },
  );

  test("a stale translation lives until it is flushed; the root register keeps global ones", () => {
    const { tables, mmu } = machine(format);
    tables.map(PAGE, 40, USER_RW);
    tables.map(PAGE + 1, 41, KERNEL_RW | PTE_GLOBAL);
    mmu.loadRoot(tables.root);
    mmu.touch(PAGE, LOAD);
    mmu.supervisorTouch(PAGE + 1, LOAD);
    for (const page of [PAGE, PAGE + 1]) tables.entries.clear(tables.table(page, 1), format.indexAt(page, 1));
    expect(mmu.touch(PAGE, LOAD)).toBe(true);
    mmu.loadRoot(tables.root);
    expect(mmu.touch(PAGE, LOAD)).toBe(false);
    expect(mmu.supervisorTouch(PAGE + 1, LOAD)).toBe(true);
    mmu.flushUser();
    expect(mmu.supervisorTouch(PAGE + 1, LOAD)).toBe(true);
    mmu.flushAll();
    expect(mmu.supervisorTouch(PAGE + 1, LOAD)).toBe(false);
  });

  test("flushing a range drops its pages and no others, whether it is short or long", () => {
    for (const length of [3, 300]) {
      const { tables, mmu } = machine(format);
      for (const page of [9, 10, 12, 13, 309, 310]) tables.map(page, 40, USER_RW);
      mmu.loadRoot(tables.root);
      for (const page of [9, 10, 12, 13, 309, 310]) mmu.touch(page, LOAD);
      mmu.flushRange(10, 10 + length);
      const before = mmu.walks;
      mmu.touch(9, LOAD);
      mmu.touch(310, LOAD);
      expect(mmu.walks).toBe(before);
      mmu.touch(10, LOAD);
      mmu.touch(12, LOAD);
      expect(mmu.walks).toBe(before + 2);
      mmu.touch(309, LOAD);
      expect(mmu.walks).toBe(before + (length === 3 ? 2 : 3));
      expect(mmu.pageFlushes).toBe(length);
    }
  });

  test("a fault drops the page's own translation, so the repaired entry is seen", () => {
    const { tables, mmu } = machine(format);
    tables.map(PAGE, 40, USER_R);
    mmu.loadRoot(tables.root);
    mmu.touch(PAGE, LOAD);
    expect(mmu.touch(PAGE, STORE)).toBe(false);
    tables.map(PAGE, 41, USER_RW);
    expect(mmu.translate(PAGE, STORE)).toBe(true);
    expect(mmu.lastFrame).toBe(41);
  });

  test("rights that were given without a flush cost a spurious fault, and then they are there", () => {
    const { tables, mmu } = machine(format);
    tables.map(PAGE, 40, USER_R);
    mmu.loadRoot(tables.root);
    mmu.touch(PAGE, LOAD);
    tables.map(PAGE, 40, USER_RW);
    expect(mmu.touch(PAGE, STORE)).toBe(false);
    expect(mmu.touch(PAGE, STORE)).toBe(true);
  });

  test("rights that were taken are seen by the store that goes back for D", () => {
    const { tables, mmu } = machine(format);
    tables.map(PAGE, 40, USER_RW);
    mmu.loadRoot(tables.root);
    mmu.touch(PAGE, LOAD);
    tables.map(PAGE, 40, USER_R);
    expect(mmu.touch(PAGE, STORE)).toBe(false);
    expect(tables.flags(PAGE)).toBe(USER_R);
  });
});

describe("reserved bits", () => {
  const faultOf = (format: PagingFormat, level: number, low: number, high: number): number => {
    const { memory, tables, mmu } = machine(format);
    tables.map(0, 40, USER_RW);
    const table = tables.table(0, level);
    const words = format.entryWords;
    memory.write(table, 0, memory.read(table, 0) | low);
    if (words === 2) memory.write(table, 1, memory.read(table, 1) | high);
    mmu.loadRoot(tables.root);
    return mmu.touch(0, LOAD) ? 0 : mmu.faultError;
  };
  const reserved = FAULT_PROTECTION | FAULT_USER | FAULT_RESERVED;

  test("above the physical address: bit 36 in pae, bit 43 in long mode", () => {
    expect(faultOf(pae, 1, 0, 1 << (36 - 32))).toBe(reserved);
    expect(faultOf(pae, 2, 0, 1 << (52 - 32))).toBe(reserved);
    expect(faultOf(x86_64, 1, 0, 1 << (43 - 32))).toBe(reserved);
    expect(faultOf(x86_64, 4, 0, 1 << (51 - 32))).toBe(reserved);
    expect(faultOf(x86_64, 1, 0, 1 << (52 - 32))).toBe(0);
  });

  test("L where no page can be mapped, and bits between a large page's frame and its flags", () => {
    expect(faultOf(x86_64, 4, PTE_LARGE, 0)).toBe(reserved);
    expect(faultOf(x86_64, 2, PTE_LARGE | (1 << 13), 0)).toBe(reserved);
    expect(faultOf(i386, 2, PTE_LARGE | (1 << 21), 0)).toBe(reserved);
    expect(faultOf(i386, 1, PTE_LARGE, 0)).toBe(0);
  });
});

describe("pae's root entries", () => {
  test("are read when the root is loaded, and a change is not seen before it is loaded again", () => {
    const { tables, mmu } = machine(pae);
    const PAGE = 0x80000;
    mmu.loadRoot(tables.root);
    tables.map(PAGE, 40, USER_RW);
    expect(mmu.touch(PAGE, LOAD)).toBe(false);
    mmu.flushAll();
    expect(mmu.touch(PAGE, LOAD)).toBe(false);
    mmu.loadRoot(tables.root);
    expect(mmu.touch(PAGE, LOAD)).toBe(true);
    tables.entries.clear(tables.root, 2);
    mmu.flushAll();
    expect(mmu.touch(PAGE, LOAD)).toBe(true);
    mmu.loadRoot(tables.root);
    expect(mmu.touch(PAGE, LOAD)).toBe(false);
  });

  test("carry no rights: other bits are a general-protection fault, a bug of the kernel's", () => {
    const { tables, mmu } = machine(pae);
    tables.entries.set(tables.root, 0, 40, USER_RW);
    expect(() => mmu.loadRoot(tables.root)).toThrow(KernelBug);
  });
});

test("an upper entry that was cleared without a flush is still walked through, from the walk cache", () => {
  for (const [shape, stale] of [
    [tlbPresets.p4, true],
    [tlbPresets.p6, false],
  ] as const) {
    const { tables, mmu } = machine(i386, shape);
    tables.map(0, 40, USER_RW);
    tables.map(1, 41, USER_RW);
    tables.map(2, 42, USER_RW);
    mmu.loadRoot(tables.root);
    mmu.touch(0, LOAD);
    tables.entries.clear(tables.root, 0);
    expect(mmu.touch(1, LOAD)).toBe(stale);
    mmu.flushPage(0);
    expect(mmu.touch(2, LOAD)).toBe(false);
  }
});

test("a walk through the walk cache reads the leaf only, and its rights are still those of all levels", () => {
  const { tables, mmu } = machine(x86_64, tlbPresets.icelake);
  for (const page of [0, 1, 2]) tables.map(page, 40 + page, USER_RW);
  tables.entries.setFlags(tables.table(0, 2), 0, USER_R);
  mmu.loadRoot(tables.root);
  mmu.touch(0, LOAD);
  expect(mmu.walkSteps).toBe(4);
  mmu.touch(1, LOAD);
  expect(mmu.walkSteps).toBe(5);
  expect(mmu.touch(2, STORE)).toBe(false);
});
