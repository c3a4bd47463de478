import { describe, expect, test } from "vitest";
import { addressOf } from "../base/units.ts";
import { LOAD } from "../hw/access.ts";
import { BUS_ADRERR, SEGV_MAPERR } from "./fault.ts";
import { MAP_PRIVATE, MAP_SHARED, READ_WRITE, TestKernel } from "./test-kernel.ts";
import { unmapFileRange, zapRange } from "./zap.ts";
import { OWNER_PAGE_TABLES, OWNER_USER } from "./zone.ts";

const AT = 0x40000;

describe("unmapping", () => {
  test("frees private pages, keeps a file's, and counts both out", () => {
    const machine = new TestKernel();
    const file = machine.file(1);
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.map(AT + 1, 1, READ_WRITE, MAP_SHARED, file);
    machine.store(AT);
    machine.store(AT + 1);
    const { allocator } = machine.kernel;
    expect(allocator.ownedBy(OWNER_USER)).toBe(1);
    machine.call("munmap", [addressOf(AT), addressOf(2)]);
    expect(allocator.ownedBy(OWNER_USER)).toBe(0);
    expect(allocator.ownedBy(OWNER_PAGE_TABLES)).toBe(1); // the top one
    expect(machine.thread.mm.residentPages).toBe(0);
    expect(file.pages.count).toBe(1);
  });

  test("a page that was written through a mapping is dirty in its file afterwards", () => {
    const machine = new TestKernel();
    const file = machine.file(1, "regular");
    machine.map(AT, 1, READ_WRITE, MAP_SHARED, file);
    machine.store(AT);
    machine.call("munmap", [addressOf(AT), addressOf(1)]);
    expect(file.pages.isDirty(0)).toBe(true);
  });

  test("no TLB keeps what has been unmapped", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    machine.call("munmap", [addressOf(AT), addressOf(1)]);
    expect(machine.kernel.cpus[0]!.touch(AT, LOAD)).toBe(false);
    expect(machine.load(AT)).toBe(SEGV_MAPERR);
  });

  test("more pages than one gather holds go in several flushes", () => {
    const machine = new TestKernel();
    machine.map(AT, 1200, READ_WRITE, MAP_PRIVATE);
    for (let page = 0; page < 1200; page++) machine.store(AT + page);
    const { freePages } = machine.kernel.allocator;
    machine.call("munmap", [addressOf(AT), addressOf(1200)]);
    expect(machine.kernel.counters.gatherFlushes).toBe(3);
    expect(machine.kernel.counters.ptesZapped).toBe(1200);
    expect(machine.kernel.allocator.freePages - freePages).toBeGreaterThanOrEqual(1200);
  });
});

test("MADV_DONTNEED takes pages out and leaves the tables", () => {
  const machine = new TestKernel();
  machine.map(AT, 4, READ_WRITE, MAP_PRIVATE);
  for (const page of [0, 1, 2, 3]) machine.store(AT + page);
  const vma = machine.thread.mm.vmas.find(AT)!;
  machine.run(zapRange(machine.kernel, vma, AT + 1, AT + 3));
  expect(machine.picture(AT, 4)).toBe("wad! . . wad!");
  expect(machine.tables()).toEqual([1, 1, 1]);
});

describe("a file loses pages", () => {
  test("truncation takes private copies too, a punched hole does not", () => {
    const machine = new TestKernel();
    const file = machine.file(3);
    machine.map(AT, 3, READ_WRITE, MAP_PRIVATE, file);
    machine.store(AT);
    machine.load(AT + 1);
    machine.store(AT + 2);
    machine.run(unmapFileRange(machine.kernel, file, 0, 2, "shared"));
    expect(machine.picture(AT, 3)).toBe("wad! . wad!");
    machine.run(unmapFileRange(machine.kernel, file, 0, 2, "all"));
    expect(machine.picture(AT, 3)).toBe(". . wad!");
  });

  test("beyond the new end there is a bus error", () => {
    const machine = new TestKernel();
    const file = machine.file(2);
    machine.map(AT, 2, READ_WRITE, MAP_SHARED, file);
    machine.store(AT + 1);
    file.sizeBytes = addressOf(1);
    machine.run(unmapFileRange(machine.kernel, file, 1, Number.POSITIVE_INFINITY, "all"));
    expect(machine.store(AT + 1)).toBe(BUS_ADRERR);
  });
});
