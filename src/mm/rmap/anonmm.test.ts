/** Anonymous pages found by their address in all relatives by fork. */
import { expect, test } from "vitest";
import { addressOf, type PteSlot, type Vpn } from "../../base/units.ts";
import { MAP_PRIVATE, READ_WRITE, TestKernel } from "../test-kernel.ts";

const AT = 0x8000;
const STRUCT = 24;

function machineWithPage(): TestKernel {
  const machine = new TestKernel({ format: "i386", kernel: "linux-2.6.11", reverseMap: "anonmm" });
  machine.map(AT, 64, READ_WRITE, MAP_PRIVATE);
  machine.store(AT + 3);
  return machine;
}

function slotsOf(machine: TestKernel, frame: number): PteSlot[] {
  const slots: PteSlot[] = [];
  machine.kernel.reverseMap.forEachKnown(frame, (slot) => slots.push(slot) > 0);
  return slots;
}

const move = (machine: TestKernel, from: Vpn, to: Vpn): number =>
  machine.call("mremap", [addressOf(from), addressOf(64), addressOf(64), 3, addressOf(to)]);

test("each address space costs one small struct, which stays while pages name it", () => {
  const machine = machineWithPage();
  const { reverseMap, slabs } = machine.kernel;
  expect(reverseMap.bytes).toBe(STRUCT);
  const child = machine.fork()!;
  const grandchild = machine.fork(child)!;
  machine.store(AT + 9, child);
  const ownFrame = machine.entry(AT + 9, child).frame;
  const later = machine.fork(child)!;
  expect(reverseMap.bytes).toBe(4 * STRUCT);
  machine.exit(child);
  expect([reverseMap.bytes, slotsOf(machine, ownFrame).length]).toEqual([4 * STRUCT, 1]);
  machine.exit(later);
  expect(reverseMap.bytes).toBe(2 * STRUCT);
  machine.exit(grandchild);
  expect(reverseMap.bytes).toBe(STRUCT);
  expect(slabs.all.find(({ name }) => name === "anonmm")?.objects).toBe(1);
});

test("a fork that finds no memory for it makes no child", () => {
  const machine = machineWithPage();
  machine.kernel.allocator.failObjectAt(2);
  expect(machine.fork()).toBeNull();
  expect(machine.kernel.reverseMap.bytes).toBe(STRUCT);
  expect(machine.kernel.spaces.size).toBe(1);
  expect(slotsOf(machine, machine.entry(AT + 3).frame).length).toBe(1);
});

test("a search looks into every relative, at one place", () => {
  const machine = machineWithPage();
  const children = Array.from({ length: 9 }, () => machine.fork()!);
  machine.store(AT + 3);
  const { costs } = machine.kernel.reverseMap;
  const before = { ...costs };
  expect(slotsOf(machine, machine.entry(AT + 3, children[0]).frame).length).toBe(9);
  expect(costs.areasVisited - before.areasVisited).toBe(10);
  expect(costs.entriesRead - before.entriesRead).toBe(10);
});

test("a page that nobody shares takes the address that it is moved to", () => {
  const machine = machineWithPage();
  const { frame } = machine.entry(AT + 3);
  expect(move(machine, AT, AT + 4096)).toBe(addressOf(AT + 4096));
  const { costs } = machine.kernel.reverseMap;
  const { entriesRead } = costs;
  expect(slotsOf(machine, frame).length).toBe(1);
  expect(costs.entriesRead - entriesRead).toBe(1);
});

test("a page that was moved while it was shared is searched for, until it is one's own again", () => {
  const machine = machineWithPage();
  const { frame } = machine.entry(AT + 3);
  const child = machine.fork()!;
  move(machine, AT, AT + 4096);
  const { costs } = machine.kernel.reverseMap;
  const pages = () => slotsOf(machine, frame).map((slot) => machine.kernel.tables.pageOf(slot));
  const read = (): number => {
    const before = costs.entriesRead;
    slotsOf(machine, frame);
    return costs.entriesRead - before;
  };
  expect(pages()).toEqual([AT + 3, AT + 4096 + 3]);
  // The child's at the page's address, and four of the area that was moved.
  expect(read()).toBe(1 + 4);
  machine.exit(child);
  expect(read()).toBe(4);
  expect(read()).toBe(1);
  expect(pages()).toEqual([AT + 4096 + 3]);
});
