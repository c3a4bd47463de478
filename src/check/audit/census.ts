/**
 * Everything that the page tables of a machine say, counted once for all laws: which entries hold which frames, and
 * which frames are tables.
 */
import type { Pfn, PteSlot, Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_FILE, PTE_SWAP } from "../../hw/pte.ts";
import type { AddressSpace } from "../../mm/address-space.ts";
import type { Kernel } from "../../mm/kernel.ts";
import type { Process } from "../../mm/process.ts";
import type { Vma } from "../../mm/vma.ts";
import type { Described } from "../describe.ts";
import { holdsFrame, walkTables } from "../page-walk.ts";

/** One entry of a page table that holds a frame. */
export interface Entry {
  readonly mm: AddressSpace;
  /** The area around it, or null: no entry may be without one. */
  readonly vma: Vma | null;
  readonly page: Vpn;
  readonly slot: PteSlot;
  readonly frame: Pfn;
  /** PTE_* bits. */
  readonly flags: number;
  /** 1 for a page of 4 KiB. */
  readonly level: number;
}

/** One address space's share. */
export interface SpaceCount {
  readonly mm: AddressSpace;
  /** Tables found, by level. */
  readonly tables: number[];
  /** Entries that name a place in swap. */
  swapEntries: number;
  /** Entries that name a page of a file. */
  fileEntries: number;
}

export class Census {
  readonly kernel: Kernel;
  readonly processes: readonly Process[];
  readonly entries: Entry[] = [];
  /** By frame: the entries that hold it. The zero page is in it too. */
  readonly byFrame = new Map<Pfn, Entry[]>();
  readonly spaces: SpaceCount[] = [];
  /** How many entries, or roots, lead to each frame that is a table. */
  readonly tableFrames = new Map<Pfn, number>();
  /** Free ranges, `[first, end)`, in no order. */
  readonly freeRanges: { first: Pfn; end: Pfn }[] = [];

  constructor({ kernel, processes }: Described) {
    this.kernel = kernel;
    this.processes = [...processes];
    for (const mm of kernel.spaces) this.countSpace(mm);
    for (const { buddy } of kernel.allocator.zones) this.freeRanges.push(...buddy.freeRanges());
  }

  private countSpace(mm: AddressSpace): void {
    const { kernel } = this;
    const count: SpaceCount = { mm, tables: [0, 0, 0, 0, 0, 0], swapEntries: 0, fileEntries: 0 };
    this.spaces.push(count);
    const areas = [...mm.vmas];
    let at = 0;
    walkTables(kernel, mm.root, 0, kernel.layout.taskEnd, {
      table: (frame, level) => {
        count.tables[level]!++;
        this.tableFrames.set(frame, (this.tableFrames.get(frame) ?? 0) + 1);
      },
      leaf: (page, table, index, level) => {
        while (at < areas.length && areas[at]!.end <= page) at++;
        const vma = at < areas.length && areas[at]!.start <= page ? areas[at]! : null;
        this.countEntry(count, { mm, vma, page, level }, table, index);
      },
    });
  }

  private countEntry(
    count: SpaceCount,
    place: Pick<Entry, "mm" | "vma" | "page" | "level">,
    table: OpenTable,
    index: number,
  ) {
    const { entries } = this.kernel;
    const flags = entries.flags(table, index);
    if ((flags & PTE_SWAP) !== 0) count.swapEntries++;
    if ((flags & PTE_FILE) !== 0) count.fileEntries++;
    if (!holdsFrame(flags)) return;
    const frame = entries.frame(table, index);
    const entry = { ...place, slot: entries.slotOf(table, index), frame, flags };
    this.entries.push(entry);
    const others = this.byFrame.get(frame);
    if (others === undefined) this.byFrame.set(frame, [entry]);
    else others.push(entry);
  }

  /** The entries of frames that are somebody's: all but the zero page and reserved ones. */
  *ownedFrames(): Generator<[Pfn, Entry[]]> {
    for (const [frame, entries] of this.byFrame) {
      if (frame !== this.kernel.zeroFrame) yield [frame, entries];
    }
  }

  /** Visits every frame that the zones were given and that is not free. */
  forEachTaken(visit: (frame: Pfn) => void): void {
    for (const zone of this.kernel.allocator.zones) {
      const free = this.freeRanges
        .filter(({ first }) => first >= zone.first && first < zone.end)
        .sort((a, b) => a.first - b.first);
      let at = zone.first;
      for (const range of free) {
        for (; at < range.first; at++) visit(at);
        at = range.end;
      }
      for (; at < zone.end; at++) visit(at);
    }
  }
}

/** `12:0x08000`: an entry's address space and page, as violations name it. */
export const placeOf = ({ mm, page }: { mm: AddressSpace; page: Vpn }): string => `${mm.id}:0x${page.toString(16)}`;
