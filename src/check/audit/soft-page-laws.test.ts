/** Soft pages as programs meet them, and each law of theirs notices what breaks it. */
import { beforeEach, describe, expect, test } from "vitest";
import { addressOf, PAGE_SIZE, type Pfn, pageOf, type Vaddr } from "../../base/units.ts";
import type { Design } from "../../design.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import type { OpenTable } from "../../hw/pte.ts";
import { Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import { PG_REFERENCED } from "../../mm/frames.ts";
import { LEAF } from "../../mm/page-table.ts";
import type { Process } from "../../mm/process.ts";
import { OWNER_PAGE_TABLES, OWNER_USER } from "../../mm/zone.ts";
import { oracleSpec } from "../oracle-machine.ts";
import { audit } from "./audit.ts";

const AREA: Vaddr = 2 ** 30;
const ANONYMOUS = 0x32; // MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS
const SHARED_FILE = 0x11; // MAP_SHARED | MAP_FIXED
const READ_WRITE = 3;

let machine: Machine;
let parent: Process;

function start(softPageShift: Design["softPageShift"], design: Partial<Design> = {}): void {
  machine = new Machine(oracleSpec("pae", "linux-2.6.11", { softPageShift, ...design }));
  parent = machine.spawn("parent");
}

const call = (name: string, ...args: (number | OpenFile | null)[]): number =>
  machine.call(parent.threads[0]!, name, args);
const map = (pages: number, address = AREA): number =>
  call("mmap", address, pages * PAGE_SIZE, READ_WRITE, ANONYMOUS, null, 0);
const store = (page: number, value: number, process = parent): void => {
  expect(machine.access(process.threads[0]!, AREA + page * PAGE_SIZE, STORE)).toBe(0);
  machine.writeByte(process.threads[0]!, AREA + page * PAGE_SIZE, value);
};
const byteAt = (page: number, process = parent): number => {
  expect(machine.access(process.threads[0]!, AREA + page * PAGE_SIZE, LOAD)).toBe(0);
  return machine.readByte(process.threads[0]!, AREA + page * PAGE_SIZE);
};
/** The frame that an address maps; -1 if none. */
function frameAt(address: Vaddr, process = parent): Pfn {
  const { tables, entries } = machine.kernel;
  const table = tables.tableAt(process.mm, pageOf(address), LEAF);
  if (table < 0) return -1;
  const index = tables.indexAt(pageOf(address), LEAF);
  return entries.flags(table as OpenTable, index) === 0 ? -1 : entries.frame(table as OpenTable, index);
}
const owned = (): number => machine.kernel.allocator.ownedBy(OWNER_USER);
const clean = (): void => expect(audit(machine)).toEqual([]);

describe.each(["1", "2", "3", "4"] as const)("with soft pages of 2^%s frames", (shift) => {
  const parts = 1 << Number(shift);
  beforeEach(() => start(shift));

  test("one fault makes all parts present, each in a frame of its own", () => {
    map(parts);
    const faults = machine.kernel.counters.minorFaults;
    for (let page = 0; page < parts; page++) store(page, page + 1);
    expect(machine.kernel.counters.minorFaults - faults).toBe(1);
    const frames = Array.from({ length: parts }, (_, page) => frameAt(AREA + page * PAGE_SIZE));
    expect(frames).toEqual(frames.map((_, part) => frames[0]! + part));
    expect(frames[0]! % parts).toBe(0);
    for (let page = 0; page < parts; page++) expect(byteAt(page)).toBe(page + 1);
    expect(machine.kernel.frames.refs.read(frames[0]!)).toBe(parts);
    clean();
  });

  test("a page that is unmapped in parts stays until the last", () => {
    map(parts);
    store(0, 1);
    for (let page = 0; page < parts; page++) {
      expect(owned()).toBe(parts);
      expect(call("munmap", AREA + page * PAGE_SIZE, PAGE_SIZE)).toBe(0);
      clean();
    }
    expect(owned()).toBe(0);
  });

  test("a part that was given back is zero again, in the page that the others are in", () => {
    map(parts);
    for (let page = 0; page < parts; page++) store(page, 7);
    expect(call("madvise", AREA + PAGE_SIZE, PAGE_SIZE, 4)).toBe(0);
    store(1, 0);
    expect([byteAt(0), byteAt(1)]).toEqual([7, 0]);
    expect(owned()).toBe(parts);
    clean();
  });

  test("after fork a write copies one part; the next parts go to the same new page", () => {
    map(parts);
    for (let page = 0; page < parts; page++) store(page, page + 1);
    const child = machine.fork(parent.threads[0]!) as Process;
    const { counters } = machine.kernel;
    const copied = counters.pagesCopied;
    store(0, 100, child);
    expect(counters.pagesCopied - copied).toBe(1);
    expect(owned()).toBe(2 * parts);
    store(1, 101, child);
    expect(counters.pagesCopied - copied).toBe(2);
    expect(owned()).toBe(2 * parts);
    expect([byteAt(0), byteAt(1), byteAt(0, child), byteAt(1, child)]).toEqual([1, 2, 100, 101]);
    clean();
    machine.exit(child, 0);
    expect(owned()).toBe(parts);
    clean();
  });

  test("a page of a file lies across two page tables where the area is not aligned as the file is", () => {
    const span = machine.kernel.tables.span(LEAF) * PAGE_SIZE;
    const file = new OpenFile(machine.kernel.files.create({ name: "f", kind: "shmem", sizeBytes: span }), "read-write");
    const from = AREA + span - PAGE_SIZE;
    expect(call("mmap", from, parts * PAGE_SIZE, READ_WRITE, SHARED_FILE, file, 0)).toBe(from);
    for (let page = 0; page < parts; page++) {
      expect(machine.access(parent.threads[0]!, from + page * PAGE_SIZE, STORE)).toBe(0);
    }
    const head = frameAt(from);
    expect(frameAt(from + PAGE_SIZE)).toBe(head + 1);
    expect(machine.kernel.frames.mapCount.read(head)).toBe(parts);
    clean();
    expect(call("munmap", from, PAGE_SIZE)).toBe(0);
    expect(machine.kernel.frames.mapCount.read(head)).toBe(parts - 1);
    clean();
  });

  test("an area that mremap has moved off its alignment keeps its parts", () => {
    map(2 * parts);
    for (let page = 0; page < 2 * parts; page++) store(page, page + 1);
    const to = AREA + 64 * parts * PAGE_SIZE + PAGE_SIZE;
    expect(call("mremap", AREA, 2 * parts * PAGE_SIZE, 2 * parts * PAGE_SIZE, 3, to)).toBe(to);
    for (let page = 0; page < 2 * parts; page++) {
      expect(machine.access(parent.threads[0]!, to + page * PAGE_SIZE, LOAD)).toBe(0);
      expect(machine.readByte(parent.threads[0]!, to + page * PAGE_SIZE)).toBe(page + 1);
    }
    clean();
  });

  test("a chain holds one entry for those that lie side by side, and finds them all", () => {
    start(shift, { reverseMap: "pte-chain-e", chainedParts: "blast-radius" });
    map(parts);
    for (let page = 0; page < parts; page++) store(page, page);
    const { reverseMap, tables } = machine.kernel;
    const head = frameAt(AREA);
    const found: number[] = [];
    reverseMap.forEach(head, (slot) => found.push(tables.pageOf(slot)) > 0);
    expect(found.sort((a, b) => a - b)).toEqual(Array.from({ length: parts }, (_, page) => pageOf(AREA) + page));
    const idle = reverseMap.bytes;
    const child = machine.fork(parent.threads[0]!) as Process;
    // Two entries now, one of each process, whatever the number of parts.
    expect(reverseMap.bytes - idle).toBeLessThanOrEqual(2 * 32);
    clean();
    expect(call("munmap", AREA, PAGE_SIZE)).toBe(0);
    clean();
    machine.exit(child, 0);
    clean();
  });
});

describe("each law of soft pages finds what breaks it", () => {
  const breaks: Record<string, () => void> = {
    "parts-have-nothing": () => machine.kernel.frames.setFlag(frameAt(AREA) + 1, PG_REFERENCED),
    "parts-lie-by-index": () => {
      const { index } = machine.kernel.frames;
      const head = frameAt(AREA);
      index.write(head, index.read(head) + 1);
    },
    "free-blocks-are-whole": () => {
      // What is left of a block is free, and begins within a soft page.
      machine.kernel.allocator.zones.at(-1)!.buddy.take(0);
    },
  };

  test.each(Object.entries(breaks))("%s", (law, harm) => {
    start("2");
    map(8);
    for (let page = 0; page < 8; page++) store(page, page);
    clean();
    harm();
    expect(audit(machine).map(({ law: name }) => name)).toContain(law);
  });
});

test("page tables are cut out of soft pages, and the last of them gives the soft page back", () => {
  start("3");
  const { allocator, tables } = machine.kernel;
  const span = tables.span(LEAF) * PAGE_SIZE;
  const before = allocator.ownedBy(OWNER_PAGE_TABLES);
  for (let at = 0; at < 12; at++) map(1, AREA + at * span);
  for (let at = 0; at < 12; at++) machine.access(parent.threads[0]!, AREA + at * span, STORE);
  const count = parent.mm.tablesByLevel.reduce((sum, tables) => sum + tables, 0);
  expect(count).toBeGreaterThan(8);
  expect(allocator.ownedBy(OWNER_PAGE_TABLES)).toBe(Math.ceil(count / 8) * 8);
  clean();
  for (let at = 0; at < 12; at++) expect(call("munmap", AREA + at * span, addressOf(1))).toBe(0);
  expect(allocator.ownedBy(OWNER_PAGE_TABLES)).toBe(before);
  clean();
});
