/** 131,072 windows of one page on a file, in reverse order: one nonlinear area, against an area for each window. */
import { expect, test } from "vitest";
import { ENOMEM } from "../../base/errno.ts";
import { PAGE_SIZE, type Vpn } from "../../base/units.ts";
import { PTE_FILE } from "../../hw/pte.ts";
import { MAP_SHARED, READ_WRITE, TestKernel } from "../test-kernel.ts";
import type { NonlinearName } from "./nonlinears.ts";

const AT: Vpn = 0x1_0000;
const WINDOWS = 131_072;
const MAP_NONBLOCK = 0x1_0000;

/** How many windows can be had, and the result that ended it. */
function windows(nonlinear: NonlinearName): { machine: TestKernel; made: number; result: number } {
  const machine = new TestKernel({
    kernel: "linux-2.6.11",
    nonlinear,
    format: "i386",
    frames: 8192,
    tunables: { maxMapCount: 65_536 },
  });
  machine.map(AT, WINDOWS, READ_WRITE, MAP_SHARED, machine.file(WINDOWS));
  for (let made = 0; made < WINDOWS; made++) {
    const args = [(AT + made) * PAGE_SIZE, PAGE_SIZE, 0, WINDOWS - 1 - made, MAP_NONBLOCK];
    const result = machine.call("remap_file_pages", args);
    if (result < 0) return { machine, made, result };
  }
  return { machine, made: WINDOWS, result: 0 };
}

test("a nonlinear area has them all: 512 KiB of entries, and one area", () => {
  const { machine, made } = windows("tagged-search");
  const { mm } = machine.thread;
  expect(made).toBe(WINDOWS);
  expect(mm.vmas.count).toBe(1);
  expect(machine.kernel.counters.fileEntriesWritten).toBe(WINDOWS);
  expect(machine.tables()).toEqual([WINDOWS / 1024]);
  expect((mm.tablesByLevel[1]! * PAGE_SIZE) / 1024).toBe(512);
  expect(machine.entry(AT + WINDOWS - 1).flags).toBe(PTE_FILE);
});

test("areas end at vm.max_map_count, with half of them made and megabytes of areas", () => {
  const { machine, made, result } = windows("emulated");
  expect(result).toBe(-ENOMEM);
  expect(made).toBe(65_536);
  expect(machine.thread.mm.vmas.count).toBe(65_537);
  expect(machine.kernel.slabs.vmas.objects).toBe(65_537);
});
