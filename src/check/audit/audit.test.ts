import { beforeEach, describe, expect, test } from "vitest";
import { addressOf } from "../../base/units.ts";
import { STORE } from "../../hw/access.ts";
import { PTE_DIRTY, PTE_WRITE } from "../../hw/pte.ts";
import { Machine } from "../../machine.ts";
import { PG_EXCLUSIVE } from "../../mm/frames.ts";
import type { Process } from "../../mm/process.ts";
import { oracleSpec } from "../oracle-machine.ts";
import { entryOf } from "../page-walk.ts";
import { audit, laws, requireClean } from "./audit.ts";

const PAGE = 0x5_0000;
const MAP_PRIVATE_ANONYMOUS_FIXED = 0x32;

let machine: Machine;
let process: Process;

/** The names of the laws that the machine breaks. */
const broken = (): string[] => [...new Set(audit(machine).map(({ law }) => law))];

/** The entry of the page that the tests corrupt. */
function entry() {
  const found = entryOf(machine.kernel, process.mm.root, PAGE)!;
  return { ...found, frame: machine.kernel.entries.frame(found.table, found.index) };
}

beforeEach(() => {
  machine = new Machine(oracleSpec("x86-64", "linux-6.1"));
  process = machine.spawn("victim");
  const thread = process.threads[0]!;
  machine.call(thread, "mmap", [addressOf(PAGE), addressOf(4), 3, MAP_PRIVATE_ANONYMOUS_FIXED, null, 0]);
  machine.access(thread, addressOf(PAGE), STORE);
});

describe("the auditor", () => {
  test("finds nothing wrong with a machine that works", () => {
    expect(audit(machine)).toEqual([]);
  });

  test("states each law once, in one sentence", () => {
    expect(new Set(laws.map(({ name }) => name)).size).toBe(laws.length);
    for (const { statement } of laws) expect(statement).toMatch(/^[A-Z].*\.$/);
  });

  test("finds a map count that no entry explains", () => {
    machine.kernel.frames.mapCount.add(entry().frame, 1);
    expect(broken()).toContain("map-counts-are-entries");
  });

  test("finds a page that is mapped and not referenced", () => {
    machine.kernel.frames.refs.add(entry().frame, -1);
    expect(broken()).toContain("references-are-uses");
  });

  test("finds a resident count that is off by one", () => {
    process.mm.resident.anon++;
    expect(broken()).toEqual(["resident-is-entries"]);
  });

  test("finds a page table that nobody counted", () => {
    process.mm.tablesByLevel[1]!--;
    expect(broken()).toEqual(["table-counts-are-tables"]);
  });

  test("finds memory that was promised and is not charged to any area", () => {
    machine.kernel.commitment.charge(1, null);
    expect(broken()).toEqual(["commitment-is-sum"]);
  });

  test("finds a TLB that remembers what the tables have taken back", () => {
    const { table, index, flags } = entry();
    machine.kernel.entries.setFlags(table, index, flags & ~(PTE_WRITE | PTE_DIRTY));
    expect(broken()).toEqual(["tlbs-agree-with-tables"]);
  });

  test("finds an entry that vanished without its counts", () => {
    const { table, index } = entry();
    machine.kernel.entries.clear(table, index);
    expect(broken()).toEqual(
      expect.arrayContaining([
        "map-counts-are-entries",
        "resident-is-entries",
        "nothing-leaks",
        "tlbs-agree-with-tables",
      ]),
    );
  });

  test("finds one frame behind two writable entries", () => {
    const { table, index, flags, frame } = entry();
    machine.kernel.entries.set(table, index + 1, frame, flags);
    expect(broken()).toEqual(expect.arrayContaining(["map-counts-are-entries", "writers-are-alone"]));
    expect(machine.kernel.frames.has(frame, PG_EXCLUSIVE)).toBe(true);
  });

  test("finds an entry outside every area", () => {
    const { table, index, flags, frame } = entry();
    machine.kernel.entries.set(table, index + 8, frame, flags);
    expect(broken()).toContain("entries-lie-in-areas");
  });

  test("finds a frame of a program that went back to the free lists", () => {
    const { frame } = entry();
    machine.kernel.frames.mapCount.add(frame, -1);
    machine.kernel.allocator.free(frame, 0);
    expect(broken()).toEqual(expect.arrayContaining(["free-frames-are-unused", "tlbs-name-no-free-frame"]));
  });

  test("finds a table that is still open", () => {
    machine.kernel.tables.open(entry().table);
    expect(broken()).toEqual(["tables-are-closed"]);
  });

  test("finds a lock that is still held", () => {
    process.mm.pageTableLock.tryAcquire(process.threads[0]!);
    expect(broken()).toEqual(["locks-are-free"]);
  });

  test("throws with the state of the machine when it must be clean and is not", () => {
    process.mm.resident.anon++;
    let state: string | undefined;
    try {
      requireClean(machine, "after the test");
    } catch (error) {
      state = (error as { state?: string }).state;
    }
    expect(state).toMatch(/^victim {2}VMA {2}0x50000\.\.0x50004 rw-p anon\n/);
  });
});
