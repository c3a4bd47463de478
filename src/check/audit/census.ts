/**
 * Everything that the page tables of a machine say, counted once for all laws: which entries hold which frames, and
 * which frames are tables.
 */
import type { FileIndex, Pfn, PteSlot, SwapSlot, Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_FILE, PTE_SWAP } from "../../hw/pte.ts";
import type { AddressSpace } from "../../mm/address-space.ts";
import { PG_SWAPCACHE } from "../../mm/frames.ts";
import type { Kernel } from "../../mm/kernel.ts";
import type { Process } from "../../mm/process.ts";
import { VM_BIG, type Vma } from "../../mm/vma.ts";
import type { Described } from "../describe.ts";
import { hasNoStructPage, holdsFrame, walkTables } from "../page-walk.ts";

/** One entry of a page table that holds a frame. */
export interface Entry {
  readonly mm: AddressSpace;
  /** The area around it, or null: no entry may be without one. */
  readonly vma: Vma | null;
  readonly page: Vpn;
  readonly slot: PteSlot;
  readonly frame: Pfn;
  /** The first frame of its soft page, or, of a big page, the frame itself. */
  readonly head: Pfn;
  /** PTE_* bits. */
  readonly flags: number;
  /** 1 for a page of 4 KiB. */
  readonly level: number;
}

/** One entry that names a place in swap. */
export interface SwapEntry {
  readonly mm: AddressSpace;
  readonly vma: Vma | null;
  readonly page: Vpn;
  /** The swap area's number, and the place in it, in pages of 4 KiB. */
  readonly type: number;
  readonly offset: number;
}

/** One entry that names a page of its area's file. */
export interface FileEntry {
  readonly mm: AddressSpace;
  readonly vma: Vma | null;
  readonly page: Vpn;
  readonly index: FileIndex;
}

/** One address space's share. */
export interface SpaceCount {
  readonly mm: AddressSpace;
  /** Tables found, by level. */
  readonly tables: number[];
  /** Entries that name a place in swap. */
  swapEntries: number;
}

export class Census {
  readonly kernel: Kernel;
  readonly processes: readonly Process[];
  /** By address space; an entry whose table several of them have is there for each. */
  readonly entries: Entry[] = [];
  /** The entries of frames without struct pages, which are in no other list. */
  readonly rawEntries: Entry[] = [];
  /** By soft page, its first frame: the entries that hold a part of it, each once, however many trees lead to it. The zero page is in it too. */
  readonly byFrame = new Map<Pfn, Entry[]>();
  /** By head: the entries of areas of big pages, which are in no other list; one that several trees lead to is there once. */
  readonly bigByHead = new Map<Pfn, Entry[]>();
  /** The large entries of transparent huge pages; each page that one maps is in `entries` and `byFrame` too. */
  readonly hugeEntries: Entry[] = [];
  readonly swapEntries: SwapEntry[] = [];
  readonly fileEntries: FileEntry[] = [];
  readonly spaces: SpaceCount[] = [];
  /** How many entries, or roots, lead to each frame that is a table. */
  readonly tableFrames = new Map<Pfn, number>();
  /** Every leaf table, and the first page that it covers. */
  readonly leafTables: { readonly mm: AddressSpace; readonly frame: Pfn; readonly page: Vpn }[] = [];
  /** Free ranges, `[first, end)`, by address. */
  readonly freeRanges: { readonly first: Pfn; readonly end: Pfn }[] = [];
  private takenFrames: Pfn[] | undefined;
  private users: Map<SwapSlot, number> | undefined;

  constructor({ kernel, processes }: Described) {
    this.kernel = kernel;
    this.processes = [...processes];
    for (const mm of kernel.spaces) this.countSpace(mm);
    for (const { buddy, perCpu } of kernel.allocator.zones) {
      this.freeRanges.push(...buddy.freeRanges());
      for (const frame of perCpu?.frames() ?? [])
        this.freeRanges.push({ first: frame, end: frame + kernel.frames.softFrames });
    }
    this.freeRanges.sort((one, other) => one.first - other.first);
  }

  private countSpace(mm: AddressSpace): void {
    const { kernel } = this;
    const count: SpaceCount = { mm, tables: [0, 0, 0, 0, 0, 0], swapEntries: 0 };
    this.spaces.push(count);
    for (const frame of mm.reservedLeaves) {
      count.tables[1]!++;
      this.tableFrames.set(frame, (this.tableFrames.get(frame) ?? 0) + 1);
    }
    const areas = [...mm.vmas];
    let at = 0;
    // A file's tables, and what is in them, are its own, whoever has them too.
    const isHosted = (frame: Pfn): boolean => (kernel.tables.shared.find(frame)?.host ?? null) !== null;
    const isGuest = (frame: Pfn): boolean => (kernel.tables.shared.find(frame)?.host ?? mm) !== mm;
    walkTables(kernel, mm.root, 0, kernel.layout.taskEnd, {
      table: (frame, level, page) => {
        if (!isGuest(frame)) count.tables[level]!++;
        if (level === 1) this.leafTables.push({ mm, frame, page });
        this.tableFrames.set(frame, (this.tableFrames.get(frame) ?? 0) + 1);
      },
      leaf: (page, table, index, level) => {
        if (isGuest(table)) return;
        while (at < areas.length && areas[at]!.end <= page) at++;
        const vma = at < areas.length && areas[at]!.start <= page ? areas[at]! : null;
        const isKnown = level === 1 && !isHosted(table) && this.tableFrames.get(table)! > 1;
        this.countEntry(count, { mm, vma, page, level }, table, index, isKnown);
      },
    });
  }

