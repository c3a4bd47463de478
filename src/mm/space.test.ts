import { describe, expect, test } from "vitest";
import { addressOf } from "../base/units.ts";
import { execSpace } from "./exec.ts";
import { readRemote } from "./remote.ts";
import { MAP_PRIVATE, PROT_NONE, READ, READ_WRITE, TestKernel } from "./test-kernel.ts";
import { OWNER_PAGE_TABLES, OWNER_USER } from "./zone.ts";

const AT = 0x40000;
const EIO = 5;

test("exec leaves an empty address space, and the old one's memory is free", () => {
  const machine = new TestKernel();
  machine.map(AT, 2, READ_WRITE, MAP_PRIVATE);
  machine.store(AT);
  const old = machine.thread.mm;
  expect(machine.run(execSpace(machine.kernel, machine.thread))).toBe(0);
  expect(machine.thread.mm).not.toBe(old);
  expect(machine.thread.mm.vmas.count).toBe(0);
  const { allocator } = machine.kernel;
  expect([allocator.ownedBy(OWNER_USER), allocator.ownedBy(OWNER_PAGE_TABLES)]).toEqual([0, 1]);
});

test("exec without memory changes nothing", () => {
  const machine = new TestKernel();
  machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
  machine.store(AT);
  const old = machine.thread.mm;
  machine.kernel.allocator.failAt(1);
  expect(machine.run(execSpace(machine.kernel, machine.thread))).toBeLessThan(0);
  expect(machine.thread.mm).toBe(old);
  expect(machine.picture(AT, 1)).toBe("wad!");
});

test("a process that ends leaves no page table, and no CPU in its address space", () => {
  const machine = new TestKernel();
  const { allocator } = machine.kernel;
  const before = allocator.ownedBy(OWNER_PAGE_TABLES);
  const child = machine.fork()!;
  machine.store(machine.map(AT, 1, READ_WRITE, MAP_PRIVATE));
  machine.call("munmap", [addressOf(AT), addressOf(1)]);
  machine.exit(child);
  expect(allocator.ownedBy(OWNER_PAGE_TABLES)).toBe(before);
  expect(child.mm.cpus.size).toBe(0);
});

describe("looking into another process", () => {
  test("shows its bytes, whatever the area allows, and charges who looks", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.map(AT + 1, 1, PROT_NONE, MAP_PRIVATE);
    machine.store(AT);
    machine.kernel.memory.writeByte(machine.entry(AT).frame, 5, 77);
    const child = machine.fork()!;
    const look = (page: number): number =>
      machine.run(readRemote(machine.kernel, machine.thread, child.process, addressOf(page) + 5));
    const before = machine.thread.process.minorFaults;
    expect(look(AT)).toBe(77);
    expect(look(AT + 1)).toBe(0);
    expect(machine.thread.process.minorFaults - before).toBe(1);
    expect(child.process.minorFaults).toBe(0);
  });

  test("shows nothing where nothing is, or beyond a file's end", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ, MAP_PRIVATE, machine.file(0));
    const look = (page: number): number =>
      machine.run(readRemote(machine.kernel, machine.thread, machine.thread.process, addressOf(page)));
    expect(look(AT)).toBe(-EIO);
    expect(look(AT + 1)).toBe(-EIO);
  });
});
