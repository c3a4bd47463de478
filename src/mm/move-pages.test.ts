import { describe, expect, test } from "vitest";
import { addressOf } from "../base/units.ts";
import { MAP_PRIVATE, READ_WRITE, TestKernel } from "./test-kernel.ts";

const AT = 0x40000;
const MAYMOVE_FIXED = 3;

const move = (machine: TestKernel, from: number, pages: number, to: number): number =>
  machine.call("mremap", [addressOf(from), addressOf(pages), addressOf(pages), MAYMOVE_FIXED, addressOf(to)]);

describe("moving entries", () => {
  test("takes frames along, copies nothing, and leaves nothing behind", () => {
    const machine = new TestKernel();
    machine.map(AT, 3, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    machine.load(AT + 2);
    const { frame } = machine.entry(AT);
    expect(move(machine, AT, 3, AT + 0x1003)).toBe(addressOf(AT + 0x1003));
    expect(machine.picture(AT, 3)).toBe(". . .");
    expect(machine.picture(AT + 0x1003, 3)).toBe("wad! . Z");
    expect(machine.entry(AT + 0x1003).frame).toBe(frame);
    expect(machine.kernel.counters.pagesCopied).toBe(0);
  });

  test("a part of the target gets a table if its source has one, and on 2.6.11 only if there is an entry", () => {
    const leafTables = (kernel: "linux-6.1" | "linux-2.6.11"): number => {
      const machine = new TestKernel({ kernel });
      machine.map(AT, 1024, READ_WRITE, MAP_PRIVATE);
      machine.store(AT);
      // One page less than a table: what was in one table lies in two.
      move(machine, AT, 1024, AT + 0x10001);
      return machine.tables()[0]!;
    };
    expect(leafTables("linux-6.1")).toBe(2);
    expect(leafTables("linux-2.6.11")).toBe(1);
  });

  test("a chain of the reverse map follows its entry", () => {
    const machine = new TestKernel({ reverseMap: "pte-chain-e" });
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    move(machine, AT, 1, AT + 0x1000);
    const { kernel } = machine;
    const { frame } = machine.entry(AT + 0x1000);
    const slots: number[] = [];
    kernel.reverseMap.forEach(frame, (slot) => {
      slots.push(slot);
      return true;
    });
    const leaf = kernel.tables.tableAt(machine.thread.mm, AT + 0x1000, 1);
    expect(slots).toEqual([leaf * 512]);
  });
});

describe("whole tables", () => {
  test("are hung elsewhere where both places are aligned", () => {
    const machine = new TestKernel();
    machine.map(AT, 512, READ_WRITE, MAP_PRIVATE);
    machine.store(AT + 5);
    const leaf = machine.kernel.tables.tableAt(machine.thread.mm, AT, 1);
    move(machine, AT, 512, AT + 0x800);
    expect(machine.kernel.tables.tableAt(machine.thread.mm, AT + 0x800, 1)).toBe(leaf);
    expect(machine.kernel.counters.tablesMoved).toBe(1);
    expect(machine.kernel.counters.ptesMoved).toBe(0);
    expect(machine.store(AT + 0x805)).toBe(0);
  });

  test("never on 2.6.11", () => {
    const machine = new TestKernel({ kernel: "linux-2.6.11" });
    machine.map(AT, 512, READ_WRITE, MAP_PRIVATE);
    machine.store(AT + 5);
    move(machine, AT, 512, AT + 0x800);
    expect(machine.kernel.counters.tablesMoved).toBe(0);
    expect(machine.kernel.counters.ptesMoved).toBe(1);
  });
});
