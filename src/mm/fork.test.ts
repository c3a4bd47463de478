import { describe, expect, test } from "vitest";
import { addressOf } from "../base/units.ts";
import { MAP_PRIVATE, MAP_SHARED, READ, READ_WRITE, TestKernel } from "./test-kernel.ts";

const AT = 0x40000;
const MADV_DONTFORK = 10;
const MADV_WIPEONFORK = 18;

describe("what a child has at once", () => {
  test("private pages, read-only on both sides, clean of Accessed in the child", () => {
    const machine = new TestKernel();
    machine.map(AT, 3, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    machine.load(AT + 1);
    const child = machine.fork()!;
    expect(machine.picture(AT, 3)).toBe("rad Z .");
    expect(machine.picture(AT, 3, child)).toBe("rd Z .");
    expect(child.mm.resident.anon).toBe(1);
  });

  test("no entries of areas that faults can fill again, except on 2.6.11", () => {
    for (const kernel of ["linux-6.1", "linux-2.6.11"] as const) {
      const machine = new TestKernel({ kernel });
      machine.map(AT, 2, READ_WRITE, MAP_SHARED, machine.file(2));
      machine.store(AT);
      machine.load(AT + 1);
      const child = machine.fork()!;
      // A shared page is clean in the child.
      expect(machine.picture(AT, 2, child)).toBe(kernel === "linux-6.1" ? ". ." : "w w");
      expect(child.mm.resident.shmem).toBe(kernel === "linux-6.1" ? 0 : 2);
    }
  });

  test("a file's pages of a private area once one of them has been copied", () => {
    const machine = new TestKernel();
    machine.map(AT, 2, READ_WRITE, MAP_PRIVATE, machine.file(2));
    machine.load(AT + 1);
    machine.store(AT);
    const child = machine.fork()!;
    expect(machine.picture(AT, 2, child)).toBe("rd r");
  });

  test("areas marked DONTFORK are not there, areas marked WIPEONFORK are empty", () => {
    const machine = new TestKernel();
    for (const page of [AT, AT + 2, AT + 4]) {
      machine.map(page, 1, READ_WRITE, MAP_PRIVATE);
      machine.store(page);
    }
    machine.call("madvise", [addressOf(AT), 4096, MADV_DONTFORK]);
    machine.call("madvise", [addressOf(AT + 2), 4096, MADV_WIPEONFORK]);
    const child = machine.fork()!;
    expect([...child.mm.vmas].map((vma) => vma.start)).toEqual([AT + 2, AT + 4]);
    expect(machine.picture(AT, 5, child)).toBe(". . . . rd");
    expect(child.mm.totalPages).toBe(2);
  });
});

test("a parent that held a writable translation may not use it any more", () => {
  const machine = new TestKernel();
  machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
  machine.store(AT);
  const child = machine.fork()!;
  machine.store(AT);
  expect(machine.entry(AT).frame).not.toBe(machine.entry(AT, child).frame);
});

test("without memory fork gives everything back", () => {
  const machine = new TestKernel();
  machine.map(AT, 600, READ_WRITE, MAP_PRIVATE);
  machine.map(AT + 1000, 1, READ, MAP_SHARED, machine.file(1));
  for (let page = 0; page < 600; page++) machine.store(AT + page);
  const { allocator, commitment } = machine.kernel;
  const before = { free: allocator.freePages, promised: commitment.pages };
  for (let attempt = 1; ; attempt++) {
    allocator.failAt(attempt);
    const child = machine.fork();
    if (child !== null) {
      machine.exit(child);
      break;
    }
    expect({ free: allocator.freePages, promised: commitment.pages }).toEqual(before);
  }
  expect({ free: allocator.freePages, promised: commitment.pages }).toEqual(before);
});

test.each([0, 1, 17, 39])("a reverse map without memory for entry %i lets fork wait, and go on where it was", (at) => {
  const machine = new TestKernel({ reverseMap: "pte-chain-e", kernel: "linux-2.6.11", format: "pae" });
  machine.map(AT, 40, READ_WRITE, MAP_PRIVATE);
  for (let page = 0; page < 40; page++) machine.store(AT + page);
  const { counters, reverseMap } = machine.kernel;
  const add = reverseMap.add.bind(reverseMap);
  let entries = 0;
  reverseMap.add = (frame, slot, vma) => (entries++ === at ? -12 : add(frame, slot, vma));
  const child = machine.fork()!;
  expect([entries, counters.ptesCopied]).toEqual([41, 40]);
  for (const thread of [machine.thread, child]) {
    expect(machine.picture(AT, 40, thread)).toMatch(/^(ra?d ?){40}$/);
    expect(thread.mm.resident.anon).toBe(40);
  }
});

test("the last process of an address space takes it along, and not before", () => {
  const machine = new TestKernel();
  machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
  machine.store(AT);
  const child = machine.fork()!;
  child.mm.users++;
  machine.exit(child);
  expect(machine.kernel.spaces.has(child.mm)).toBe(true);
});
