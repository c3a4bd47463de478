/**
 * A window onto mem_map for each address space, of lowmem: page tables for its slots, and the index that finds them. A CPU
 * on which no address space is loaded, and an address space for whose window lowmem was too short, use one that is there
 * from boot.
 *
 *     task A    | 17 | 4 | .. |          task B    | 4 | 90 | .. |         shared    | 3 | ..
 *                  \___ frames of mem_map, in highmem ___/
 *
 * A struct page is looked up each time that the kernel turns to one; while it stays with it, its address is at hand. What a
 * task has mapped stays mapped while others run; what the other's CPU had cached does not.
 *
 * @differs kernel code reads struct pages without the TLB, so that flushes of slots have nothing to drop: they are counted
 */
import { UsageError } from "../../base/errors.ts";
import { PAGE_SIZE, type Pfn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import { WANT_KERNEL } from "../allocator.ts";
import { NO_FRAME } from "../frames.ts";
import { WindowIndex } from "../kmap/index-of-frames.ts";
import { KernelTable, type KernelTableParts } from "../kmap/kernel-table.ts";
import { OWNER_KMAP } from "../zone.ts";
import { MapWindow, noWindowCosts } from "./map-window.ts";
import type { LinkUse } from "./page-handle.ts";
import type { WindowedMap } from "./windowed.ts";

export interface TaskWindowParts extends KernelTableParts {
  readonly map: WindowedMap;
  /** Slots of each window. */
  readonly slots: number;
  readonly links: LinkUse;
  /** The address space that the CPU on which kernel code runs has loaded, or null. */
  readonly where: { readonly current: AddressSpace | null };
}

/** A window, and the frames of lowmem that its index takes. */
interface Own {
  readonly window: MapWindow;
  readonly indexFrames: readonly Pfn[];
}

/** A link that was followed to where no window showed its struct page. */
export interface Stray {
  readonly frame: Pfn;
  /** Whose window did not show it; 0: the shared one. */
  readonly space: number;
}

/** The most strays that are kept to be told. */
const MOST_STRAYS = 10;

export class TaskWindows {
  readonly costs = noWindowCosts();
  /** The first links that went astray. */
  readonly strays: Stray[] = [];
  private readonly parts: TaskWindowParts;
  private readonly shared: Own;
  private readonly own = new Map<AddressSpace, Own>();
  private mm: AddressSpace | null = null;
  private window: MapWindow;
  /** The frame whose struct page was turned to last. */
  private latest: Pfn = NO_FRAME;

  constructor(parts: TaskWindowParts) {
    this.parts = parts;
    this.shared = tryWindow(parts, this.costs) ?? refuse();
    this.window = this.shared.window;
  }

  /** Gives a new address space a window, if lowmem has room for one. */
  spaceBorn(mm: AddressSpace): void {
    const own = tryWindow(this.parts, this.costs);
    if (own !== null) this.own.set(mm, own);
  }

  spaceDied(mm: AddressSpace): void {
    const own = this.own.get(mm);
    if (own === undefined) return;
    this.own.delete(mm);
    if (this.mm === mm) this.turnTo(null);
    own.window.table.destroy(this.parts.allocator);
    for (const frame of own.indexFrames) this.parts.allocator.free(frame, 0);
  }

  /** The kernel turns to the struct page of `frame`, whose number it has. */
  use(frame: Pfn): void {
    this.follow();
    if (frame === this.latest) return;
    this.latest = frame;
    this.costs.lookups++;
    const { map } = this.parts;
    const holder = map.holderOf(frame);
    this.show(holder);
    const last = map.lastHolderOf(frame);
    if (last === holder) return;
    this.costs.straddles++;
    this.show(last);
  }

  /** It works on the struct pages of `[first, end)`, one after the other. */
  useRun(first: Pfn, end: Pfn): void {
    for (let frame = first; frame < end; frame++) this.use(frame);
  }

  /** It goes on to the struct page of `frame`, of which another one has told it. */
  useLink(frame: Pfn): void {
    if (this.parts.links === "looked-up") {
      this.use(frame);
      return;
    }
    this.follow();
    if (frame === this.latest) return;
    const { map } = this.parts;
    if (this.window.shows(map.holderOf(frame)) && this.window.shows(map.lastHolderOf(frame))) {
      this.costs.followed++;
      return;
    }
    this.costs.strays++;
    if (this.strays.length < MOST_STRAYS) this.strays.push({ frame, space: this.mm?.id ?? 0 });
  }

  /** Each window, with the address space that it is of, for audits; null: everybody's. */
  *windows(): Generator<{
    readonly mm: AddressSpace | null;
    readonly window: MapWindow;
    readonly frames: readonly Pfn[];
  }> {
    const framesOf = ({ window, indexFrames }: Own) => [...window.table.frames, ...indexFrames];
    yield { mm: null, window: this.shared.window, frames: framesOf(this.shared) };
    for (const [mm, own] of this.own) yield { mm, window: own.window, frames: framesOf(own) };
  }

  /** Frames of lowmem that a window takes. */
  static framesFor(slots: number, tablePages: number): number {
    return Math.ceil(slots / tablePages) + Math.ceil(WindowIndex.bytesFor(slots) / PAGE_SIZE);
  }

  /** The window of whoever runs now. */
  private follow(): void {
    const { current } = this.parts.where;
    if (current === this.mm) return;
    this.costs.switches++;
    this.turnTo(current);
  }

  private turnTo(mm: AddressSpace | null): void {
    this.mm = mm;
    this.window = ((mm === null ? undefined : this.own.get(mm)) ?? this.shared).window;
    this.latest = NO_FRAME;
  }

  private show(holder: Pfn): void {
    const flushes = this.window.show(holder);
    if (flushes > 0 && this.mm !== null) this.costs.remoteFlushes += Math.max(0, this.mm.cpus.size - 1);
  }
}

function refuse(): never {
  throw new UsageError(
    "the machine has no lowmem left for a window onto its struct pages; give it more, fewer tunables.memMapSlots, or use memMap=flat",
  );
}

/** The tables and the index of a window; null, and nothing taken, if lowmem has no room. */
function tryWindow(parts: TaskWindowParts, costs: TaskWindows["costs"]): Own | null {
  const { allocator, slots } = parts;
  const indexFrames: Pfn[] = [];
  const giveBack = () => {
    for (const frame of indexFrames) allocator.free(frame, 0);
    return null;
  };
  while (indexFrames.length < Math.ceil(WindowIndex.bytesFor(slots) / PAGE_SIZE)) {
    const frame = allocator.tryAllocate(0, WANT_KERNEL, OWNER_KMAP);
    if (frame === NO_FRAME) return giveBack();
    indexFrames.push(frame);
  }
  const table = KernelTable.tryCreate(parts, slots);
  return table === null ? giveBack() : { window: new MapWindow(table, costs), indexFrames };
}
