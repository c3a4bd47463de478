/**
 * Every reverse map in a whole kernel: whatever programs map, split, move, share, lock and give up, it finds what a scan
 * of all page tables finds. Under all ways in which pages can be found, and under all that can happen to them.
 */
import { describe, expect, test } from "vitest";
import { Rng } from "../../base/rng.ts";
import { addressOf, type Pfn, type PteSlot, type Vpn } from "../../base/units.ts";
import { PTE_PRESENT, PTE_PROT_NONE } from "../../hw/pte.ts";
import { type FileObject, OpenFile } from "../file.ts";
import { PG_RESERVED } from "../frames.ts";
import { LEAF } from "../page-table.ts";
import type { Thread } from "../process.ts";
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_NONE,
  READ,
  READ_WRITE,
  TestKernel,
  type TestMachine,
} from "../test-kernel.ts";
import { VM_SHARED, type Vma } from "../vma.ts";
import { type ReverseMapName, reverseMaps } from "./reverse-maps.ts";

const AT = 0x40000;
/** Where most is mapped: on both sides of where a table ends. */
const ARENA = 240;
const ARENA_AT = AT + 1024 - ARENA / 2;
/** Places for areas of two tables, which may move whole. */
const LARGE = 1024;
const LARGE_PLACES = 4;
const MREMAP_MAYMOVE = 1;
const MREMAP_FIXED = 2;
const MADV_DONTNEED = 4;
const ANONYMOUS = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS;
const FILE_PAGES = 48;

const names = Object.keys(reverseMaps) as ReverseMapName[];
const highTables = { pageTablePlacement: "highmem", pageTableAccess: "kmap-atomic" } as const;

const machines: Readonly<Record<string, TestMachine>> = {
  "i386, 2.6.11": { format: "i386", kernel: "linux-2.6.11", nonlinear: "tagged-search" },
  "pae, tables in highmem": {
    format: "pae",
    kernel: "linux-2.6.11",
    nonlinear: "tagged-search",
    highmemFrom: 2048,
    highmem: highTables,
  },
  "pae, chains in highmem": {
    format: "pae",
    nonlinear: "tagged-search",
    highmemFrom: 512,
    reverseMapPlacement: "highmem",
  },
  "x86-64, tables that move whole": { format: "x86-64", nonlinear: "emulated" },
};

/** The entries of all page tables, by the frame that they map. */
function scanAll({ kernel }: TestKernel): Map<Pfn, PteSlot[]> {
  const { spaces, tables, entries, frames, layout } = kernel;
  const found = new Map<Pfn, PteSlot[]>();
  for (const mm of spaces) {
    for (let page = tables.nextLeaf(mm, 0, layout.taskEnd); page < layout.taskEnd; ) {
      const table = tables.open(tables.tableAt(mm, page, LEAF));
      for (let index = 0; index < tables.span(LEAF); index++) {
        if ((entries.flags(table, index) & (PTE_PRESENT | PTE_PROT_NONE)) === 0) continue;
        const frame = entries.frame(table, index);
        if (frames.has(frame, PG_RESERVED)) continue;
        found.set(frame, [...(found.get(frame) ?? []), entries.slotOf(table, index)]);
      }
      tables.close(table);
      page = tables.nextLeaf(mm, tables.endOf(page, LEAF, layout.taskEnd), layout.taskEnd);
    }
  }
  return found;
}

const ascending = (one: number, other: number): number => one - other;

type Search = "forEach" | "forEachKnown";

function findWith({ kernel }: TestKernel, search: Search, frame: Pfn): PteSlot[] {
  const slots: PteSlot[] = [];
  kernel.reverseMap[search](frame, (slot) => {
    slots.push(slot);
    return true;
  });
  return slots.sort(ascending);
}

/** What the reverse map finds of each frame, and what there is; where they differ. */
function differences(machine: TestKernel): string[] {
  const { frames } = machine.kernel;
  const wrong: string[] = [];
  for (const [frame, slots] of scanAll(machine)) {
    const expected = slots.sort(ascending);
    const found = findWith(machine, "forEach", frame);
    if (`${found}` !== `${expected}`) wrong.push(`frame ${frame}: found ${found}, there are ${expected}`);
    if (frames.mapCount.read(frame) !== expected.length)
      wrong.push(`frame ${frame}: count ${frames.mapCount.read(frame)}`);
    const known = findWith(machine, "forEachKnown", frame);
    if (known.some((slot) => !expected.includes(slot)) || new Set(known).size !== known.length)
      wrong.push(`frame ${frame}: knows ${known}, there are ${expected}`);
  }
  return wrong;
}

/** Programs that do anything to one arena of pages, one step at a time. */
class Programs {
  readonly machine: TestKernel;
  private readonly rng: Rng;
  private readonly file: FileObject;
  private readonly threads: Thread[];

  constructor(of: TestMachine, seed: number) {
    this.machine = new TestKernel({ ...of, frames: 4096 });
    this.rng = new Rng(seed);
    this.file = this.machine.file(FILE_PAGES);
    this.threads = [this.machine.thread];
  }

