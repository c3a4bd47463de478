/**
 * Linux 6.18, of November 2025: 6.1's calls with areas that merge more, an mremap that checks its arguments first and
 * moves several areas at once, and memory in whole large pages that is aligned to them.
 *
 * @differs MADV_GUARD_INSTALL and MADV_GUARD_REMOVE are unknown; MAP_DROPPABLE is on 64 bits only
 */
import { oneMode } from "../fallocate-modes.ts";
import { mergeVma } from "../merge.ts";
import type { Personality } from "../personality.ts";
import { systemCalls } from "../syscalls.ts";
import { VM_DONTDUMP, VM_DROPPABLE, VM_NOHUGEPAGE, VM_NORESERVE, VM_WIPEONFORK } from "../vma.ts";
import { calls61, linux61 } from "./linux-6.1.ts";
import { pages618 } from "./linux-6.18-pages.ts";
import { mremap } from "./linux-6.18-remap.ts";

export const linux618: Personality = {
  ...linux61,
  name: "linux-6.18",
  anonVmas: "mutually-chained",
  lockOnFaultLetters: "lf",
  droppableFlags: VM_DROPPABLE | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP,
  stackFlags: VM_NOHUGEPAGE,
  heapName: "overlaps",
  largeMemory: "aligned",
  promisesNew: "before-unmap",
  unwrittenPromise: "returned",
  leavesUnlocked: "area",
  populatesHoles: "stops",
  refusedMode: oneMode,
  joinNew: (kernel, below, above, range) => {
    const mm = below?.mm ?? above?.mm;
    return mm === undefined ? null : mergeVma(kernel, mm, below, range);
  },
  hugePromises: "renewed",
  joinsAttached: "if-none-goes",
  pages: pages618,
  calls: systemCalls({ ...calls61, mremap }),
};
