/**
 * Whether memory really lacked. A call that fails for want of memory, or a program that is killed for it, is right only if
 * reclaim had given up, and reclaim may give up only when hardly a page could go: this looks on while it does, and counts
 * what it left behind.
 */
import type { Pfn } from "../base/units.ts";
import type { Machine } from "../machine.ts";
import { NO_FRAME, PG_ANON, PG_LOCKED, PG_SWAPBACKED, PG_SWAPCACHE, PG_WRITEBACK } from "../mm/frames.ts";
import type { Kernel } from "../mm/kernel.ts";
import type { ReclaimRequest } from "../mm/reclaim/reclaim.ts";
import { VM_LOCKED } from "../mm/vma.ts";
import { holdsFrame, walkTables } from "./page-walk.ts";

/**
 * So many pages of a zone may be left: what is due to be looked at, and does not make a batch of 32 yet, or has come since
 * all pages there were looked at in vain; and an active list that is shorter than a 16th of the inactive one, which 2.4
 * leaves alone (a batch's share of it is not even a page).
 */
const mayBeLeft = (listed: number): number => Math.max(32, Math.ceil(listed / 16));

export class Shortages {
  private given = 0;
  private complaint: string | undefined;

  constructor({ kernel }: Machine) {
    const { reclaim } = kernel;
    const freePages = reclaim.freePages.bind(reclaim);
    const look = (request: ReclaimRequest) => this.look(kernel, request);
    reclaim.freePages = function* (on, request) {
      const freed = yield* freePages(on, request);
      if (freed === 0) look(request);
      return freed;
    };
  }

  /** How often reclaim has given up since this was last asked, and what was wrong with that. */
  take(): { readonly times: number; readonly complaint: string | undefined } {
    const { given: times, complaint } = this;
    this.given = 0;
    this.complaint = undefined;
    return { times, complaint };
  }

  private look(kernel: Kernel, request: ReclaimRequest): void {
    this.given++;
    if (request.order > 0) return;
    const { left, listed, zone } = mostEvictable(kernel, request);
    if (left <= mayBeLeft(listed)) return;
    const { want } = request;
    this.complaint ??= `reclaim gives up on a frame of zone ${want} or lower, and ${left} pages of ${zone} could go`;
  }
}

/** The zone with most pages that could go, of those that would do; and the pages on the lists of all of these. */
interface Evictable {
  readonly zone: string;
  readonly left: number;
  readonly listed: number;
}

/** Pages on page lists could go if nobody holds on to them and their contents have somewhere to go. */
function mostEvictable(kernel: Kernel, { want }: ReclaimRequest): Evictable {
  const { allocator, reclaim, frames, swap } = kernel;
  const uses = usesOfFrames(kernel);
  const zones = allocator.zones.filter(({ kind }) => kind <= want);
  const found = new Map(zones.map((zone) => [zone, { safe: 0, slotless: 0, listed: 0 }]));
  for (const list of allocator.zones.flatMap((zone) => reclaim.listsOf(zone))) {
    for (let frame = list.head; frame !== NO_FRAME; frame = frames.next.read(frame)) {
      const pages = found.get(allocator.zoneOf(frame));
      if (pages === undefined) continue;
      pages.listed++;
      if (!mayGo(kernel, frame, uses.get(frame))) continue;
      const needsSlot = frames.has(frame, PG_SWAPBACKED) && !frames.has(frame, PG_SWAPCACHE);
      pages[needsSlot ? "slotless" : "safe"]++;
    }
  }
  const listed = [...found.values()].reduce((sum, pages) => sum + pages.listed, 0);
  const lefts = zones.map((zone) => {
    const { safe, slotless } = found.get(zone)!;
    return { zone: zone.name, left: safe + Math.min(slotless, swap.freePages), listed };
  });
  return lefts.reduce((most, one) => (one.left > most.left ? one : most));
}

interface Uses {
  maps: number;
  locked: boolean;
}

function usesOfFrames(kernel: Kernel): Map<Pfn, Uses> {
  const { entries, layout, format } = kernel;
  const found = new Map<Pfn, Uses>();
  for (const { vmas, root } of kernel.spaces) {
    walkTables(kernel, root, 0, layout.taskEnd, {
      leaf: (page, table, index, level) => {
        if (!holdsFrame(entries.flags(table, index))) return;
        const first = entries.frame(table, index);
        const locked = ((vmas.containing(page)?.flags ?? 0) & VM_LOCKED) !== 0;
        for (let at = first; at < first + format.entrySpan(level); at++) {
          const frame = kernel.frames.head(at);
          const uses = found.get(frame) ?? { maps: 0, locked: false };
          uses.maps++;
          uses.locked ||= locked;
          found.set(frame, uses);
        }
      },
    });
  }
  return found;
}

function mayGo({ frames, files }: Kernel, frame: Pfn, uses: Uses = { maps: 0, locked: false }): boolean {
  const flags = frames.flags.read(frame);
  if (uses.locked || (flags & (PG_LOCKED | PG_WRITEBACK)) !== 0) return false;
  const inSwapCache = (flags & PG_SWAPCACHE) !== 0;
  const file = (flags & PG_ANON) !== 0 ? 0 : frames.mapping.read(frame);
  const cached = file !== 0 && !inSwapCache && files.byId(file).pages.find(frames.index.read(frame)) === frame;
  return frames.refs.read(frame) === uses.maps + (inSwapCache ? 1 : 0) + (cached ? 1 : 0);
}

const watched = new WeakMap<Machine, Shortages>();

/** The one who looks on while the machine is short of memory. */
export function shortagesOf(machine: Machine): Shortages {
  let shortages = watched.get(machine);
  if (shortages === undefined) {
    shortages = new Shortages(machine);
    watched.set(machine, shortages);
  }
  return shortages;
}