  step(): void {
    const { rng, machine } = this;
    const thread = rng.pick(this.threads);
    machine.runs(thread);
    const page = ARENA_AT + rng.below(ARENA);
    const pages = 1 + rng.below(rng.chance(0.1) ? 120 : 24);
    const range = [addressOf(page), addressOf(pages)];
    const kind = rng.below(100);
    if (kind < 8) machine.call("mmap", [...range, READ_WRITE, ANONYMOUS, null, 0], thread);
    else if (kind < 16) this.mapFile(page, pages, thread);
    else if (kind < 50) this.touchSome(thread);
    else if (kind < 56) machine.call("mprotect", [...range, rng.pick([READ_WRITE, READ, PROT_NONE])], thread);
    else if (kind < 60) machine.call("munmap", range, thread);
    else if (kind < 68) this.moveSome(thread);
    else if (kind < 70) this.mapLarge(thread);
    else if (kind < 73) this.moveLarge(thread);
    else if (kind < 76) machine.call("madvise", [...range, MADV_DONTNEED], thread);
    else if (kind < 92) this.reorderSome(thread);
    else if (kind < 97) this.fork(thread);
    else if (kind < 98) this.exit(thread);
    else for (const frame of scanAll(machine).keys()) machine.kernel.reverseMap.collapse(frame);
  }

  private mapFile(page: Vpn, pages: number, thread: Thread): void {
    const { machine, rng } = this;
    const sharing = rng.chance(0.7) ? MAP_SHARED : MAP_PRIVATE;
    const length = Math.min(pages, FILE_PAGES);
    const opened = new OpenFile(this.file, "read-write");
    const first = addressOf(rng.below(FILE_PAGES - length + 1));
    const args = [addressOf(page), addressOf(length), READ_WRITE, sharing | MAP_FIXED, opened, first];
    machine.call("mmap", args, thread);
  }

  private largePlace(): Vpn {
    return AT + (4 + 4 * this.rng.below(LARGE_PLACES)) * LARGE;
  }

  private mapLarge(thread: Thread): void {
    const at = this.largePlace();
    this.machine.call("mmap", [addressOf(at), addressOf(LARGE), READ_WRITE, ANONYMOUS, null, 0], thread);
    for (let page = at; page < at + LARGE; page += 100) this.machine.store(page, thread);
  }

  private moveLarge(thread: Thread): void {
    const [from, to] = [this.largePlace(), this.largePlace()];
    const bytes = addressOf(LARGE);
    this.machine.call("mremap", [addressOf(from), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, addressOf(to)], thread);
  }

  /** A page of some area, and how many pages the area has from there on. */
  private somewhere(thread: Thread, isWanted: (vma: Vma) => boolean = () => true): { page: Vpn; left: number } | null {
    const areas = [...thread.mm.vmas].filter((vma) => vma.start >= AT && isWanted(vma));
    if (areas.length === 0) return null;
    const vma = this.rng.pick(areas);
    const page = vma.start + this.rng.below(vma.pages);
    return { page, left: vma.end - page };
  }

  private touchSome(thread: Thread): void {
    const place = this.somewhere(thread);
    if (place === null) return;
    for (let at = 0; at < Math.min(place.left, 24); at++) {
      if (this.rng.chance(0.7)) this.machine.store(place.page + at, thread);
      else this.machine.load(place.page + at, thread);
    }
  }

  private moveSome(thread: Thread): void {
    const place = this.somewhere(thread);
    if (place === null) return;
    const bytes = addressOf(1 + this.rng.below(Math.min(place.left, ARENA / 2)));
    const to = ARENA_AT + this.rng.below(ARENA);
    const args = [addressOf(place.page), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, addressOf(to)];
    this.machine.call("mremap", args, thread);
  }

  private reorderSome(thread: Thread): void {
    const place = this.somewhere(thread, ({ file, flags }) => file !== null && (flags & VM_SHARED) !== 0);
    if (place === null) return;
    const pages = 1 + this.rng.below(Math.min(place.left, 5));
    const args = [addressOf(place.page), addressOf(pages), 0, this.rng.below(FILE_PAGES - pages), 0];
    this.machine.call("remap_file_pages", args, thread);
  }

  private fork(thread: Thread): void {
    if (this.threads.length >= 5) return;
    const child = this.machine.fork(thread);
    if (child !== null) this.threads.push(child);
  }

  private exit(thread: Thread): void {
    if (this.threads.length < 2) return;
    this.machine.exit(thread);
    this.threads.splice(this.threads.indexOf(thread), 1);
  }

  end(): void {
    for (const thread of this.threads) this.machine.exit(thread);
  }
}

describe.each(names)("%s", (reverseMap) => {
  const legal = Object.entries(machines).filter(([, of]) => reverseMap !== "pte-chain-a" || of.highmem === undefined);

  test.each(legal)("finds all entries after every step of random programs: %s", (_name, of) => {
    for (let seed = 1; seed <= 2; seed++) {
      const programs = new Programs({ ...of, reverseMap }, seed);
      const { kernel } = programs.machine;
      let most = 0;
      for (let step = 0; step < 300; step++) {
        programs.step();
        if (step % 5 > 0) continue;
        const wrong = differences(programs.machine);
        if (wrong.length > 0) expect(`step ${step} of ${seed}: ${wrong.join("; ")}`).toBe("");
        most = Math.max(most, ...[...scanAll(programs.machine).values()].map((slots) => slots.length));
      }
      expect(most).toBeGreaterThan(3);
      programs.end();
      expect(kernel.reverseMap.bytes).toBe(0);
      expect(kernel.atomicMaps.live).toBe(0);
    }
  });
});
