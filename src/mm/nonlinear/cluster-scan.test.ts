/** Reclaim of pages that lie out of order, by reverse maps that find them and by those that do not. */
import { describe, expect, test } from "vitest";
import { PAGE_SIZE, type Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_FILE } from "../../hw/pte.ts";
import type { FileObject } from "../file.ts";
import { lockPage, unlockPage } from "../page-lock.ts";
import { LEAF } from "../page-table.ts";
import { tryToUnmap, type Unmapped } from "../reclaim/try-to-unmap.ts";
import type { ReverseMapName } from "../rmap/reverse-maps.ts";
import { MAP_SHARED, READ_WRITE, TestKernel } from "../test-kernel.ts";

const AT: Vpn = 0x1000;
const PAGES = 128;

/** A file whose pages are mapped from the last to the first. */
class Reversed extends TestKernel {
  readonly shared: FileObject;

  constructor(reverseMap: ReverseMapName) {
    super({ kernel: "linux-2.6.11", nonlinear: "tagged-search", reverseMap, format: "pae" });
    this.shared = this.file(PAGES);
    this.map(AT, PAGES, READ_WRITE, MAP_SHARED, this.shared);
    for (let at = 0; at < PAGES; at++)
      this.call("remap_file_pages", [(AT + at) * PAGE_SIZE, PAGE_SIZE, 0, PAGES - 1 - at, 0]);
  }

  frameOf(index: number): number {
    return this.shared.pages.find(index);
  }

  /** What reclaim does with the page of that index. */
  unmap(index: number): Unmapped {
    const frame = this.frameOf(index);
    const { kernel } = this;
    kernel.frames.addReference(frame);
    this.run(lockPage(kernel, frame));
    const unmapped = this.run(tryToUnmap(kernel, frame, { locked: "respect" }));
    unlockPage(kernel, frame);
    kernel.allocator.release(frame);
    return unmapped;
  }

  /** Places that map nothing, and remember what they mapped. */
  get remembered(): number[] {
    return Array.from({ length: PAGES }, (_, at) => at).filter((at) => this.entry(AT + at).flags === PTE_FILE);
  }

  makeOld(): void {
    const { tables, entries } = this.kernel;
    for (let at = 0; at < PAGES; at++) {
      const table = tables.tableAt(this.thread.mm, AT + at, LEAF) as OpenTable;
      const index = tables.indexAt(AT + at, LEAF);
      entries.setFlags(table, index, entries.flags(table, index) & ~ACCESSED);
    }
  }
}

const ACCESSED = 1 << 5;

describe("a reverse map that chains entries", () => {
  test.each<ReverseMapName>(["pte-chain-e", "object-chain-incremental", "object-chain-convert"])(
    "%s: takes exactly the page that was asked for, and its place remembers it",
    (reverseMap) => {
      const machine = new Reversed(reverseMap);
      machine.makeOld();
      expect(machine.unmap(5)).toBe("all");
      expect(machine.remembered).toEqual([PAGES - 1 - 5]);
      expect(machine.kernel.counters.clusterEntriesScanned).toBe(0);
      expect(machine.load(AT + PAGES - 1 - 5)).toBe(0);
      expect(machine.entry(AT + PAGES - 1 - 5).frame).toBe(machine.frameOf(5));
    },
  );
});

describe("a reverse map that searches areas", () => {
  test("looks at 32 entries in passing, and goes on there the next time", () => {
    const machine = new Reversed("object-anon");
    machine.makeOld();
    expect(machine.unmap(5)).toBe("again");
    expect(machine.kernel.counters.clusterEntriesScanned).toBe(32);
    expect(machine.remembered).toEqual(Array.from({ length: 32 }, (_, at) => at));
    machine.unmap(5);
    machine.unmap(5);
    expect(machine.remembered.length).toBe(96);
    expect(machine.unmap(5)).toBe("all");
    expect(machine.remembered.length).toBe(PAGES);
    expect(machine.thread.mm.residentPages).toBe(0);
  });

  test("pages that were used are only made old, and stay until the next round", () => {
    const machine = new Reversed("object-anon");
    for (let at = 0; at < PAGES; at++) machine.load(AT + at);
    expect(machine.unmap(5)).toBe("again");
    expect(machine.remembered).toEqual([]);
    expect(machine.unmap(5)).toBe("again");
    expect(machine.remembered.length).toBeGreaterThan(0);
  });

  test("nothing is taken from locked areas", () => {
    const machine = new Reversed("object-anon");
    machine.makeOld();
    machine.call("mlock", [AT * PAGE_SIZE, PAGES * PAGE_SIZE]);
    expect(machine.unmap(5)).toBe("refused");
    expect(machine.remembered).toEqual([]);
  });
});
