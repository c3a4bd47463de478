/** Pages that come and go whole, as programs meet them; and each law of theirs notices what breaks it. */
import { beforeEach, describe, expect, test } from "vitest";
import { PAGE_SIZE, type Pfn, type PteSlot, pageOf, type Vaddr } from "../../base/units.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import { type OpenTable, PTE_WRITE } from "../../hw/pte.ts";
import { Machine } from "../../machine.ts";
import { pageOut } from "../../mm/cool-pages.ts";
import { OpenFile } from "../../mm/file.ts";
import { LEAF } from "../../mm/page-table.ts";
import type { Process } from "../../mm/process.ts";
import { Gather } from "../../mm/tlb/gather.ts";
import { zapTable } from "../../mm/zap.ts";
import { runToCompletion } from "../../sync/path.ts";
import { oracleSpec } from "../oracle-machine.ts";
import { audit } from "./audit.ts";

const AREA: Vaddr = 2 ** 30;
const PARTS = 4;
const PAGE = PARTS * PAGE_SIZE;
const READ_WRITE = 3;
const ANONYMOUS = 0x32; // MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS
const PRIVATE_FILE = 0x12;

let machine: Machine;
let parent: Process;

const call = (name: string, ...args: (number | OpenFile | null)[]): number =>
  machine.call(parent.threads[0]!, name, args);
const store = (at: Vaddr, value: number, process = parent): void => {
  expect(machine.access(process.threads[0]!, at, STORE)).toBe(0);
  machine.writeByte(process.threads[0]!, at, value);
};
const byteAt = (at: Vaddr, process = parent): number => {
  expect(machine.access(process.threads[0]!, at, LOAD)).toBe(0);
  return machine.readByte(process.threads[0]!, at);
};

/** The entries of the page at `at`: the frames that they map, -1 for those that map none. */
function framesAt(at: Vaddr, process = parent): Pfn[] {
  const { tables, entries } = machine.kernel;
  const table = tables.tableAt(process.mm, pageOf(at), LEAF) as OpenTable;
  const index = tables.indexAt(pageOf(at), LEAF);
  return Array.from({ length: PARTS }, (_, part) =>
    (entries.flags(table, index + part) & 1) === 0 ? -1 : entries.frame(table, index + part),
  );
}
const clean = (): void => expect(audit(machine)).toEqual([]);

describe.each(["object-anon", "pte-chain-e"] as const)("with pages of four frames, and %s", (reverseMap) => {
  beforeEach(() => {
    machine = new Machine(oracleSpec("pae", "linux-2.6.11", { softPageShift: "2", softPageStyle: "bsd", reverseMap }));
    parent = machine.spawn("parent");
    expect(call("mmap", AREA, 2 * PAGE, READ_WRITE, ANONYMOUS, null, 0)).toBe(AREA);
  });

  test("a fault anywhere in a page makes all of it present, zero page or not", () => {
    expect(byteAt(AREA + 2 * PAGE_SIZE)).toBe(0);
    expect(framesAt(AREA)).toEqual(Array(PARTS).fill(machine.kernel.zeroFrame));
    clean();
    store(AREA + 3 * PAGE_SIZE, 7);
    const [head] = framesAt(AREA);
    expect(framesAt(AREA)).toEqual([head, head! + 1, head! + 2, head! + 3]);
    expect(machine.kernel.counters.minorFaults).toBe(2);
    clean();
  });

  test("a child's write copies the whole page, and the parent's shows what it held", () => {
    for (let part = 0; part < PARTS; part++) store(AREA + part * PAGE_SIZE, part + 1);
    const child = machine.fork(parent.threads[0]!) as Process;
    const { pagesCopied, copyOnWriteFaults } = machine.kernel.counters;
    store(AREA + PAGE_SIZE, 9, child);
    expect(machine.kernel.counters.pagesCopied - pagesCopied).toBe(PARTS);
    expect(machine.kernel.counters.copyOnWriteFaults - copyOnWriteFaults).toBe(1);
    expect([0, 1, 2, 3].map((part) => byteAt(AREA + part * PAGE_SIZE, child))).toEqual([1, 9, 3, 4]);
    expect([0, 1, 2, 3].map((part) => byteAt(AREA + part * PAGE_SIZE))).toEqual([1, 2, 3, 4]);
    clean();
  });

  test("a page goes to swap whole, and comes back whole at one fault", () => {
    const spec = oracleSpec("pae", "linux-6.1", { softPageShift: "2", softPageStyle: "bsd", reverseMap });
    machine = new Machine({ ...spec, geometry: { ...spec.geometry, swap: [2 ** 20] } });
    parent = machine.spawn("parent");
    call("mmap", AREA, PAGE, READ_WRITE, ANONYMOUS, null, 0);
    for (let part = 0; part < PARTS; part++) store(AREA + part * PAGE_SIZE, part + 1);
    const vma = parent.mm.vmas.containing(pageOf(AREA))!;
    machine.run(parent.threads[0]!, pageOut(machine.kernel, vma, vma.start, vma.end));
    expect(parent.mm.resident).toMatchObject({ anon: 0, swap: PARTS });
    clean();
    const faults = parent.majorFaults;
    expect([3, 0, 1, 2].map((part) => byteAt(AREA + part * PAGE_SIZE))).toEqual([4, 1, 2, 3]);
    expect(parent.majorFaults - faults).toBe(1);
    clean();
  });

  test("a private copy of a file's page takes what the file has of it all, to its end and beyond", () => {
    const file = machine.kernel.files.create({ name: "f", kind: "regular", sizeBytes: PAGE + 100 });
    const opened = new OpenFile(file, "read-write");
    expect(call("mmap", AREA, 2 * PAGE, READ_WRITE, PRIVATE_FILE, opened, 0)).toBe(AREA);
    store(AREA + PAGE + 3 * PAGE_SIZE, 5);
    expect(framesAt(AREA + PAGE).every((frame, part) => frame % PARTS === part)).toBe(true);
    expect(byteAt(AREA + PAGE)).toBe(0);
    clean();
  });

  test("mappings that move take their pages along", () => {
    for (let part = 0; part < 2 * PARTS; part++) store(AREA + part * PAGE_SIZE, part + 1);
    const to = AREA + 5 * PAGE;
    expect(call("mremap", AREA, 2 * PAGE, 2 * PAGE, 3, to)).toBe(to);
    for (let part = 0; part < 2 * PARTS; part++) expect(byteAt(to + part * PAGE_SIZE)).toBe(part + 1);
    clean();
  });
});

