/**
 * The contract of reclaim: programs that need three times the memory there is, with swap, end with the contents that they
 * wrote, whatever strategy frees memory, and afterwards nothing is left over.
 */
import { describe, expect, test } from "vitest";
import { Rng } from "../../base/rng.ts";
import type { Vpn } from "../../base/units.ts";
import { audit } from "../../check/audit/audit.ts";
import type { PagingFormatName } from "../../hw/paging-format.ts";
import { WORDS_PER_FRAME } from "../../hw/physical-memory.ts";
import { balanceDirty, writeInBackground } from "../dirty-limits.ts";
import type { Thread } from "../process.ts";
import type { ReverseMapName } from "../rmap/reverse-maps.ts";
import { MAP_PRIVATE, MAP_SHARED, READ_WRITE, TestKernel } from "../test-kernel.ts";
import { VM_SHARED } from "../vma.ts";
import { OWNER_USER } from "../zone.ts";
import { runKswapd } from "./make-room.ts";
import type { ReclaimName } from "./reclaims.ts";

const MAP_NORESERVE = 0x4000;
/** 16 MiB. */
const FRAMES = 4096;

// Where areas are, in pages, and how long: together with what two children copy, three times the machine.
const PRIVATE = 0x1000;
const PRIVATE_PAGES = FRAMES;
const SEGMENT = 0x4000;
const SEGMENT_PAGES = FRAMES / 2;
const MAPPED = 0x8000;
const MAPPED_PAGES = FRAMES / 2;

/** Programs whose every store is remembered, so that every load can be judged. */
class Programs {
  readonly machine: TestKernel;
  readonly threads: Thread[] = [];
  private readonly rng = new Rng(2003);
  /** By page of whom (`id` of an address space or a file): the value last stored. */
  private readonly stored = new Map<string, number>();

  constructor(reclaim: ReclaimName, reverseMap: ReverseMapName, format: PagingFormatName) {
    const kernel = format === "x86-64" ? "linux-6.1" : "linux-2.6.11";
    this.machine = new TestKernel({ frames: FRAMES, swap: [3 * FRAMES], reclaim, reverseMap, format, kernel });
    this.threads.push(this.machine.thread);
  }

  /** Maps the areas of the first program. */
  mapAll(): void {
    const { machine } = this;
    machine.map(PRIVATE, PRIVATE_PAGES, READ_WRITE, MAP_PRIVATE | MAP_NORESERVE);
    machine.map(SEGMENT, SEGMENT_PAGES, READ_WRITE, MAP_SHARED, machine.file(SEGMENT_PAGES));
    machine.map(MAPPED, MAPPED_PAGES, READ_WRITE, MAP_SHARED, machine.file(MAPPED_PAGES, "regular"));
  }

  storeAll(thread: Thread, first: Vpn, pages: number): void {
    for (let page = first; page < first + pages; page++) this.store(thread, page);
  }

  /** Somebody stores to, or looks at, a page of any area. */
  touchAny(): void {
    const thread = this.threads[this.rng.below(this.threads.length)]!;
    const { first, pages } = areas[this.rng.below(areas.length)]!;
    const page = first + this.rng.below(pages);
    if (this.rng.below(2) === 0) this.store(thread, page);
    else expect(this.isIntact(thread, page)).toBe(true);
  }

  /** Stores a new value to words at both ends and in the middle of the page. */
  store(thread: Thread, page: Vpn): void {
    const { machine } = this;
    this.takeTurns();
    if (machine.store(page, thread) !== 0) throw new Error(`page ${page} of ${thread.name} cannot be stored to`);
    const value = this.rng.below(2 ** 30);
    const { frame } = machine.entry(page, thread);
    for (const word of words) machine.kernel.memory.write(frame, word, value + word);
    this.stored.set(this.key(thread, page), value);
  }

  /** Whether the page shows what was stored there last. */
  isIntact(thread: Thread, page: Vpn): boolean {
    const { machine } = this;
    if (machine.load(page, thread) !== 0) return false;
    const { frame } = machine.entry(page, thread);
    const value = this.stored.get(this.key(thread, page));
    return words.every((word) => machine.kernel.memory.read(frame, word) === (value === undefined ? 0 : value + word));
  }

