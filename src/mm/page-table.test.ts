import { describe, expect, test } from "vitest";
import { addressOf } from "../base/units.ts";
import type { PagingFormatName } from "../hw/paging-format.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { MAP_PRIVATE, READ_WRITE, TestKernel } from "./test-kernel.ts";

const AT = 0x40000;
const MAP_NORESERVE = 0x4000;

const formats: PagingFormatName[] = ["i386", "pae", "x86-64", "x86-64-la57"];

describe.each(formats)("%s", (format) => {
  test("one page needs one table of each level", () => {
    const machine = new TestKernel({ format });
    const before = machine.tables();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    const grown = machine.tables().map((count, at) => count - before[at]!);
    // PAE has its second level from birth.
    expect(grown).toEqual(format === "pae" ? [1, 0] : grown.map(() => 1));
  });

  test("unmapping the only area frees every table but those the address space was born with", () => {
    const machine = new TestKernel({ format });
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    machine.call("munmap", [addressOf(AT), addressOf(1)]);
    const left = machine.tables();
    if (format === "pae") expect(left).toEqual([0, 2]);
    else expect(left.every((count) => count === 0)).toBe(true);
  });

  test("everything is given back when the process ends", () => {
    const machine = new TestKernel({ format });
    const child = machine.fork()!;
    const { freePages } = machine.kernel.allocator;
    const span = machine.kernel.tables.span(LEAF);
    const grandchild = machine.fork(child)!;
    for (const page of [AT, AT + span, AT + 700 * 512]) {
      machine.map(page, 1, READ_WRITE, MAP_PRIVATE);
      machine.store(page);
    }
    machine.exit(grandchild);
    machine.exit(child);
    machine.call("munmap", [addressOf(AT), addressOf(1000 * 512)]);
    expect(machine.kernel.allocator.freePages).toBeGreaterThanOrEqual(freePages);
    expect(machine.kernel.tables.openTables).toBe(0);
  });
});

test("a walk skips whole missing subtrees", () => {
  const machine = new TestKernel();
  const { tables } = machine.kernel;
  const far = AT + 2 ** 27; // another entry of the top table
  machine.map(far, 1, READ_WRITE, MAP_PRIVATE);
  machine.store(far);
  const { mm } = machine.thread;
  expect(tables.nextLeaf(mm, AT, far + 1)).toBe(far - (far % 512));
  expect(tables.nextLeaf(mm, AT, AT + 512)).toBe(AT + 512);
  expect(tables.tableAt(mm, AT, LEAF)).toBe(NO_TABLE);
});

describe("freeing", () => {
  /** Three areas in three leaf tables of one second-level table; the middle one is unmapped. */
  function unmapMiddle(kernel: "linux-6.1" | "linux-2.6.11", neighbour: number): number[] {
    const machine = new TestKernel({ kernel });
    for (const page of [AT, AT + 512 + 100, AT + 512 + 100 + neighbour]) {
      machine.map(page, 1, READ_WRITE, MAP_PRIVATE);
      machine.store(page);
    }
    machine.call("munmap", [addressOf(AT + 612), addressOf(1)]);
    return machine.tables();
  }

  test("a leaf table goes when no neighbour has pages in its span", () => {
    expect(unmapMiddle("linux-6.1", 512)).toEqual([2, 1, 1]);
    expect(unmapMiddle("linux-6.1", 1)).toEqual([2, 1, 1]); // the neighbour shares it
  });

  test("2.6.11 goes by the room between the neighbours", () => {
    expect(unmapMiddle("linux-2.6.11", 512)).toEqual([2, 1, 1]);
    expect(unmapMiddle("linux-2.6.11", 1)).toEqual([2, 1, 1]);
  });
});

test("a table that cannot be had leaves those above it, and nothing is counted twice", () => {
  const machine = new TestKernel();
  machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
  machine.kernel.allocator.failAt(3);
  expect(machine.load(AT)).toBe(2);
  expect(machine.tables()).toEqual([0, 1, 1]);
  expect(machine.load(AT)).toBe(0);
  expect(machine.tables()).toEqual([1, 1, 1]);
});