  private countEntry(
    count: SpaceCount,
    place: Pick<Entry, "mm" | "vma" | "page" | "level">,
    table: OpenTable,
    index: number,
    isKnown: boolean,
  ) {
    const { entries } = this.kernel;
    const flags = entries.flags(table, index);
    if ((flags & PTE_SWAP) !== 0) count.swapEntries++;
    if ((flags & PTE_SWAP) !== 0 && !isKnown) {
      const type = entries.swapType(table, index);
      this.swapEntries.push({ ...place, type, offset: entries.swapOffset(table, index) });
    }
    if ((flags & PTE_FILE) !== 0) this.fileEntries.push({ ...place, index: entries.fileIndex(table, index) });
    if (!holdsFrame(flags)) return;
    const frame = entries.frame(table, index);
    const isBig = place.vma !== null && (place.vma.flags & VM_BIG) !== 0;
    const head = isBig ? frame : frame - (frame % this.kernel.frames.softFrames);
    const entry = { ...place, slot: entries.slotOf(table, index), frame, head, flags };
    if (hasNoStructPage(this.kernel, frame)) {
      this.rawEntries.push(entry);
      return;
    }
    if (isBig) {
      const others = this.bigByHead.get(frame) ?? [];
      if (!isKnown && others.every(({ slot }) => slot !== entry.slot)) this.bigByHead.set(frame, [...others, entry]);
    } else if (place.level === 1) this.countPage(entry, isKnown);
    else this.countHuge(entry);
  }

  /** An entry of a table that others have too is each one's, and maps its frame once. */
  private countPage(entry: Entry, isKnown: boolean): void {
    this.entries.push(entry);
    if (isKnown) return;
    const others = this.byFrame.get(entry.head);
    if (others === undefined) this.byFrame.set(entry.head, [entry]);
    else others.push(entry);
  }

  /** A large entry of a transparent huge page is one entry, and maps each of its frames. */
  private countHuge(entry: Entry): void {
    this.hugeEntries.push(entry);
    if (entry.frame === this.kernel.transparent.pages.zeroHead) return;
    const { pages } = this.kernel.transparent.pages;
    for (let at = 0; at < pages; at++) {
      this.countPage({ ...entry, page: entry.page + at, frame: entry.frame + at, head: entry.frame + at }, false);
    }
  }

  /** The entries of soft pages that are somebody's: all but the zero page and reserved ones. */
  *ownedFrames(): Generator<[Pfn, Entry[]]> {
    for (const [frame, entries] of this.byFrame) {
      if (frame !== this.kernel.zeroFrame) yield [frame, entries];
    }
  }

  /** Whether a free block holds the frame. */
  isFree(frame: Pfn): boolean {
    let low = 0;
    let high = this.freeRanges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.freeRanges[middle]!.end <= frame) low = middle + 1;
      else high = middle;
    }
    return low < this.freeRanges.length && this.freeRanges[low]!.first <= frame;
  }

  /** The frames that are not free and that somebody refers to or maps. */
  get taken(): readonly Pfn[] {
    this.takenFrames ??= this.findTaken();
    return this.takenFrames;
  }

  /** The frames that are marked as being in the swap cache. */
  get swapCached(): readonly Pfn[] {
    return this.taken.filter((frame) => this.kernel.frames.has(frame, PG_SWAPCACHE));
  }

  /** By slot: the entries and the places in shared memory that name it. */
  get swapUsers(): ReadonlyMap<SwapSlot, number> {
    this.users ??= this.countSwapUsers();
    return this.users;
  }

  private countSwapUsers(): Map<SwapSlot, number> {
    const users = new Map<SwapSlot, number>();
    const { swap, files } = this.kernel;
    const use = (slot: SwapSlot) => users.set(slot, (users.get(slot) ?? 0) + 1);
    for (const { type, offset } of this.swapEntries) use(swap.slotAt(type, Math.floor(offset / swap.slotPages)));
    for (const file of files.all()) {
      for (const [, slot] of file.swapped.within(0, Number.POSITIVE_INFINITY)) use(slot);
    }
    return users;
  }

  private findTaken(): Pfn[] {
    const { frames, allocator } = this.kernel;
    const taken: Pfn[] = [];
    const look = (first: Pfn, end: Pfn) => {
      for (let frame = first; frame < end; frame++) {
        if (frames.refs.read(frame) !== 0 || frames.mapCount.read(frame) !== 0) taken.push(frame);
      }
    };
    let at = 0;
    for (const { first, end } of this.freeRanges) {
      look(at, first);
      at = end;
    }
    look(at, Math.max(at, ...allocator.zones.map(({ end }) => end)));
    return taken;
  }
}

/** `12:0x08000`: an entry's address space and page, as violations name it. */
export const placeOf = ({ mm, page }: { mm: AddressSpace; page: Vpn }): string => `${mm.id}:0x${page.toString(16)}`;
