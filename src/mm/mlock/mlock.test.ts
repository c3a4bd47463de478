/** One contract for locks: what is mapped is found, whatever is locked; and what only some of them promise. */
import { describe, expect, test } from "vitest";
import { ENOMEM } from "../../base/errno.ts";
import { Rng } from "../../base/rng.ts";
import { addressOf, PAGE_SIZE, type Pfn, type PteSlot, type Vpn } from "../../base/units.ts";
import { PTE_PRESENT, PTE_PROT_NONE } from "../../hw/pte.ts";
import type { FileObject } from "../file.ts";
import { NO_FRAME, PG_LRU, PG_MLOCKED, PG_RESERVED } from "../frames.ts";
import { LEAF } from "../page-table.ts";
import type { Thread } from "../process.ts";
import { MAP_PRIVATE, MAP_SHARED, READ, READ_WRITE, TestKernel, type TestMachine } from "../test-kernel.ts";
import { VM_LOCKED, type Vma } from "../vma.ts";
import { CountedLocks } from "./counted.ts";
import { mlocks } from "./mlocks.ts";

const CHAINS: TestMachine = { reverseMap: "pte-chain-e", format: "pae", highmemFrom: 1 << 20 };
const MREMAP_MAYMOVE = 1;
const MREMAP_DONTUNMAP = 4;
const MADV_DONTNEED = 4;
/** Among what random programs do: remap_file_pages. */
const REMAP = 18;

interface Entry {
  readonly frame: Pfn;
  readonly slot: PteSlot;
  readonly vma: Vma;
}

/** Every entry that maps a page, read from the tables of all address spaces. */
function entriesOf({ kernel }: TestKernel): Entry[] {
  const { tables, entries, frames } = kernel;
  const found: Entry[] = [];
  for (const mm of kernel.spaces) {
    for (const vma of mm.vmas) {
      for (let page = vma.start; page < vma.end; page++) {
        const table = tables.openLeaf(mm, page);
        if (table < 0) continue;
        const index = tables.indexAt(page, LEAF);
        if ((entries.flags(table as never, index) & (PTE_PRESENT | PTE_PROT_NONE)) !== 0) {
          const frame = entries.frame(table as never, index);
          const slot = entries.slotOf(table as never, index);
          if (!frames.has(frame, PG_RESERVED)) found.push({ frame, slot, vma });
        }
        tables.close(table as never);
      }
    }
  }
  return found;
}

function found({ kernel }: TestKernel, frame: Pfn): PteSlot[] {
  const slots: PteSlot[] = [];
  kernel.reverseMap.forEach(frame, (slot) => {
    slots.push(slot);
    return true;
  });
  return slots.sort((one, other) => one - other);
}

/** What must hold at any time, whatever was locked and unlocked. */
function check(test: TestKernel): void {
  const { frames, reverseMap } = test.kernel;
  const byFrame = new Map<Pfn, Entry[]>();
  for (const entry of entriesOf(test)) byFrame.set(entry.frame, [...(byFrame.get(entry.frame) ?? []), entry]);
  for (const [frame, entries] of byFrame) {
    const slots = entries.map(({ slot }) => slot).sort((one, other) => one - other);
    expect(found(test, frame), `frame ${frame}`).toEqual(slots);
    expect(frames.mapCount.read(frame)).toBe(slots.length);
    if (!(reverseMap instanceof CountedLocks)) {
      expect(frames.has(frame, PG_MLOCKED)).toBe(false);
      continue;
    }
    const { chains } = reverseMap;
    const counted = entries.filter(
      ({ slot, vma }) => chains.wouldChain(frame, slot, vma) && !chains.isChained(frame, slot),
    );
    expect(reverseMap.countOf(frame), `frame ${frame}`).toBe(counted.length);
    expect(counted.every(({ vma }) => (vma.flags & VM_LOCKED) !== 0)).toBe(true);
    expect(frames.has(frame, PG_MLOCKED)).toBe(counted.length > 0);
    expect(frames.has(frame, PG_LRU)).toBe(counted.length === 0);
  }
}

