/** Dirty memory: how much there may be, who writes it, and that what reclaim has written is safe. */
import { describe, expect, test } from "vitest";
import type { FileIndex } from "../base/units.ts";
import { STORE } from "../hw/access.ts";
import { Machine } from "../machine.ts";
import { applySettings, specOf } from "../presets.ts";
import { runToCompletion } from "../sync/path.ts";
import { writeInBackground } from "./dirty-limits.ts";
import { type FileKind, type FileObject, OpenFile } from "./file.ts";
import { dropClean } from "./file-io.ts";
import { PG_DIRTY, PG_WRITEBACK } from "./frames.ts";
import type { Thread } from "./process.ts";
import { writeBack, writePageOut } from "./writeback.ts";

const PAGE = 4096;
const PROT_WRITE = 3;
const MAP_SHARED = 1;

/** A machine of 64 MiB with one process and one file of so many pages. */
class Bench {
  readonly machine: Machine;
  readonly thread: Thread;
  readonly file: FileObject;
  readonly open: OpenFile;

  constructor(preset: string, pages: number, kind: FileKind = "regular") {
    const settings = ["geometry.memory=64M", "geometry.bootMemory=none"];
    this.machine = new Machine(applySettings(specOf(preset), settings));
    this.thread = this.machine.spawn("test").threads[0]!;
    this.file = this.machine.kernel.files.create({ name: "f", kind, sizeBytes: pages * PAGE });
    this.open = new OpenFile(this.file, "read-write");
  }

  get dirty() {
    return this.machine.kernel.files.dirty;
  }

  call(name: string, ...args: (number | OpenFile | Uint8Array)[]): number {
    return this.machine.call(this.thread, name, args);
  }

  /** Writes one byte to each of `pages` pages, a call each. */
  writePages(pages: number): void {
    for (let index = 0; index < pages; index++)
      this.call("pwrite", this.open, new Uint8Array([index % 251]), index * PAGE);
  }

  writeOut(index: FileIndex): boolean {
    const { kernel } = this.machine;
    return this.machine.run(this.thread, writePageOut(kernel, this.file, index, this.file.pages.find(index)));
  }
}

const percent = (part: number): number => Math.floor((part * 64 * 2 ** 20) / PAGE / 100);

describe("a writer of one page after another", () => {
  test("is left alone up to the background ratio, 10 % of memory", () => {
    const bench = new Bench("nonpae-3g", 4000);
    bench.writePages(percent(7));
    expect(bench.dirty.pages).toBe(percent(7));
    expect(bench.machine.kernel.files.costs.pagesWritten).toBe(0);
  });

  test("wakes the kernel's thread above it, which writes what is too much", () => {
    const bench = new Bench("nonpae-3g", 4000);
    bench.writePages(percent(15));
    expect(bench.dirty.costs).toMatchObject({ writersHeld: 0, pagesByWriters: 0 });
    expect(bench.dirty.costs.pagesInBackground).toBeGreaterThan(0);
    expect(bench.dirty.pages).toBeLessThanOrEqual(percent(10) + bench.dirty.ratelimit);
  });
});

describe("one call that writes half of memory", () => {
  test("of 2.6.11 writes pages itself as it goes, since the thread comes after it", () => {
    const bench = new Bench("piii-4g", 1);
    bench.call("pwrite", bench.open, percent(50) * PAGE, 0);
    expect(bench.dirty.costs.writersHeld).toBeGreaterThan(0);
    expect(bench.dirty.costs.pagesByWriters).toBeGreaterThan(percent(5));
    // The thread has had its turn meanwhile: it stops below its own limit.
    expect(bench.dirty.pages).toBeLessThanOrEqual(percent(10));
  });

  test("of 6.1 waits for the thread", () => {
    const bench = new Bench("nonpae-3g", 1);
    bench.call("pwrite", bench.open, percent(50) * PAGE, 0);
    expect(bench.dirty.costs.writersHeld).toBeGreaterThan(0);
    expect(bench.dirty.costs.pagesByWriters).toBe(0);
    expect(bench.dirty.costs.pagesInBackground).toBeGreaterThan(percent(30));
  });
});

