/** An orphan's life: what a truncation that is allowed to fail leaves behind, and how it ends. */
import { expect, test } from "vitest";
import { PAGE_SIZE, type Vpn } from "../../base/units.ts";
import { PTE_FILE } from "../../hw/pte.ts";
import { Task } from "../../sync/task.ts";
import { OpenFile } from "../file.ts";
import { PG_LRU, PG_ORPHAN } from "../frames.ts";
import { NOT_CACHED } from "../page-cache.ts";
import { MAP_SHARED, READ_WRITE, TestKernel } from "../test-kernel.ts";
import { BUS_ADRERR } from "../verdict.ts";

const AT: Vpn = 0x1000;

/** Page 7 of a file is mapped where page 0 belongs, and the file is cut to four pages while somebody holds the tables. */
function orphaned() {
  const machine = new TestKernel({ kernel: "linux-2.6.11", nonlinear: "cleanup-tolerant" });
  const { kernel, thread } = machine;
  const file = machine.file(8);
  machine.map(AT, 4, READ_WRITE, MAP_SHARED, file);
  machine.call("remap_file_pages", [AT * PAGE_SIZE, PAGE_SIZE, 0, 7, 0]);
  machine.store(AT);
  const { frame } = machine.entry(AT);
  const other = new Task(99, "somebody else");
  thread.mm.pageTableLock.tryAcquire(other);
  expect(machine.call("ftruncate", [new OpenFile(file, "read-write"), 4 * PAGE_SIZE])).toBe(0);
  thread.mm.pageTableLock.release(other);
  return { machine, kernel, file, frame };
}

test("a page whose tables are busy leaves its file, is marked, and stays with its process", () => {
  const { machine, kernel, file, frame } = orphaned();
  const { counters, frames } = kernel;
  expect([counters.cleanupRetries, counters.pagesOrphaned]).toEqual([1, 1]);
  expect(file.pages.find(7)).toBe(NOT_CACHED);
  expect(frames.has(frame, PG_ORPHAN)).toBe(true);
  expect(frames.has(frame, PG_LRU)).toBe(false);
  expect([frames.refs.read(frame), frames.mapCount.read(frame)]).toEqual([1, 1]);
  expect(machine.thread.mm.residentPages).toBe(1);
  expect([machine.load(AT), machine.store(AT)]).toEqual([0, 0]);
});

test("fork shares it, and its last entry frees it", () => {
  const { machine, kernel, frame } = orphaned();
  const child = machine.fork()!;
  expect(kernel.frames.mapCount.read(frame)).toBe(2);
  const free = kernel.allocator.unusedPages;
  machine.call("munmap", [AT * PAGE_SIZE, 4 * PAGE_SIZE]);
  expect(kernel.frames.refs.read(frame)).toBe(1);
  machine.exit(child);
  expect(kernel.frames.refs.read(frame)).toBe(0);
  expect(kernel.allocator.unusedPages).toBeGreaterThan(free);
});

test("without anybody in the way nothing is left", () => {
  const machine = new TestKernel({ kernel: "linux-2.6.11", nonlinear: "cleanup-tolerant" });
  const file = machine.file(8);
  machine.map(AT, 4, READ_WRITE, MAP_SHARED, file);
  machine.call("remap_file_pages", [AT * PAGE_SIZE, PAGE_SIZE, 0, 7, 0]);
  machine.call("ftruncate", [new OpenFile(file, "read-write"), 4 * PAGE_SIZE]);
  expect(machine.kernel.counters.pagesOrphaned).toBe(0);
  expect(machine.entry(AT).flags).toBe(PTE_FILE);
  expect(machine.load(AT)).toBe(BUS_ADRERR);
});