const lock = (test: TestKernel, page: Vpn, pages: number, thread = test.thread): number =>
  test.call("mlock", [addressOf(page), addressOf(pages)], thread);
const unlock = (test: TestKernel, page: Vpn, pages: number, thread = test.thread): number =>
  test.call("munlock", [addressOf(page), addressOf(pages)], thread);

/** `count` processes beside the first, each with `pages` pages of the file at 0x100. */
function sharers(test: TestKernel, file: FileObject, pages: number, count: number): Thread[] {
  test.map(0x100, pages, READ_WRITE, MAP_SHARED, file);
  return Array.from({ length: count }, () => test.fork()!);
}

describe.each(Object.keys(mlocks) as (keyof typeof mlocks)[])("%s", (mlock) => {
  const start = (more: TestMachine = {}) => new TestKernel({ ...CHAINS, mlock, frames: 2048, ...more });

  test("finds the pages of locked areas, and of areas that were locked", () => {
    const test = start();
    test.map(0x100, 8, READ_WRITE, MAP_PRIVATE);
    test.map(0x200, 8, READ_WRITE, MAP_SHARED, test.file(8));
    expect(lock(test, 0x100, 8)).toBe(0);
    expect(lock(test, 0x200, 8)).toBe(0);
    check(test);
    expect(unlock(test, 0x102, 2)).toBe(0);
    expect(unlock(test, 0x200, 8)).toBe(0);
    check(test);
    expect(entriesOf(test)).toHaveLength(16);
  });

  test("finds pages that some lock and others do not", () => {
    const test = start();
    const file = test.file(4);
    const threads = sharers(test, file, 4, 3);
    for (const [at, thread] of threads.entries()) {
      if (at > 0) expect(lock(test, 0x100, at + 1, thread)).toBe(0);
      for (let page = 0x100; page < 0x104; page++) test.store(page, thread);
    }
    check(test);
    test.exit(threads[1]!);
    check(test);
    test.run(test.kernel.personality.calls.munlockall!.path(test.kernel, threads[2]!, []));
    check(test);
  });

  test("a child has what its parent has, and nothing of it is locked", () => {
    const test = start();
    test.map(0x100, 6, READ_WRITE, MAP_PRIVATE);
    lock(test, 0x100, 6);
    const child = test.fork()!;
    check(test);
    test.store(0x101, child);
    test.store(0x102);
    check(test);
    test.exit(child);
    check(test);
    expect(child.mm.lockedPages).toBe(0);
  });

  test("a cut file has no entries left beyond its end, locked or not", () => {
    const test = start();
    const file = test.file(8);
    const [child] = sharers(test, file, 8, 1);
    lock(test, 0x100, 8);
    for (let page = 0x100; page < 0x108; page++) test.load(page, child);
    test.map(0x300, 1, READ_WRITE, MAP_SHARED, file, 7);
    lock(test, 0x300, 1);
    const opened = [...test.thread.mm.vmas][0]!.opened!;
    expect(test.call("ftruncate", [opened, 3 * PAGE_SIZE])).toBe(0);
    expect(entriesOf(test)).toHaveLength(6);
    check(test);
  });

  test("pages go where mremap takes them", () => {
    const test = start();
    test.map(0x100, 8, READ_WRITE, MAP_PRIVATE);
    lock(test, 0x100, 8);
    const to = test.call("mremap", [addressOf(0x102), addressOf(4), addressOf(6), MREMAP_MAYMOVE, 0]);
    expect(to).toBeGreaterThan(0);
    check(test);
    const { lockedPages } = test.thread.mm;
    expect(lockedPages).toBe(10);
  });

  test("pages that stay where mremap leaves an unlocked area behind are found", () => {
    const test = start({ kernel: "linux-6.18", format: "x86-64" });
    test.map(0x100, 8, READ_WRITE, MAP_PRIVATE);
    lock(test, 0x100, 8);
    const args = [addressOf(0x102), addressOf(2), addressOf(2), MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0];
    expect(test.call("mremap", args)).toBeGreaterThan(0);
    check(test);
    expect(test.thread.mm.lockedPages).toBe(2);
  });
});

