/**
 * What a kernel takes between the end of boot and the first program: its threads' stacks, its slabs, its modules. Unlike
 * what boot reserves, these are ordinary allocations: MemTotal counts them, and MemFree does not.
 *
 * @differs measured with 512 MiB and more; a machine with less than half of that gets its share of everything
 */
import { UsageError } from "./base/errors.ts";
import { PAGE_SIZE } from "./base/units.ts";
import type { Startup } from "./footprint.ts";
import { type Allocator, WANT_KERNEL } from "./mm/allocator.ts";
import { NO_FRAME } from "./mm/frames.ts";
import type { KernelStacks } from "./mm/kernel-stacks.ts";
import type { SlabKind, Slabs } from "./mm/slab.ts";
import { OWNER_BOOT, OWNER_SLAB } from "./mm/zone.ts";

/** The parts of a machine that startup draws from. */
export interface StartupParts {
  readonly allocator: Allocator;
  readonly slabs: Slabs;
  readonly stacks: KernelStacks;
}

/** Memory with which a kernel makes itself at home. */
const ROOMY_PAGES = 2 ** 28 / PAGE_SIZE;

/** Takes all of it. Throws UsageError if the machine is too small. */
export function startKernel(parts: StartupParts, startup: Startup): void {
  const { allocator, slabs, stacks } = parts;
  const share = Math.min(1, allocator.managedPages / ROOMY_PAGES);
  const pages = (bytes: number): number => Math.floor((bytes / PAGE_SIZE) * share);
  for (let thread = 0; thread < Math.floor(startup.threads * share); thread++) {
    if (stacks.allocate() === null) refuse();
  }
  fillSlabs(slabs, pages(startup.reclaimableSlabBytes), "reclaimable");
  fillSlabs(slabs, pages(startup.otherSlabBytes), "unreclaimable");
  takeFrames(allocator, pages(startup.otherBytes));
}

/** What the objects are is not known: each stands for a page of them. */
function fillSlabs(slabs: Slabs, pages: number, kind: SlabKind): void {
  if (pages === 0) return;
  const cache = slabs.create(`startup, ${kind}`, PAGE_SIZE, OWNER_SLAB, kind);
  for (let page = 0; page < pages; page++) {
    if (cache.allocate() < 0) refuse();
  }
}

/** The largest blocks first, so that few calls do. */
const LARGEST_ORDER = 8;

function takeFrames(allocator: Allocator, frames: number): void {
  let left = frames;
  for (let order = LARGEST_ORDER; order >= 0; order--) {
    const given = 1 << Math.max(order, allocator.frames.softOrder);
    while (left >= 1 << order && allocator.tryAllocate(order, WANT_KERNEL, OWNER_BOOT) !== NO_FRAME) left -= given;
  }
  if (left > 0) refuse();
}

function refuse(): never {
  throw new UsageError(
    "the machine has too little memory for the threads and the slabs of its kernel; give it more, or use " +
      "geometry.bootMemory=none",
  );
}
