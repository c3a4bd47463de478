import { describe, expect, test } from "vitest";
import { EAGAIN, ENOMEM } from "../base/errno.ts";
import { addressOf } from "../base/units.ts";
import { areaPicture, layOut } from "./area-picture.ts";
import { MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE } from "./move-area.ts";
import { MAP_PRIVATE, MAP_SHARED, READ, READ_WRITE, TestKernel } from "./test-kernel.ts";
import { VM_ACCOUNT } from "./vma.ts";

const AT = 0x40000;

const remap = (machine: TestKernel, from: number, oldPages: number, newPages: number, flags: number, to = 0): number =>
  machine.call("mremap", [addressOf(from), addressOf(oldPages), addressOf(newPages), flags, addressOf(to)]);

const picture = (machine: TestKernel, pages: number): string => areaPicture(machine.thread.mm, AT, pages);

/** Promised pages, and those of areas that count: they must agree. */
function promised(machine: TestKernel): number {
  let pages = 0;
  for (const vma of machine.thread.mm.vmas) if ((vma.flags & VM_ACCOUNT) !== 0) pages += vma.pages;
  expect(machine.kernel.commitment.pages).toBe(pages);
  return pages;
}

describe("mremap", () => {
  test("shrinks where it is, and grows back into the same area", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AAAA", { A: READ_WRITE });
    expect(remap(machine, AT, 4, 2, 0)).toBe(addressOf(AT));
    expect(picture(machine, 4)).toBe("AA..");
    expect(remap(machine, AT, 2, 4, 0)).toBe(addressOf(AT));
    expect(picture(machine, 4)).toBe("AAAA");
    expect(promised(machine)).toBe(4);
  });

  test("grows into the gap below an area of its kind, and the three become one", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AA..BB", { A: READ_WRITE, B: READ_WRITE });
    expect(remap(machine, AT, 2, 4, 0)).toBe(addressOf(AT));
    expect(picture(machine, 6)).toBe("AAAAAA");
    const old = new TestKernel({ kernel: "linux-2.6.11", format: "pae" });
    layOut(old, AT, "AA..BB", { A: READ_WRITE, B: READ_WRITE });
    expect(remap(old, AT, 2, 4, 0)).toBe(addressOf(AT));
    expect(picture(old, 6)).toBe("AAAABB");
  });

  test("without room it fails, or moves and takes its pages along", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AABB", { A: READ_WRITE, B: READ });
    machine.store(AT + 1);
    const { frame } = machine.entry(AT + 1);
    expect(remap(machine, AT, 2, 3, 0)).toBe(-ENOMEM);
    const to = remap(machine, AT, 2, 3, MREMAP_MAYMOVE) / 4096;
    expect(picture(machine, 4)).toBe("..AA");
    expect(machine.entry(to + 1).frame).toBe(frame);
    expect(machine.kernel.frames.mapCount.read(frame)).toBe(1);
    expect(promised(machine)).toBe(3);
    // The index of a written page goes with it.
    expect(machine.thread.mm.vmas.containing(to)!.fileIndex).toBe(AT);
  });

  test("a piece out of the middle goes to a fixed place; both ends still count", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AAAAAA", { A: READ_WRITE });
    expect(remap(machine, AT + 2, 2, 2, MREMAP_MAYMOVE | MREMAP_FIXED, AT + 8)).toBe(addressOf(AT + 8));
    expect(picture(machine, 10)).toBe("AA..BB..CC");
    expect(promised(machine)).toBe(6);
  });

  test("MREMAP_DONTUNMAP leaves an empty area behind, which counts too", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AA", { A: READ_WRITE });
    machine.store(AT);
    const flags = MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED;
    expect(remap(machine, AT, 2, 2, flags, AT + 4)).toBe(addressOf(AT + 4));
    expect(picture(machine, 6)).toBe("AA..BB");
    expect([machine.picture(AT, 2), machine.picture(AT + 4, 2)]).toEqual([". .", "wad! ."]);
    expect(machine.thread.mm.vmas.first!.anonVma).toBe(null);
    expect(promised(machine)).toBe(4);
  });

  test("no old pages: a second mapping of shared memory", () => {
    const machine = new TestKernel();
    machine.map(AT, 2, READ_WRITE, MAP_SHARED);
    machine.store(AT + 1);
    const to = remap(machine, AT + 1, 0, 1, MREMAP_MAYMOVE) / 4096;
    machine.load(to);
    expect(machine.entry(to).frame).toBe(machine.entry(AT + 1).frame);
    expect(picture(machine, 2)).toBe("AA");
  });

  test("untouched memory takes the index of its new place, and merges there with its own rest", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AAAA", { A: READ_WRITE });
    const flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    expect(remap(machine, AT, 2, 2, flags, AT + 4)).toBe(addressOf(AT + 4));
    expect(picture(machine, 6)).toBe("..AAAA");
    expect(promised(machine)).toBe(4);
  });

  test("a failed move puts the pages back", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AA", { A: READ_WRITE });
    machine.store(AT);
    machine.kernel.allocator.failAt(1, 1);
    expect(remap(machine, AT, 2, 2, MREMAP_MAYMOVE | MREMAP_FIXED, AT + 0x40000)).toBe(-ENOMEM);
    machine.kernel.allocator.neverFail();
    expect(picture(machine, 2)).toBe("AA");
    expect(machine.picture(AT, 2)).toBe("wad! .");
    expect(promised(machine)).toBe(2);
    expect(machine.thread.mm.totalPages).toBe(2);
  });

  test("limits: of locked memory EAGAIN, of the address space ENOMEM", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AA", { A: READ_WRITE });
    machine.call("mlock", [addressOf(AT), addressOf(2)]);
    const { limits } = machine.thread.mm;
    limits.privilege = "user";
    limits.lockedBytes = addressOf(2);
    expect(remap(machine, AT, 2, 4, MREMAP_MAYMOVE)).toBe(-EAGAIN);
    limits.lockedBytes = addressOf(8);
    limits.addressSpaceBytes = addressOf(3);
    expect(remap(machine, AT, 2, 4, MREMAP_MAYMOVE)).toBe(-ENOMEM);
    limits.addressSpaceBytes = addressOf(4);
    expect(remap(machine, AT, 2, 4, MREMAP_MAYMOVE)).toBe(addressOf(AT));
    expect(machine.thread.mm.lockedPages).toBe(4);
    expect(machine.picture(AT, 4)).not.toContain(" .");
  });

  test("a file's area is found under its new place", () => {
    const machine = new TestKernel();
    const file = machine.file(4);
    machine.map(AT, 4, READ, MAP_PRIVATE, file);
    remap(machine, AT + 2, 2, 2, MREMAP_MAYMOVE | MREMAP_FIXED, AT + 8);
    expect(file.mappings.overlapping(2, 4).map(({ start }) => start)).toEqual([AT + 8]);
    expect(file.mappings.overlapping(0, 2).map(({ start }) => start)).toEqual([AT]);
  });
});