describe("counted", () => {
  const start = (more: TestMachine = {}) => new TestKernel({ ...CHAINS, mlock: "counted", frames: 4096, ...more });
  const bytes = (test: TestKernel): number => test.kernel.reverseMap.bytes;

  test("a segment that is locked before it is filled has no chains, however many map it", () => {
    const test = start();
    const threads = sharers(test, test.file(8), 8, 20);
    for (const thread of threads) lock(test, 0x100, 8, thread);
    check(test);
    expect(bytes(test)).toBe(0);
    const { frame } = test.entry(0x100, threads[0]);
    expect(test.kernel.frames.next.read(frame)).toBe(20);
    expect(test.kernel.frames.has(frame, PG_LRU)).toBe(false);
  });

  test("what was chained before the lock stays chained", () => {
    const test = start();
    const threads = sharers(test, test.file(8), 8, 20);
    for (const thread of threads) for (let page = 0x100; page < 0x108; page++) test.load(page, thread);
    const before = bytes(test);
    for (const thread of threads) lock(test, 0x100, 8, thread);
    check(test);
    expect(bytes(test)).toBe(before);
    expect(test.kernel.frames.has(test.entry(0x100, threads[0]).frame, PG_MLOCKED)).toBe(false);
  });

  test("with the last lock the page is back on a list, and its links are free", () => {
    const test = start();
    test.map(0x100, 1, READ_WRITE, MAP_PRIVATE);
    lock(test, 0x100, 1);
    const { frame } = test.entry(0x100);
    const { frames } = test.kernel;
    expect([frames.next.read(frame), frames.has(frame, PG_MLOCKED)]).toEqual([1, true]);
    unlock(test, 0x100, 1);
    expect([frames.has(frame, PG_MLOCKED), frames.has(frame, PG_LRU)]).toEqual([false, true]);
    lock(test, 0x100, 1);
    expect(frames.has(frame, PG_MLOCKED)).toBe(false);
    test.call("munmap", [addressOf(0x100), PAGE_SIZE]);
    expect(frames.next.read(frame)).not.toBe(1);
    expect(frames.refs.read(frame)).toBe(0);
  });

  test("unlocking without memory for the chains fails, and what it could not chain stays locked", () => {
    const test = start();
    const threads = sharers(test, test.file(64), 64, 6);
    for (const thread of threads) lock(test, 0x100, 64, thread);
    const { allocator } = test.kernel;
    const results = threads.map((thread) => {
      allocator.failAt(1, 1);
      const result = unlock(test, 0x100, 64, thread);
      allocator.failAt(Number.POSITIVE_INFINITY);
      check(test);
      return result;
    });
    // The first entry of a page needs no link of its own: it is known directly.
    expect(results).toEqual([0, -ENOMEM, -ENOMEM, -ENOMEM, -ENOMEM, -ENOMEM]);
    expect(threads.map(({ mm }) => mm.lockedPages)).toEqual([0, 64, 64, 64, 64, 64]);
    for (const thread of threads) expect(unlock(test, 0x100, 64, thread)).toBe(0);
    check(test);
    expect(bytes(test)).toBeGreaterThan(0);
  });

  test("what a lock refuses stays refused", () => {
    const test = start();
    test.map(0x100, 4, READ_WRITE, MAP_PRIVATE);
    lock(test, 0x100, 4);
    expect(test.call("madvise", [addressOf(0x100), addressOf(4), MADV_DONTNEED])).toBeLessThan(0);
    check(test);
  });
});

const chaining = [
  "pte-chain-a",
  "pte-chain-b",
  "pte-chain-e",
  "object-chain-convert",
  "object-chain-incremental",
] as const;

