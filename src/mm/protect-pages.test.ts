import { describe, expect, test } from "vitest";
import { addressOf } from "../base/units.ts";
import { SEGV_ACCERR } from "./fault.ts";
import { MAP_PRIVATE, MAP_SHARED, PROT_NONE, READ, READ_WRITE, TestKernel } from "./test-kernel.ts";

const AT = 0x40000;

const protect = (machine: TestKernel, prot: number): number => machine.call("mprotect", [addressOf(AT), 4096, prot]);

describe("rights change, and what the MMU noted stays", () => {
  test("a page made inaccessible keeps its frame", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    const { frame } = machine.entry(AT);
    protect(machine, PROT_NONE);
    expect(machine.picture(AT, 1)).toBe("-ad!");
    expect(machine.load(AT)).toBe(SEGV_ACCERR);
    protect(machine, READ_WRITE);
    expect(machine.entry(AT).frame).toBe(frame);
    expect(machine.store(AT)).toBe(0);
  });

  test("a store right after the page became read-only faults: no TLB keeps the right", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    protect(machine, READ);
    expect(machine.store(AT)).toBe(SEGV_ACCERR);
  });
});

describe("becoming writable", () => {
  const cases = [
    ["a page of one's own that was written", (machine: TestKernel) => machine.store(AT), "wad!"],
    ["the zero page", (machine: TestKernel) => machine.load(AT), "Z"],
  ] as const;

  test.each(cases)("%s", (_what, touch, picture) => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    touch(machine);
    protect(machine, READ);
    protect(machine, READ_WRITE);
    expect(machine.picture(AT, 1)).toBe(picture);
  });

  test("never a page that a child shares", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    const child = machine.fork()!;
    protect(machine, READ);
    protect(machine, READ_WRITE);
    expect(machine.picture(AT, 1)).toBe("rad");
    machine.store(AT);
    expect(machine.entry(AT).frame).not.toBe(machine.entry(AT, child).frame);
  });

  test("never a private mapping's page of a file", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ, MAP_PRIVATE, machine.file(1));
    machine.load(AT);
    protect(machine, READ_WRITE);
    expect(machine.picture(AT, 1)).toBe("ra");
  });

  test("at once, a shared mapping of memory", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ, MAP_SHARED, machine.file(1));
    machine.load(AT);
    protect(machine, READ_WRITE);
    expect(machine.picture(AT, 1)).toBe("wa");
  });
});
