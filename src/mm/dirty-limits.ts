/**
 * How much memory may be newer than the disk, and who writes when it is more. Above the background limit the kernel's
 * own thread writes, after the operation that woke it; above the upper limit whoever makes pages dirty is held up: in
 * 2.6 he writes himself, today he waits for the thread.
 *
 *     0 ......... background ........................ limit ......... memory
 *       nobody    | the thread writes, writers go on  | writers are held up until they are below
 *
 * @models linux-2.6.11 mm/page-writeback.c get_dirty_limits, balance_dirty_pages, background_writeout
 * @models linux-6.1 mm/page-writeback.c domain_dirty_limits, global_dirtyable_memory, dirty_freerun_ceiling
 * @differs no periodic writeback of old pages (nothing here has an age); today's writers are held until the thread is
 *          done rather than slowed down to the disk's speed; a file's dirty pages are written from its start on; a page
 *          of a file that several map may count as mapped several times, where not all of the cache is
 */
import type { Path } from "../sync/path.ts";
import { NOT_WOKEN } from "./dirty-pages.ts";
import type { Kernel } from "./kernel.ts";
import { writeSome } from "./writeback.ts";
import { OWNER_PAGE_CACHE, OWNER_USER, ZONE_HIGHMEM } from "./zone.ts";

/** In pages. */
export interface DirtyLimits {
  /** Writers are held above it. */
  readonly upper: number;
  /** The kernel's own thread writes above it. */
  readonly background: number;
}

export interface DirtyPolicy {
  limits(kernel: Kernel): DirtyLimits;
  /** A writer is above the upper limit. */
  hold(kernel: Kernel): Path<void>;
}

/** Pages that one turn of the kernel's own thread writes before it looks at the limits again (MAX_WRITEBACK_PAGES). */
const TURN_PAGES = 1024;
/** Pages that a writer writes before he looks again, for each that he may make dirty between two looks. */
const WRITER_SHARE = 1.5;

/**
 * A part of all memory, and of what no program maps: pages that are mapped cannot be made room of by writing others.
 */
const linux2611: DirtyPolicy = {
  limits(kernel) {
    const { dirtyRatio, dirtyBackgroundRatio } = kernel.tunables;
    const { zones } = kernel.allocator;
    const total = zones.reduce((sum, zone) => sum + Math.max(0, zone.managed - zone.high), 0);
    const unmapped = 100 - Math.floor((mappedPages(kernel) * 100) / Math.max(1, total));
    const ratio = Math.max(5, Math.min(dirtyRatio, Math.floor(unmapped / 2)));
    const background = dirtyBackgroundRatio >= ratio ? Math.floor(ratio / 2) : dirtyBackgroundRatio;
    return { upper: Math.floor((ratio * total) / 100), background: Math.floor((background * total) / 100) };
  },

  *hold(kernel) {
    const { dirty } = kernel.files;
    dirty.costs.writersHeld++;
    while (isAbove(kernel, this.limits(kernel).upper)) {
      const written = yield* writeDirty(kernel, Math.floor(dirty.ratelimit * WRITER_SHARE));
      dirty.costs.pagesByWriters += written;
      if (written === 0) return;
    }
  },
};

/** A part of what could be had for files: what is free beyond the reserves, and what files have. */
const linux61: DirtyPolicy = {
  limits(kernel) {
    const { dirtyRatio, dirtyBackgroundRatio } = kernel.tunables;
    const memory = dirtyableMemory(kernel);
    const upper = Math.floor((dirtyRatio * memory) / 100);
    const background = Math.floor((dirtyBackgroundRatio * memory) / 100);
    return { upper, background: background >= upper ? Math.floor(upper / 2) : background };
  },

  *hold(kernel) {
    const { costs } = kernel.files.dirty;
    costs.writersHeld++;
    yield* writeInBackground(kernel);
  },
};

export const dirtyPolicies = { "linux-2.6.11": linux2611, "linux-6.1": linux61 } as const satisfies Record<
  string,
  DirtyPolicy
>;
export type DirtyPolicyName = keyof typeof dirtyPolicies;

/** The running path has made pages dirty and looks at the limits. It may be held up, and wakes the kernel's thread. */
export function* balanceDirty(kernel: Kernel): Path<void> {
  const { dirty } = kernel.files;
  dirty.due = false;
  const policy = policyOf(kernel);
  const { upper, background } = policy.limits(kernel);
  if (isAbove(kernel, upper)) yield* policy.hold(kernel);
  if (dirty.pages > background) dirty.wake(0);
}

/** What is due after an operation that made pages dirty: a look at the limits, and the turn of the kernel's own thread. */
export function* attendDirty(kernel: Kernel): Path<void> {
  const { dirty } = kernel.files;
  if (dirty.due) yield* balanceDirty(kernel);
  if (dirty.isWoken) yield* writeInBackground(kernel);
}

/** The turn of the kernel's own thread: what was asked of it, and all that is above the background limit. */
export function* writeInBackground(kernel: Kernel): Path<void> {
  const { dirty } = kernel.files;
  const policy = policyOf(kernel);
  let wanted = dirty.wanted;
  dirty.wanted = NOT_WOKEN;
  dirty.costs.backgroundTurns++;
  while (wanted > 0 || dirty.pages > policy.limits(kernel).background) {
    const written = yield* writeDirty(kernel, TURN_PAGES);
    dirty.costs.pagesInBackground += written;
    if (written === 0) return;
    wanted -= written;
  }
}

const policyOf = (kernel: Kernel): DirtyPolicy => dirtyPolicies[kernel.personality.dirtyLimits];

const isAbove = ({ files }: Kernel, limit: number): boolean => files.dirty.pages + files.dirty.underWriteback > limit;

/**
 * Writes up to `most` dirty pages, those of files that have been dirty longest first; how many. A file that is not
 * through then comes last.
 *
 * @models linux-2.6.11 fs/fs-writeback.c sync_sb_inodes, __sync_single_inode
 */
function* writeDirty(kernel: Kernel, most: number): Path<number> {
  const { files } = kernel.files.dirty;
  let written = 0;
  for (const file of [...files]) {
    if (written >= most) break;
    written += yield* writeSome(kernel, file, { first: 0, end: Number.POSITIVE_INFINITY, most: most - written });
    if (files.delete(file) && file.pages.dirtyCount > 0) files.add(file);
  }
  return written;
}

/** Anonymous pages, and as many pages of files as address spaces map: those that several map count once at least. */
function mappedPages({ allocator, spaces }: Kernel): number {
  let ofFiles = 0;
  for (const { resident } of spaces) ofFiles += resident.file + resident.shmem;
  return allocator.ownedBy(OWNER_USER) + Math.min(ofFiles, allocator.ownedBy(OWNER_PAGE_CACHE));
}

function dirtyableMemory({ allocator, files, layout }: Kernel): number {
  const zones = allocator.zones.filter(({ kind }) => kind !== ZONE_HIGHMEM || layout.abi !== "i386");
  let free = 0;
  let cached = 0;
  for (const zone of zones) {
    const kept = Math.min(Math.max(...zone.reserve) + zone.high, zone.managed);
    free += Math.max(0, zone.free - kept);
    cached += zone.ownedBy(OWNER_PAGE_CACHE);
  }
  let onDisk = 0;
  for (const file of files.all()) if (file.kind === "regular") onDisk += file.pages.frameCount;
  return free + Math.min(cached, onDisk) + 1;
}
