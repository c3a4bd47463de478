import { describe, expect, test } from "vitest";
import { addressOf } from "../base/units.ts";
import { MAP_PRIVATE, MAP_SHARED, PROT_NONE, READ, READ_WRITE, TestKernel } from "./test-kernel.ts";

const AT = 0x40000;
const MAP_POPULATE = 0x8000;
const MADV_POPULATE_WRITE = 23;
const ENOMEM = 12;

describe("populating", () => {
  test("writable private memory gets pages of its own, one fault each", () => {
    const machine = new TestKernel();
    machine.map(AT, 3, READ_WRITE, MAP_PRIVATE | MAP_POPULATE);
    expect(machine.picture(AT, 3)).toBe("wad! wad! wad!");
    expect(machine.thread.process.minorFaults).toBe(3);
  });

  test("read-only memory gets the zero page, and none on 2.6.11", () => {
    const machine = new TestKernel();
    machine.map(AT, 2, READ, MAP_PRIVATE | MAP_POPULATE);
    expect(machine.picture(AT, 2)).toBe("Z Z");
    const old = new TestKernel({ kernel: "linux-2.6.11" });
    old.map(AT, 2, READ, MAP_PRIVATE);
    old.call("mlock", [addressOf(AT), addressOf(2)]);
    expect(old.picture(AT, 2)).toBe(". .");
  });

  test("a shared file is read, not written, with the neighbours of each fault", () => {
    const machine = new TestKernel();
    const file = machine.file(20);
    machine.map(AT, 20, READ_WRITE, MAP_SHARED, file);
    for (let page = 0; page < 20; page++) machine.load(AT + page);
    machine.thread.process.minorFaults = 0;
    machine.map(AT, 20, READ_WRITE, MAP_SHARED | MAP_POPULATE, file);
    expect(machine.thread.process.minorFaults).toBe(2);
    expect(machine.picture(AT, 2)).toBe("wa wa");
  });

  test("what a fork shares is copied at once by mlock, not later", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    const child = machine.fork()!;
    machine.call("mlock", [addressOf(AT), 4096]);
    expect(machine.entry(AT).frame).not.toBe(machine.entry(AT, child).frame);
  });
});

describe("what cannot be populated", () => {
  test("mlock stops at an area without rights", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.map(AT + 1, 1, PROT_NONE, MAP_PRIVATE);
    machine.map(AT + 2, 1, READ_WRITE, MAP_PRIVATE);
    expect(machine.call("mlock", [addressOf(AT), addressOf(3)])).toBe(-ENOMEM);
    expect(machine.picture(AT, 3)).toBe("wad! . .");
  });

  test("a page beyond the end of a file ends MADV_POPULATE_WRITE with EFAULT", () => {
    const machine = new TestKernel();
    machine.map(AT, 2, READ_WRITE, MAP_SHARED, machine.file(1));
    expect(machine.call("madvise", [addressOf(AT), addressOf(2), MADV_POPULATE_WRITE])).toBe(-14);
    expect(machine.picture(AT, 2)).toBe("wad .");
  });

  test("an area that forbids writes is refused with EINVAL", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ, MAP_PRIVATE);
    expect(machine.call("madvise", [addressOf(AT), 4096, MADV_POPULATE_WRITE])).toBe(-22);
  });
});