  /** How many pages of the range are not what they should be. */
  damaged(thread: Thread, first: Vpn, pages: number): number {
    let damaged = 0;
    for (let page = first; page < first + pages; page++) if (!this.isIntact(thread, page)) damaged++;
    return damaged;
  }

  fork(parent: Thread): Thread {
    const child = this.machine.fork(parent) as Thread;
    expect(child).not.toBeNull();
    for (const [key, value] of [...this.stored]) {
      const [owner, page] = key.split("/");
      if (owner === `space ${parent.mm.id}`) this.stored.set(`space ${child.mm.id}/${page}`, value);
    }
    this.threads.push(child);
    return child;
  }

  violations(): unknown[] {
    return audit({ kernel: this.machine.kernel, processes: this.threads.map(({ process }) => process) });
  }

  /** What the kernel's own threads do between two accesses. */
  private takeTurns(): void {
    const { kernel } = this.machine;
    if (kernel.files.dirty.due) this.machine.run(balanceDirty(kernel));
    if (kernel.reclaim.wake) this.machine.run(runKswapd(kernel));
    if (kernel.files.dirty.isWoken) this.machine.run(writeInBackground(kernel));
  }

  private key({ mm }: Thread, page: Vpn): string {
    const vma = mm.vmas.containing(page)!;
    const isShared = (vma.flags & VM_SHARED) !== 0;
    return isShared ? `file ${vma.file!.id}/${vma.indexAt(page)}` : `space ${mm.id}/${page}`;
  }
}

const words = [0, WORDS_PER_FRAME / 2, WORDS_PER_FRAME - 1];

const areas = [
  { first: PRIVATE, pages: PRIVATE_PAGES },
  { first: SEGMENT, pages: SEGMENT_PAGES },
  { first: MAPPED, pages: MAPPED_PAGES },
];

const cells: readonly (readonly [ReclaimName, ReverseMapName, PagingFormatName])[] = [
  ["linux-2.4", "none", "i386"],
  ["linux-2.4", "pte-chain-a", "pae"],
  ["linux-2.4", "object-anon", "x86-64"],
  ["rmap15", "pte-chain-b", "i386"],
  ["rmap15", "anonmm", "pae"],
  ["rmap15", "pte-chain-e", "x86-64"],
  ["linux-2.6", "pte-chain-e", "i386"],
  ["linux-2.6", "object-chain-incremental", "pae"],
  ["linux-2.6", "object-anon", "x86-64"],
];

describe.each(cells)("%s with %s on %s", (reclaim, reverseMap, format) => {
  test("a working set of three times memory ends with its contents intact, and nothing is left over", () => {
    const programs = new Programs(reclaim, reverseMap, format);
    const { machine } = programs;
    const { kernel } = machine;
    const parent = machine.thread;
    programs.mapAll();
    for (const { first, pages } of areas) programs.storeAll(parent, first, pages);
    expect(kernel.swap.costs.pagesOut).toBeGreaterThan(0);
    expect(programs.violations()).toEqual([]);

    const [one, two] = [programs.fork(parent), programs.fork(parent)];
    programs.storeAll(one, PRIVATE, PRIVATE_PAGES / 2);
    programs.storeAll(parent, PRIVATE + PRIVATE_PAGES / 2, PRIVATE_PAGES / 2);
    for (let access = 0; access < FRAMES; access++) programs.touchAny();
    expect(programs.violations()).toEqual([]);

    for (const thread of [two, one, parent]) expect(programs.damaged(thread, PRIVATE, PRIVATE_PAGES)).toBe(0);
    expect(programs.damaged(one, SEGMENT, SEGMENT_PAGES)).toBe(0);
    expect(programs.damaged(two, MAPPED, MAPPED_PAGES)).toBe(0);
    expect(programs.violations()).toEqual([]);

    for (const thread of programs.threads) machine.exit(thread);
    // What is left is the segment's: in memory, in swap, or in both.
    expect(kernel.allocator.ownedBy(OWNER_USER)).toBeLessThanOrEqual(kernel.swap.cachedPages);
    expect(kernel.swap.totalPages - kernel.swap.freePages).toBeLessThanOrEqual(SEGMENT_PAGES);
  });
});
