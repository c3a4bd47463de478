import { describe, expect, test } from "vitest";
import { PAGE_SIZE, type Vpn } from "../../base/units.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import { type OpenTable, PTE_SOFT1, PTE_WRITE } from "../../hw/pte.ts";
import { Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import { createSegmentFile } from "../../mm/pfnmap/segment-files.ts";
import type { Thread } from "../../mm/process.ts";
import { VM_RAW } from "../../mm/vma.ts";
import { applySettings, specOf } from "../../presets.ts";
import { audit } from "./audit.ts";

const AT: Vpn = 0x1000;
const PAGES = 8;
const READ_WRITE = 3;
const PRIVATE_FIXED = 0x12;

/** A machine on which a program has a private mapping of eight pages, the second of them copied. */
class World {
  readonly machine: Machine;
  readonly thread: Thread;

  constructor(...settings: string[]) {
    const all = ["geometry.memory=64M", "geometry.segments=1M", "tunables.mmapMinAddr=0", ...settings];
    this.machine = new Machine(applySettings(specOf("amd64-8g"), all));
    this.thread = this.machine.spawn("program").threads[0]!;
    const sizeBytes = PAGES * PAGE_SIZE;
    const file = createSegmentFile(this.machine.kernel, { name: "segment", sizeBytes, way: "xip" })!;
    const args = [AT * PAGE_SIZE, sizeBytes, READ_WRITE, PRIVATE_FIXED, new OpenFile(file, "read-write"), 0];
    this.machine.call(this.thread, "mmap", args);
    for (let page = AT; page < AT + PAGES; page++) this.machine.access(this.thread, page * PAGE_SIZE, LOAD);
    this.machine.access(this.thread, (AT + 1) * PAGE_SIZE, STORE);
    expect(this.broken()).toEqual([]);
  }

  broken(): string[] {
    return [...new Set(audit(this.machine).map(({ law }) => law))];
  }

  /** Rewrites the entry of a page. */
  change(page: Vpn, edit: (flags: number, frame: number) => readonly [frame: number, flags: number]): void {
    const { tables, entries } = this.machine.kernel;
    const table = tables.tableAt(this.thread.mm, page, 1) as OpenTable;
    const index = tables.indexAt(page, 1);
    const [frame, flags] = edit(entries.flags(table, index), entries.frame(table, index));
    entries.set(table, index, frame, flags);
  }
}

describe("what breaks the laws of memory without struct pages is found:", () => {
  test("a raw entry that names another page's frame", () => {
    const world = new World();
    world.change(AT + 4, (flags, frame) => [frame + 1, flags]);
    expect(world.broken()).toContain("raw-entries-name-segments");
  });

  test("a private raw entry that can be written", () => {
    const world = new World();
    world.change(AT + 4, (flags, frame) => [frame, flags | PTE_WRITE]);
    expect(world.broken()).toContain("raw-entries-name-segments");
  });

  test("a raw entry in an area of pages", () => {
    const world = new World("pfnMappings=vma-split");
    const raw = world.thread.mm.vmas.containing(AT + 4)!;
    raw.flags &= ~VM_RAW;
    expect(world.broken()).toContain("raw-entries-name-segments");
  });

  test("a raw entry without the special bit, and a copy with it", () => {
    for (const page of [AT + 1, AT + 4]) {
      const world = new World("pfnMappings=special-bit");
      world.change(page, (flags, frame) => [frame, flags ^ PTE_SOFT1]);
      expect(world.broken()).toContain("bits-say-what-is-raw");
    }
  });

  test("a copy without the COW bit, and a raw entry with it", () => {
    for (const page of [AT + 1, AT + 4]) {
      const world = new World("pfnMappings=cow-bit");
      world.change(page, (flags, frame) => [frame, flags ^ PTE_SOFT1]);
      expect(world.broken()).toContain("bits-say-what-is-raw");
    }
  });

  test("a shadow bit that is missing, and one too many", () => {
    for (const page of [AT + 1, AT + 4]) {
      const world = new World("pfnMappings=shadow-bits");
      const { tables, pfnMappings } = world.machine.kernel;
      const table = tables.tableAt(world.thread.mm, page, 1) as OpenTable;
      if (page === AT + 1) pfnMappings.cleared(table, tables.indexAt(page, 1));
      else pfnMappings.copied(table, tables.indexAt(page, 1));
      expect(world.broken()).toContain("shadows-agree");
    }
  });

  test("a copy in an area whose entries are all raw", () => {
    const world = new World("pfnMappings=vma-split");
    world.thread.mm.vmas.containing(AT + 1)!.flags |= VM_RAW;
    expect(world.broken()).toContain("copies-have-areas");
  });

  test("a frame of a segment among the free ones", () => {
    const world = new World();
    const { allocator, rawMemory } = world.machine.kernel;
    const { first } = rawMemory.ranges[0]!;
    allocator.zones[0]!.buddy.freeRanges = function* () {
      yield { first, end: first + 1 };
    };
    expect(world.broken()).toContain("formula-finds-no-page");
  });

  test("a frame of a segment that is free and a file's", () => {
    const world = new World();
    world.machine.kernel.rawMemory.take(1, "scattered");
    expect(world.broken()).toContain("segments-are-conserved");
  });

  test("a struct page of a segment that is referred to once too often", () => {
    const world = new World("pfnMappings=struct-pages");
    const { rawMemory, frames } = world.machine.kernel;
    frames.addReference(rawMemory.ranges[0]!.first);
    expect(world.broken()).toContain("segments-are-conserved");
  });

  test("a software bit where hardware has none to spare", () => {
    const world = new World("pfnMappings=linear-rule", "geometry.softwareBits=none");
    world.change(AT + 4, (flags, frame) => [frame, flags | PTE_SOFT1]);
    expect(world.broken()).toContain("hardware-has-its-bits");
  });
});
