/** Page tables that reclaim takes with their last entries, while somebody is about to copy or move them. */
import { describe, expect, test } from "vitest";
import { addressOf, type Pfn } from "../../base/units.ts";
import { WORDS_PER_FRAME } from "../../hw/physical-memory.ts";
import { WANT_USER } from "../allocator.ts";
import { lockPage, unlockPage } from "../page-lock.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import { tryToUnmap } from "../reclaim/try-to-unmap.ts";
import { MAP_SHARED, READ_WRITE, TestKernel, type TestMachine } from "../test-kernel.ts";
import { OWNER_USER } from "../zone.ts";

const AT = 0x40000;
/** MREMAP_MAYMOVE and MREMAP_FIXED. */
const MREMAP_MOVE = 3;

describe("a page table that reclaim takes while others wait for one", () => {
  const machineFor = (options: TestMachine): { machine: TestKernel; frame: Pfn; table: Pfn } => {
    const machine = new TestKernel({ ...options, tableFreeing: "when-empty" });
    machine.map(AT, 512, READ_WRITE, MAP_SHARED, machine.file(512));
    machine.store(AT);
    const table = machine.kernel.tables.tableAt(machine.thread.mm, AT, LEAF);
    return { machine, frame: machine.entry(AT).frame, table };
  };

  /** With the next table of `level` that is made, reclaim takes the page from its one entry; the table's frame is reused. */
  const reclaimWith = (machine: TestKernel, frame: Pfn, table: Pfn, level: number): void => {
    const { kernel } = machine;
    const { tables, frames, allocator, memory } = kernel;
    const ensure = tables.ensure.bind(tables);
    tables.ensure = function* (of, page, atLevel) {
      const made = yield* ensure(of, page, atLevel);
      if (atLevel !== level || frames.mapCount.read(frame) === 0) return made;
      frames.addReference(frame);
      yield* lockPage(kernel, frame);
      expect(yield* tryToUnmap(kernel, frame, { locked: "override" })).toBe("all");
      unlockPage(kernel, frame);
      allocator.release(frame);
      expect(tables.tableAt(machine.thread.mm, AT, LEAF)).toBe(NO_TABLE);
      while (allocator.tryAllocate(0, WANT_USER, OWNER_USER) !== table);
      for (let word = 0; word < WORDS_PER_FRAME; word++) memory.write(table, word, (frame << 12) | 0x67);
      return made;
    };
  };

  test("is not copied by fork, whoever has its frame by then", () => {
    const { machine, frame, table } = machineFor({ kernel: "linux-2.6.11", format: "i386" });
    reclaimWith(machine, frame, table, LEAF);
    const child = machine.fork()!;
    expect([machine.picture(AT, 1, child), machine.kernel.frames.mapCount.read(frame)]).toEqual([".", 0]);
  });

  test("is not moved by mremap", () => {
    const { machine, frame, table } = machineFor({ kernel: "linux-6.1", format: "x86-64" });
    reclaimWith(machine, frame, table, LEAF + 1);
    const to = AT + 0x1000;
    const args = [addressOf(AT), addressOf(512), addressOf(512), MREMAP_MOVE, addressOf(to)];
    expect(machine.call("mremap", args)).toBe(addressOf(to));
    expect(machine.kernel.tables.tableAt(machine.thread.mm, to, LEAF)).toBe(NO_TABLE);
    expect([machine.load(to), machine.entry(to).frame]).toEqual([0, frame]);
  });
});
