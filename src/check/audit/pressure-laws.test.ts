/** Each law of lists, swap, chains and nonlinear areas notices what breaks it. */
import { beforeEach, describe, expect, test } from "vitest";
import { bug } from "../../base/errors.ts";
import { addressOf, type Pfn } from "../../base/units.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import type { OpenTable } from "../../hw/pte.ts";
import { Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import { PG_ACTIVE, PG_DIRTY, PG_LRU, PG_SWAPBACKED } from "../../mm/frames.ts";
import type { Process } from "../../mm/process.ts";
import { kernelPreset } from "../../presets.ts";
import type { Cell } from "../cells.ts";
import { entryOf } from "../page-walk.ts";
import { pressureSpec } from "../pressure.ts";
import { audit } from "./audit.ts";

const PAGE = 0x5_0000;
const LOCKED = 0x6_0000;
const FILE = 0x7_0000;
/** More than the machine's 256 frames. */
const PAGES = 400;
const PRIVATE_ANONYMOUS = 0x32;
const SHARED_FIXED = 0x11;

/** A kernel with chains that counts locks, and has nonlinear areas. */
const cell: Cell = {
  paging: "i386",
  kernel: "linux-2.6.11",
  ...kernelPreset("linux-2.6.11").design,
  reverseMap: "pte-chain-e",
  mlock: "counted",
  nonlinear: "tagged-search",
};

let machine: Machine;
let process: Process;

const broken = (): string[] => [...new Set(audit(machine).map(({ law }) => law))];
const call = (name: string, ...args: (number | OpenFile | null)[]) => {
  const result = machine.call(process.threads[0]!, name, args);
  if (result < 0) bug(`${name} fails with ${result}`);
};
const entry = (page: number) => {
  const found = entryOf(machine.kernel, process.mm.root, page) ?? bug(`nothing at page ${page}`);
  return { ...found, frame: machine.kernel.entries.frame(found.table, found.index) };
};
/** The first frame of the process's that `is` so. */
const frameThat = (is: (frame: Pfn) => boolean): Pfn => {
  const { frames } = machine.kernel;
  for (let frame = 0; frame < frames.count; frame++)
    if (frames.refs.read(frame) > 0 && frames.has(frame, PG_SWAPBACKED) && is(frame)) return frame;
  return bug("there is no such frame");
};

beforeEach(() => {
  machine = new Machine(pressureSpec(cell, 0));
  process = machine.spawn("victim");
  call("mmap", addressOf(LOCKED), addressOf(4), 3, PRIVATE_ANONYMOUS, null, 0);
  call("mlock", addressOf(LOCKED), addressOf(4));
  const file = new OpenFile(
    machine.kernel.files.create({ name: "f", kind: "shmem", sizeBytes: addressOf(8) }),
    "read-write",
  );
  call("mmap", addressOf(FILE), addressOf(8), 3, SHARED_FIXED, file, 0);
  call("remap_file_pages", addressOf(FILE), addressOf(1), 0, 5, 0);
  call("mmap", addressOf(PAGE), addressOf(PAGES), 3, PRIVATE_ANONYMOUS, null, 0);
  for (let page = PAGE; page < PAGE + PAGES; page++) {
    machine.access(process.threads[0]!, addressOf(page), STORE);
    machine.writeByte(process.threads[0]!, addressOf(page), page & 0xff);
  }
});

describe("the auditor, where memory is short", () => {
  test("finds nothing wrong with a machine that works, and has swapped", () => {
    expect(audit(machine)).toEqual([]);
    expect(process.mm.resident.swap).toBeGreaterThan(100);
  });

  test("finds a swap slot that counts one too many", () => {
    const { table, index } = entry(PAGE);
    const { entries, swap } = machine.kernel;
    swap.duplicate(swap.slotAt(entries.swapType(table, index), entries.swapOffset(table, index)));
    expect(broken()).toEqual(["slots-count-their-users"]);
  });

  test("finds an entry that names a place beyond the end of swap", () => {
    const { table, index } = entry(PAGE);
    machine.kernel.entries.setSwap(table, index, 0, 5000);
    expect(broken()).toEqual(expect.arrayContaining(["swap-entries-name-slots", "slots-count-their-users"]));
  });

  test("finds a swap entry that nobody counts as resident in swap", () => {
    process.mm.resident.swap--;
    expect(broken()).toEqual(["resident-is-entries"]);
  });

  test("finds contents of a slot that are lost", () => {
    const { table, index } = entry(PAGE);
    const { entries, swap } = machine.kernel;
    swap.contents.forget(swap.slotAt(entries.swapType(table, index), entries.swapOffset(table, index)));
    expect(broken()).toEqual(["swapped-pages-are-safe"]);
  });

  test("finds a page of the swap cache that has changed, and is not dirty", () => {
    const { entries, frames, memory, swap } = machine.kernel;
    machine.access(process.threads[0]!, addressOf(PAGE), LOAD);
    const { table, index, frame, flags } = entry(PAGE);
    const cached = swap.find(frames.swapSlot.read(frame)) === frame;
    expect(cached).toBe(true);
    entries.setFlags(table, index, flags & ~(1 << 6));
    frames.clearFlag(frame, PG_DIRTY);
    memory.writeByte(frame, 77, 77);
    expect(broken()).toContain("swapped-pages-are-safe");
  });

  test("finds a frame whose place in the swap cache is another's", () => {
    machine.access(process.threads[0]!, addressOf(PAGE), LOAD);
    const { frames } = machine.kernel;
    const { frame } = entry(PAGE);
    frames.swapSlot.write(frame, frames.swapSlot.read(frame) + 1);
    expect(broken()).toContain("swap-cache-is-two-ways");
  });

  test("finds a page of the swap cache that would be dropped", () => {
    machine.access(process.threads[0]!, addressOf(PAGE), LOAD);
    machine.kernel.frames.clearFlag(entry(PAGE).frame, PG_SWAPBACKED);
    expect(broken()).toContain("swap-cache-is-swap-backed");
  });

  test("finds a page that is on no list, and says so", () => {
    const frame = frameThat((one) => machine.kernel.frames.has(one, PG_LRU));
    machine.kernel.reclaim.forget(frame);
    expect(broken()).toEqual(["pages-are-listed"]);
  });

  test("finds a list whose links are cut", () => {
    const list = machine.kernel.allocator.zones
      .flatMap((zone) => machine.kernel.reclaim.listsOf(zone))
      .find(({ count }) => count > 2)!;
    machine.kernel.frames.previous.write(machine.kernel.frames.next.read(list.head), list.tail);
    expect(broken()).toContain("lists-hang-together");
  });

  test("finds a page whose mark names another list", () => {
    const { frames } = machine.kernel;
    const frame = frameThat((one) => frames.has(one, PG_LRU) && !frames.has(one, PG_ACTIVE));
    frames.setFlag(frame, PG_ACTIVE);
    expect(broken()).toEqual(["lists-hang-together"]);
  });

  test("finds a page table on a list", () => {
    machine.kernel.reclaim.adopt(entry(PAGE).table);
    expect(broken()).toContain("lists-hold-pages");
  });

  test("finds a reference that nobody needs", () => {
    machine.kernel.frames.addReference(frameThat((one) => machine.kernel.frames.has(one, PG_LRU)));
    expect(broken()).toEqual(["references-are-uses"]);
  });

  test("finds a leaf table that names another place", () => {
    const { table } = entry(PAGE);
    machine.kernel.frames.index.add(table, 1024);
    expect(broken()).toContain("leaf-tables-know-their-place");
  });

  test("finds a locked entry that is not counted", () => {
    machine.kernel.frames.next.add(entry(LOCKED).frame, 1);
    expect(broken()).toEqual(["locked-entries-are-counted"]);
  });

  test("finds a chain that has lost an entry", () => {
    const page = frameThat(
      (one) => machine.kernel.frames.mapCount.read(one) === 1 && machine.kernel.frames.has(one, PG_LRU),
    );
    let slot = -1;
    machine.kernel.reverseMap.forEach(page, (found) => {
      slot = found;
      return true;
    });
    machine.kernel.reverseMap.move(page, slot, slot + 1);
    expect(broken()).toContain("reverse-map-finds-all");
  });

  test("finds an entry that names a page of a file where no area is nonlinear", () => {
    const { table, index } = entry(PAGE + PAGES - 1);
    machine.kernel.entries.setFile(table as OpenTable, index + 1, 3);
    expect(broken()).toEqual(["file-entries-are-nonlinear"]);
  });

  test("finds a nonlinear area that its file takes for a linear one", () => {
    const vma = process.mm.vmas.containing(FILE) ?? bug("the file is not mapped");
    vma.file!.mappings.remove(vma);
    expect(broken()).toEqual(expect.arrayContaining(["files-know-their-areas", "nonlinear-areas-are-listed"]));
  });
});