test("pages that are dirtied through a shared mapping count as those of write", () => {
  const bench = new Bench("amd64-8g", 4000);
  const at = bench.call("mmap", 0, 4000 * PAGE, PROT_WRITE, MAP_SHARED, bench.open, 0);
  for (let page = 0; page < percent(15); page++) bench.machine.access(bench.thread, at + page * PAGE, STORE);
  expect(bench.dirty.costs.pagesInBackground).toBeGreaterThan(0);
  expect(bench.dirty.pages).toBeLessThanOrEqual(percent(10) + bench.dirty.ratelimit);
});

test("pages of shared memory have no disk and never count", () => {
  const bench = new Bench("nonpae-3g", 4000, "shmem");
  bench.writePages(percent(15));
  expect(bench.dirty.pages).toBe(0);
  expect(bench.dirty.files.size).toBe(0);
});

test("the kernel's thread is through when all that is left lies beyond the ends of files that are being cut", () => {
  const bench = new Bench("nonpae-3g", 4000);
  bench.writePages(percent(7));
  const { kernel } = bench.machine;
  bench.file.sizeBytes = PAGE;
  bench.dirty.wake(percent(7));
  bench.machine.run(bench.thread, writeInBackground(kernel));
  expect(bench.dirty.costs.pagesInBackground).toBe(1);
  expect(bench.dirty.pages).toBe(percent(7) - 1);
});

describe("a page that reclaim has written", () => {
  test("is clean, and its file has it on disk", () => {
    const bench = new Bench("nonpae-3g", 10);
    bench.call("pwrite", bench.open, new Uint8Array([7, 8, 9]), 3 * PAGE);
    const frame = bench.file.pages.find(3);
    expect(bench.writeOut(3)).toBe(true);
    expect(bench.machine.kernel.frames.flags.read(frame) & (PG_DIRTY | PG_WRITEBACK)).toBe(0);
    expect(bench.dirty).toMatchObject({ pages: 0, underWriteback: 0 });

    expect(dropClean(bench.machine.kernel, bench.file, 0, 10)).toBe(1);
    const bytes = new Uint8Array(3);
    bench.call("pread", bench.open, bytes, 3 * PAGE);
    expect([...bytes]).toEqual([7, 8, 9]);
  });

  test("is under writeback until the disk has answered, and may become dirty again meanwhile", () => {
    const bench = new Bench("nonpae-3g", 10);
    const { kernel } = bench.machine;
    bench.call("pwrite", bench.open, new Uint8Array([1]), 0);
    const frame = bench.file.pages.find(0);
    const path = writePageOut(kernel, bench.file, 0, frame);
    expect(path.next().done).toBe(false);
    expect(bench.dirty).toMatchObject({ pages: 0, underWriteback: 1 });
    expect(dropClean(kernel, bench.file, 0, 1)).toBe(0);
    bench.call("pwrite", bench.open, new Uint8Array([2]), 0);
    expect(path.next()).toEqual({ done: true, value: true });
    expect(bench.dirty).toMatchObject({ pages: 1, underWriteback: 0 });
  });

  test("was dirty: a clean page, and one that the file has lost, are not written", () => {
    const bench = new Bench("nonpae-3g", 10);
    bench.call("pwrite", bench.open, new Uint8Array([1]), PAGE);
    const frame = bench.file.pages.find(1);
    runToCompletion(writeBack(bench.machine.kernel, bench.file, 0, 10));
    expect(bench.writeOut(1)).toBe(false);
    bench.call("pwrite", bench.open, new Uint8Array([1]), PAGE);
    bench.call("ftruncate", bench.open, 0);
    expect(bench.machine.run(bench.thread, writePageOut(bench.machine.kernel, bench.file, 1, frame))).toBe(false);
  });
});
