import { describe, expect, test } from "vitest";
import { EEXIST, EINVAL, ENOMEM, EPERM } from "../base/errno.ts";
import { addressOf } from "../base/units.ts";
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_NONE, READ_WRITE, TestKernel } from "./test-kernel.ts";
import { MAP_32BIT, MAP_FIXED_NOREPLACE, MAP_GROWSDOWN } from "./vma-flags.ts";

const PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS;

/** Maps `pages` pages of private memory: where, as a page number, or -ERRNO. */
function place(machine: TestKernel, pages: number, flags = 0, hint = 0): number {
  const result = machine.call("mmap", [hint, addressOf(pages), READ_WRITE, PRIVATE | flags, null, 0]);
  return result < 0 ? result : result / 4096;
}

describe("top-down (6.1)", () => {
  test("the highest gap that is wide enough, below the stack's room", () => {
    const machine = new TestKernel();
    const top = machine.kernel.layout.mmapBase;
    //   top-8 ........  top      A at -2, B below a gap of 2
    machine.map(top - 2, 2, PROT_NONE, MAP_PRIVATE);
    machine.map(top - 6, 2, PROT_NONE, MAP_PRIVATE);
    expect(place(machine, 3)).toBe(top - 9);
    expect(place(machine, 2)).toBe(top - 4);
    expect(place(machine, 1)).toBe(top - 10);
  });

  test("the gap below a stack stays free, whoever asks", () => {
    const machine = new TestKernel();
    const top = machine.kernel.layout.mmapBase;
    const stack = top - 1000;
    machine.map(stack, 10, READ_WRITE, MAP_PRIVATE | MAP_GROWSDOWN);
    machine.map(stack + 10, 990, PROT_NONE, MAP_PRIVATE);
    expect(place(machine, 1)).toBe(stack - 256 - 1);
    // The hint says just below the stack: the gap is in the way.
    expect(place(machine, 1, 0, addressOf(stack - 1))).toBe(stack - 256 - 2);
    expect(place(machine, 1, MAP_FIXED, addressOf(stack - 1))).toBe(stack - 1);
  });

  test("when nothing is left below, the search goes up from TASK_UNMAPPED_BASE", () => {
    const machine = new TestKernel({ format: "pae" });
    const { mmapBase, unmappedBase, taskEnd } = machine.kernel.layout;
    machine.map(16, mmapBase - 16, PROT_NONE, MAP_PRIVATE | 0x4000);
    expect(place(machine, 1)).toBe(mmapBase);
    machine.map(mmapBase + 1, taskEnd - mmapBase - 1, PROT_NONE, MAP_PRIVATE | 0x4000);
    expect(place(machine, 1)).toBe(-ENOMEM);
    expect(unmappedBase).toBeLessThan(mmapBase);
  });

  test("a hint is rounded down on 64 bits and up on 32 bits, and one below mmap_min_addr is raised", () => {
    const wide = new TestKernel();
    expect(place(wide, 1, 0, addressOf(0x4_0000) + 1)).toBe(0x4_0000);
    expect(place(wide, 1, 0, 4096)).toBe(16);
    const narrow = new TestKernel({ format: "pae" });
    expect(place(narrow, 1, 0, addressOf(0x4_0000) + 1)).toBe(0x4_0000);
  });

  test("MAP_32BIT: the lowest gap of its window", () => {
    const machine = new TestKernel();
    expect(place(machine, 4, MAP_32BIT)).toBe(0x4_0000);
    expect(place(machine, 4, MAP_32BIT)).toBe(0x4_0004);
  });

  test("a fixed place: what lies there goes, unless MAP_FIXED_NOREPLACE says otherwise", () => {
    const machine = new TestKernel();
    const at = 0x4_0000;
    machine.map(at, 4, READ_WRITE, MAP_PRIVATE);
    expect(place(machine, 1, MAP_FIXED_NOREPLACE, addressOf(at + 3))).toBe(-EEXIST);
    expect(place(machine, 1, MAP_FIXED_NOREPLACE, addressOf(at + 4))).toBe(at + 4);
    expect(place(machine, 1, MAP_FIXED, addressOf(at) + 1)).toBe(-EINVAL);
    expect(place(machine, 2, MAP_FIXED, addressOf(machine.kernel.layout.taskEnd - 1))).toBe(-ENOMEM);
  });

  test("only root maps below vm.mmap_min_addr", () => {
    const machine = new TestKernel();
    expect(place(machine, 1, MAP_FIXED, addressOf(1))).toBe(1);
    machine.thread.mm.limits.privilege = "user";
    expect(place(machine, 1, MAP_FIXED, addressOf(2))).toBe(-EPERM);
  });
});

describe("bottom-up with a cached hole (2.6.11)", () => {
  test("first fit from TASK_UNMAPPED_BASE, and next time from where the last one ended", () => {
    const machine = new TestKernel({ kernel: "linux-2.6.11", format: "i386" });
    const base = machine.kernel.layout.unmappedBase;
    machine.map(base + 2, 2, PROT_NONE, MAP_PRIVATE);
    expect(place(machine, 4)).toBe(base + 4);
    // There is room for two pages at the base, but nobody looks back.
    expect(place(machine, 2)).toBe(base + 8);
    expect(machine.thread.mm.freeAreaCache).toBe(base + 10);
  });

  test("a hole that is made below it is seen", () => {
    const machine = new TestKernel({ kernel: "linux-2.6.11", format: "i386" });
    const base = machine.kernel.layout.unmappedBase;
    for (let i = 0; i < 3; i++) expect(place(machine, 2)).toBe(base + 2 * i);
    machine.call("munmap", [addressOf(base + 2), addressOf(1)]);
    // The cache goes back to the start of what was unmapped.
    expect(machine.thread.mm.freeAreaCache).toBe(base + 2);
    expect(place(machine, 1)).toBe(base + 2);
  });

  test("at the top the search starts once more from the base", () => {
    const machine = new TestKernel({ kernel: "linux-2.6.11", format: "i386" });
    const { unmappedBase, taskEnd } = machine.kernel.layout;
    machine.thread.mm.freeAreaCache = taskEnd - 1;
    expect(place(machine, 2)).toBe(unmappedBase);
  });
});
