import { describe, expect, test } from "vitest";
import { EINVAL, ENOMEM } from "../base/errno.ts";
import { addressOf } from "../base/units.ts";
import * as madv from "./advise.ts";
import { areaPicture, layOut } from "./area-picture.ts";
import { MAP_PRIVATE, MAP_SHARED, READ_WRITE, TestKernel } from "./test-kernel.ts";
import { smapsFlags } from "./vma-flags.ts";

const AT = 0x40000;

const advise = (machine: TestKernel, first: number, pages: number, advice: number): number =>
  machine.call("madvise", [addressOf(first), addressOf(pages), advice]);

describe("advice that changes areas", () => {
  test.each([
    [madv.MADV_SEQUENTIAL, madv.MADV_NORMAL, "sr"],
    [madv.MADV_RANDOM, madv.MADV_NORMAL, "rr"],
    [madv.MADV_DONTFORK, madv.MADV_DOFORK, "dc"],
    [madv.MADV_DONTDUMP, madv.MADV_DODUMP, "dd"],
    [madv.MADV_WIPEONFORK, madv.MADV_KEEPONFORK, "wf"],
    [madv.MADV_MERGEABLE, madv.MADV_UNMERGEABLE, "mg"],
  ])("%i sets a flag that %i clears: %s, and the areas split and join", (set, clear, letters) => {
    const machine = new TestKernel();
    layOut(machine, AT, "AAAA", { A: READ_WRITE });
    expect(advise(machine, AT + 1, 2, set)).toBe(0);
    expect(areaPicture(machine.thread.mm, AT, 4)).toBe("ABBC");
    expect(smapsFlags(machine.thread.mm.vmas.containing(AT + 1)!.flags).split(" ")).toContain(letters);
    expect(advise(machine, AT, 4, clear)).toBe(0);
    expect(areaPicture(machine.thread.mm, AT, 4)).toBe("AAAA");
  });

  test("holes are passed over and reported; what can be done is done", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AA..BB", { A: READ_WRITE, B: READ_WRITE });
    expect(advise(machine, AT + 1, 4, madv.MADV_DONTFORK)).toBe(-ENOMEM);
    expect(areaPicture(machine.thread.mm, AT, 6)).toBe("AB..CD");
  });

  test("huge pages are advice for tables of 512 entries only", () => {
    const narrow = new TestKernel({ format: "i386" });
    layOut(narrow, AT, "A", { A: READ_WRITE });
    expect(advise(narrow, AT, 1, madv.MADV_HUGEPAGE)).toBe(-EINVAL);
    const wide = new TestKernel();
    layOut(wide, AT, "A", { A: READ_WRITE });
    expect(advise(wide, AT, 1, madv.MADV_HUGEPAGE)).toBe(0);
    expect(advise(wide, AT, 1, madv.MADV_COLLAPSE)).toBe(-EINVAL);
  });
});

describe("advice that acts on pages", () => {
  test("MADV_DONTNEED drops them, but not where they are locked; MADV_DONTNEED_LOCKED there too", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AA", { A: READ_WRITE });
    machine.store(AT);
    machine.store(AT + 1);
    expect(advise(machine, AT, 1, madv.MADV_DONTNEED)).toBe(0);
    expect(machine.picture(AT, 2)).toBe(". wad!");
    machine.call("mlock", [addressOf(AT), addressOf(2)]);
    expect(advise(machine, AT, 2, madv.MADV_DONTNEED)).toBe(-EINVAL);
    expect(advise(machine, AT, 2, madv.MADV_DONTNEED_LOCKED)).toBe(0);
    expect(machine.picture(AT, 2)).toBe(". .");
  });

  test("MADV_REMOVE takes the pages out of the file, for everybody", () => {
    const machine = new TestKernel();
    const file = machine.file(4);
    machine.map(AT, 4, READ_WRITE, MAP_SHARED, file);
    machine.map(AT + 8, 4, READ_WRITE, MAP_SHARED, file);
    for (const page of [AT, AT + 1, AT + 8, AT + 9]) machine.store(page);
    expect(advise(machine, AT + 1, 1, madv.MADV_REMOVE)).toBe(0);
    expect(file.pages.count).toBe(1);
    expect(machine.picture(AT + 8, 2)).toMatch(/^wad \.$/);
  });

  test("MADV_POPULATE_WRITE makes them writable, MADV_POPULATE_READ readable", () => {
    const machine = new TestKernel();
    machine.map(AT, 4, READ_WRITE, MAP_PRIVATE);
    expect(advise(machine, AT, 2, madv.MADV_POPULATE_WRITE)).toBe(0);
    expect(advise(machine, AT + 2, 2, madv.MADV_POPULATE_READ)).toBe(0);
    expect(machine.picture(AT, 4)).toBe("wad! wad! Z Z");
  });
});

describe("msync and mincore", () => {
  test("msync refuses to invalidate what is locked, and writes only with MS_SYNC", () => {
    const machine = new TestKernel();
    const file = machine.file(2, "regular");
    machine.map(AT, 2, READ_WRITE, MAP_SHARED, file);
    machine.store(AT);
    const sync = (flags: number) => machine.call("msync", [addressOf(AT), addressOf(2), flags]);
    expect([sync(1), file.pages.isDirty(0)]).toEqual([0, true]);
    expect([sync(4), file.pages.isDirty(0)]).toEqual([0, false]);
    machine.call("mlock", [addressOf(AT), addressOf(1)]);
    expect(sync(2)).toBe(-16);
  });

  test("mincore sees mapped pages, and a file's cached ones", () => {
    const machine = new TestKernel();
    const file = machine.file(2);
    machine.map(AT, 2, READ_WRITE, MAP_PRIVATE);
    machine.map(AT + 2, 2, 1, MAP_SHARED, file);
    machine.map(AT + 8, 2, READ_WRITE, MAP_SHARED, file);
    machine.store(AT + 1);
    machine.store(AT + 9);
    const vector = new Uint8Array(4);
    expect(machine.call("mincore", [addressOf(AT), addressOf(4), vector])).toBe(0);
    expect([...vector]).toEqual([0, 1, 0, 1]);
    expect(machine.call("mincore", [addressOf(AT), addressOf(5), vector])).toBe(-ENOMEM);
  });
});