test("entries are cleared by whole pages, however much a flush frees", () => {
  machine = new Machine(oracleSpec("pae", "linux-2.6.11", { softPageShift: "2", softPageStyle: "bsd" }));
  parent = machine.spawn("parent");
  const pages = 512;
  call("mmap", AREA, pages * PAGE_SIZE, READ_WRITE, ANONYMOUS, null, 0);
  for (let page = 0; page < pages; page += PARTS) store(AREA + page * PAGE_SIZE, 1);
  const { kernel } = machine;
  const vma = parent.mm.vmas.containing(pageOf(AREA))!;
  const gather = new Gather(kernel, parent.mm);
  const done = zapTable(kernel, gather, vma, { first: vma.start, end: vma.end, cows: "all" });
  // It has room for 506 frames.
  expect(done - vma.start).toBe(508);
  runToCompletion(gather.flush());
  clean();
});

test("a chain has one link for each mapping of a page, and finds all entries", () => {
  machine = new Machine(
    oracleSpec("pae", "linux-2.6.11", { softPageShift: "2", softPageStyle: "bsd", reverseMap: "pte-chain-a" }),
  );
  parent = machine.spawn("parent");
  call("mmap", AREA, PAGE, READ_WRITE, ANONYMOUS, null, 0);
  const { reverseMap, tables } = machine.kernel;
  const before = reverseMap.bytes;
  store(AREA, 1);
  const [head] = framesAt(AREA);
  const found: PteSlot[] = [];
  reverseMap.forEach(head!, (slot) => found.push(slot) > 0);
  expect(found.map((slot) => tables.pageOf(slot) - pageOf(AREA))).toEqual([0, 1, 2, 3]);
  const one = reverseMap.bytes - before;
  machine.fork(parent.threads[0]!);
  expect(reverseMap.bytes - before).toBeLessThanOrEqual(Math.max(2 * one, 2 * 32));
  clean();
});

describe("each law of whole pages finds what breaks it", () => {
  const table = (): OpenTable => machine.kernel.tables.tableAt(parent.mm, pageOf(AREA), LEAF) as OpenTable;
  const index = (): number => machine.kernel.tables.indexAt(pageOf(AREA), LEAF);
  const breaks: readonly (readonly [law: string, how: string, harm: () => void])[] = [
    [
      "areas-hold-whole-pages",
      "an area that ends within a page",
      () => {
        parent.mm.vmas.containing(pageOf(AREA))!.end--;
      },
    ],
    [
      "whole-pages-have-all-entries",
      "an entry that is missing",
      () => machine.kernel.entries.clear(table(), index() + 2),
    ],
    [
      "whole-pages-have-all-entries",
      "an entry with fewer rights",
      () => {
        const { entries } = machine.kernel;
        entries.setFlags(table(), index() + 1, entries.flags(table(), index() + 1) & ~PTE_WRITE);
      },
    ],
    [
      "whole-pages-have-all-entries",
      "parts in another order",
      () => {
        const { entries } = machine.kernel;
        const [head] = framesAt(AREA);
        const flags = entries.flags(table(), index());
        entries.set(table(), index() + 1, head! + 2, flags);
        entries.set(table(), index() + 2, head! + 1, flags);
      },
    ],
    [
      "first-entries-are-chained",
      "a link that is missing",
      () => {
        const [head] = framesAt(AREA);
        const { reverseMap, entries } = machine.kernel;
        const slot = entries.slotOf(table(), index());
        reverseMap.remove(head!, slot, parent.mm.vmas.containing(pageOf(AREA))!);
      },
    ],
  ];

  test.each(breaks)("%s: %s", (law, _how, harm) => {
    machine = new Machine(
      oracleSpec("pae", "linux-2.6.11", { softPageShift: "2", softPageStyle: "bsd", reverseMap: "pte-chain-e" }),
    );
    parent = machine.spawn("parent");
    call("mmap", AREA, 2 * PAGE, READ_WRITE, ANONYMOUS, null, 0);
    for (let part = 0; part < PARTS; part++) store(AREA + part * PAGE_SIZE, part);
    clean();
    harm();
    expect(audit(machine).map(({ law: name }) => name)).toContain(law);
  });
});