describe.each(chaining)("counted, beside %s", (reverseMap) => {
  test.each([1, 2, 3])("counts are exact in any program, even where memory fails: seed %i", (seed) => {
    const test = new TestKernel({
      ...CHAINS,
      mlock: "counted",
      frames: 4096,
      reverseMap,
      nonlinear: "tagged-search",
    });
    const rng = new Rng(seed);
    const { allocator, frames } = test.kernel;
    const file = test.file(24);
    const threads: Thread[] = [test.thread];
    test.map(0x400, 24, READ_WRITE, MAP_SHARED, file);
    // Nobody unmaps or moves this one: its pages get out of order.
    test.map(0x800, 24, READ_WRITE, MAP_SHARED, file);
    const pickPages = (): [Vpn, number] => [rng.pick([0x100, 0x400, 0x800]) + rng.below(24), 1 + rng.below(12)];
    const args = (page: Vpn, pages: number): [number, number] => [addressOf(page), addressOf(pages)];
    for (let step = 0; step < 300; step++) {
      const thread = rng.pick(threads);
      test.runs(thread);
      const [page, pages] = pickPages();
      const call = (name: string, more: readonly number[] = []) =>
        test.call(name, [...args(page, pages), ...more], thread);
      const drawn = rng.below(20);
      const doing = page >= 0x800 && [0, 1, 2, 12, 13].includes(drawn) ? REMAP : drawn;
      if (rng.below(4) === 0) allocator.failAt(1 + rng.below(4), 1 + rng.below(3));
      if (rng.below(4) === 0) allocator.failObjectAt(1 + rng.below(4));
      if (doing < 3) {
        const shared = rng.below(2) === 0;
        const opened = shared ? [...test.thread.mm.vmas].find((vma) => vma.file === file)?.opened : null;
        if (opened !== undefined) {
          const flags = shared ? MAP_SHARED | 0x10 : MAP_PRIVATE | 0x30;
          test.call("mmap", [...args(page, pages), READ_WRITE, flags, opened, addressOf(rng.below(8))], thread);
        }
      } else if (doing < 7) call("mlock");
      else if (doing < 11) call("munlock");
      else if (doing === 11) call("mprotect", [rng.below(2) === 0 ? READ : READ_WRITE]);
      else if (doing === 12) call("munmap");
      else if (doing === 13) {
        const kept = rng.below(3) === 0 ? MREMAP_DONTUNMAP : 0;
        call("mremap", [addressOf(kept === 0 ? 1 + rng.below(12) : pages), MREMAP_MAYMOVE | kept, 0]);
      } else if (doing === 14 && threads.length < 5) {
        const child = test.fork(thread);
        if (child !== null) threads.push(child);
      } else if (doing === 15 && threads.length > 1 && thread !== test.thread) {
        test.exit(thread);
        threads.splice(threads.indexOf(thread), 1);
      } else if (doing === 16) test.call("munlockall", [], thread);
      else if (doing === REMAP) call("remap_file_pages", [0, rng.below(24), 0]);
      else if (doing === 17 && step > 200) {
        const opened = [...test.thread.mm.vmas].find((vma) => vma.file === file)?.opened;
        if (opened != null) test.call("ftruncate", [opened, addressOf(8 + rng.below(16))]);
      } else {
        for (let at = page; at < page + pages; at++) if (test.store(at, thread) !== 0) break;
      }
      allocator.failAt(Number.POSITIVE_INFINITY);
      allocator.failObjectAt(0);
      check(test);
    }
    expect(test.kernel.counters.nonlinearPagesInstalled).toBeGreaterThan(10);
    for (const thread of threads.splice(1)) test.exit(thread);
    check(test);
    test.exit(test.thread);
    for (let frame = 0; frame < frames.count; frame++) {
      if (!frames.has(frame, PG_MLOCKED)) continue;
      expect.fail(`frame ${frame} stays locked by ${frames.next.read(frame)} of nobody, ${NO_FRAME}`);
    }
  });
});
