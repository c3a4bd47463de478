/**
 * Zones: what physical memory is good for, by address. DMA is what old cards reach, NORMAL is what the kernel always
 * has mapped, HIGHMEM is the rest of a 32-bit machine. A zone knows who has its frames: free frames and the frames of
 * all owners add up to what is present, exactly.
 *
 * @models linux-2.6.11 include/linux/mmzone.h struct zone
 */
import { bug } from "../base/errors.ts";
import type { Pfn } from "../base/units.ts";
import type { Buddy } from "./buddy.ts";
import type { PerCpuPages } from "./per-cpu-pages.ts";

// Zones by the addresses they hold, lowest first. A machine need not have them all.
export const ZONE_DMA = 0;
export const ZONE_DMA32 = 1;
export const ZONE_NORMAL = 2;
export const ZONE_HIGHMEM = 3;
export const ZONE_KINDS = 4;

export const zoneNames = ["DMA", "DMA32", "Normal", "HighMem"] as const;

/** Who may hold frames. A frame's owner is said when it is allocated. */
export const ownerNames = [
  "kernel-image",
  "boot",
  "bounce-buffers",
  "mem-map",
  "page-tables",
  "stacks",
  "slab",
  "vmas",
  "reverse-map",
  "user",
  "page-cache",
  "kmap",
  "quicklists",
  "huge-pages",
  "shadow-bits",
] as const;
export type OwnerName = (typeof ownerNames)[number];

/** An index of `ownerNames`. */
export type Owner = number;
export const OWNER_KERNEL_IMAGE = 0;
export const OWNER_BOOT = 1; // hash tables, per-CPU areas, what the firmware leaves below 1 MiB
export const OWNER_BOUNCE_BUFFERS = 2; // swiotlb
export const OWNER_MEM_MAP = 3;
export const OWNER_PAGE_TABLES = 4;
export const OWNER_STACKS = 5;
export const OWNER_SLAB = 6;
export const OWNER_VMAS = 7;
export const OWNER_REVERSE_MAP = 8;
export const OWNER_USER = 9;
export const OWNER_PAGE_CACHE = 10;
export const OWNER_KMAP = 11; // the tables of the kernel's windows, and per-task pools' indexes
export const OWNER_QUICKLISTS = 12; // page tables that lie idle
export const OWNER_HUGE = 13; // pools of huge pages, in use or not
export const OWNER_SHADOW = 14; // bits beside page tables that have no room for them

/** What a zone's frames were used for at some moment. */
export interface ZoneUse {
  /** ZONE_*. */
  readonly kind: number;
  /** Free frames, with those on the lists of CPUs. */
  readonly unused: number;
  /** By owner: frames. */
  readonly owned: readonly number[];
}

export class Zone {
  /** ZONE_*. */
  readonly kind: number;
  readonly name: string;
  /** The frames that it spans, holes included. */
  readonly first: Pfn;
  readonly end: Pfn;
  readonly buddy: Buddy;
  /** Lists of single free frames, where the allocator keeps them. */
  perCpu: PerCpuPages | null = null;
  /** Frames that exist. */
  present = 0;
  /** Frames that the allocator was given: present less what was reserved at boot. */
  managed = 0;

  // Watermarks, in frames.
  min = 0;
  low = 0;
  high = 0;
  /** By the kind of zone that a request hoped for: frames kept back from it here. */
  readonly reserve = new Int32Array(ZONE_KINDS);

  /** Pages that reclaim has looked at here since a frame was last freed. */
  scannedInVain = 0;
  /** So many of them that there is nothing to be had: reclaim takes only an easy look (all_unreclaimable). */
  isHopeless = false;

  /** By owner: frames. */
  private readonly owned = new Int32Array(ownerNames.length);

  constructor(kind: number, first: Pfn, end: Pfn, buddy: Buddy) {
    this.kind = kind;
    this.name = zoneNames[kind];
    this.first = first;
    this.end = end;
    this.buddy = buddy;
  }

  /** Free frames, without those on the lists of CPUs (nr_free_pages). */
  get free(): number {
    return this.buddy.freePages;
  }

  /** Free frames on the lists of CPUs. */
  get listed(): number {
    return this.perCpu === null ? 0 : this.perCpu.count;
  }

  /** Frames in use by `owner`. */
  ownedBy(owner: Owner): number {
    return this.owned[owner];
  }

  /** What the frames are used for now. */
  get use(): ZoneUse {
    return { kind: this.kind, unused: this.free + this.listed, owned: [...this.owned] };
  }

  /** Adds `frames` (which may be negative) to what `owner` has. */
  account(owner: Owner, frames: number): void {
    this.owned[owner] += frames;
  }

  /** A frame is free again: looking for more is worth its while. */
  hopes(): void {
    this.scannedInVain = 0;
    this.isHopeless = false;
  }

  /** Gives the zone memory to hand out. */
  addFree(first: Pfn, end: Pfn): void {
    this.buddy.add(first, end);
    this.present += end - first;
    this.managed += end - first;
  }

  /** Adds memory that `owner` holds from boot, and for ever. */
  addReserved(frames: number, owner: Owner): void {
    this.present += frames;
    this.account(owner, frames);
  }

  /** Takes over the frames `[first, end)`, which boot had reserved for `owner`. */
  addReleased(first: Pfn, end: Pfn, owner: Owner): void {
    this.buddy.adopt(first, end);
    this.managed += end - first;
    this.account(owner, first - end);
  }

  /** The law of the zone: free, listed and owned frames are all there is. */
  check(): void {
    const owned = this.owned.reduce((sum, frames) => sum + frames, 0);
    if (this.free + this.listed + owned !== this.present) {
      bug(
        `zone ${this.name}: ${this.free} free, ${this.listed} listed and ${owned} owned frames, ${this.present} present`,
      );
    }
  }
}