describe("the owner of an entry", () => {
  /** Every leaf table of the process, by the page that a walk finds it at. */
  function* leaves(machine: TestKernel, thread = machine.thread) {
    const { tables, entries, layout } = machine.kernel;
    const { mm } = thread;
    for (let page = 0; ; page += tables.span(LEAF)) {
      page = tables.nextLeaf(mm, page, layout.taskEnd);
      if (page >= layout.taskEnd) return;
      const first = page - (page % tables.span(LEAF));
      const table = tables.open(tables.tableAt(mm, page, LEAF));
      yield { page: first, slot: entries.slotOf(table, 0) };
      tables.close(table);
    }
  }

  function checkOwners(machine: TestKernel, thread = machine.thread): number {
    const { tables } = machine.kernel;
    const last = tables.span(LEAF) - 1;
    let checked = 0;
    for (const { page, slot } of leaves(machine, thread)) {
      expect([tables.mmOf(slot), tables.pageOf(slot)]).toEqual([thread.mm, page]);
      expect([tables.mmOf(slot + last), tables.pageOf(slot + last)]).toEqual([thread.mm, page + last]);
      checked++;
    }
    return checked;
  }

  const highpte = { pageTablePlacement: "highmem", pageTableAccess: "kmap-atomic" } as const;
  const machines = {
    "i386, with quicklists": { format: "i386", highmem: { pageTableCache: "quicklists" } },
    "pae, tables in highmem": { format: "pae", highmemFrom: 1024, highmem: highpte },
    "x86-64, which moves tables whole": { format: "x86-64", kernel: "linux-6.1" },
  } as const;

  test.each(Object.entries(machines))("is known after touch, fork, mremap and munmap: %s", (_name, of) => {
    const machine = new TestKernel(of);
    const span = machine.kernel.tables.span(LEAF);
    const far = AT + 64 * span;
    machine.map(AT, 3 * span, READ_WRITE, MAP_PRIVATE);
    for (const page of [0, span - 1, span, 3 * span - 1]) machine.store(AT + page);
    const child = machine.fork()!;
    expect([checkOwners(machine), checkOwners(machine, child)]).toEqual([3, 3]);
    machine.call("mremap", [addressOf(AT), addressOf(3 * span), addressOf(3 * span), 3, addressOf(far)]);
    expect(checkOwners(machine)).toBeGreaterThanOrEqual(3);
    expect(machine.entry(far + span).flags).not.toBe(0);
    machine.call("munmap", [addressOf(far), addressOf(span)]);
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    expect(checkOwners(machine)).toBeGreaterThanOrEqual(2);
    machine.exit(child);
    expect(checkOwners(machine)).toBeGreaterThanOrEqual(2);
  });

  test("of second-level tables that move whole is told to every leaf below", () => {
    const machine = new TestKernel({ kernel: "linux-6.1" });
    const half = 2 ** 18; // a GiB: one entry of the third level
    machine.map(half, half, READ_WRITE, MAP_PRIVATE | MAP_NORESERVE);
    for (const page of [half, half + 512 * 7, 2 * half - 1]) machine.store(page);
    machine.call("mremap", [addressOf(half), addressOf(half), addressOf(half), 3, addressOf(4 * half)]);
    expect(machine.kernel.counters.tablesMoved).toBe(1);
    expect([...leaves(machine)].map(({ page }) => page)).toEqual([4 * half, 4 * half + 512 * 7, 5 * half - 512]);
    expect(checkOwners(machine)).toBe(3);
  });

  test("is forgotten when the table is freed", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    const [leaf] = [...leaves(machine)];
    machine.call("munmap", [addressOf(AT), addressOf(1)]);
    expect(() => machine.kernel.tables.mmOf(leaf!.slot)).toThrow(/is nobody's/);
  });
});
