/** Linux 2.6.11 of March 2005: areas placed bottom-up, anon_vmas shared by families, no guard below a stack. */

import { mixedModes } from "../fallocate-modes.ts";
import { mlock, munlock, munlockall } from "../lock.ts";
import { mergeVma } from "../merge.ts";
import type { Personality } from "../personality.ts";
import { badness2611 } from "../reclaim/oom-kill.ts";
import { segments2611 } from "../shm/rules.ts";
import { msync } from "../sync.ts";
import { type SystemCalls, systemCalls } from "../syscalls.ts";
import { munmap } from "../unmap.ts";
import { VM_DONTCOPY, VM_DONTEXPAND, VM_IO, VM_RAW, VM_RESERVED } from "../vma.ts";
import { brk, madvise, mincore, mlockall, mprotect } from "./linux-2.6.11-calls.ts";
import { mapHeld, mmap } from "./linux-2.6.11-map.ts";
import { pages2611 } from "./linux-2.6.11-pages.ts";
import { mremap } from "./linux-2.6.11-remap.ts";

export const linux2611: Personality = {
  name: "linux-2.6.11",
  anonVmas: "simple",
  placement: "bottom-up-cached",
  overcommitGuess: "free-and-cached",
  stackGuardPages: 0,
  dataLimit: "brk",
  // VM_RESERVED stands for what later kernels call VM_PFNMAP and VM_MIXEDMAP.
  unmergeable: VM_IO | VM_DONTCOPY | VM_DONTEXPAND | VM_RESERVED | VM_RAW,
  lockOnFaultLetters: "??",
  droppableFlags: 0,
  stackFlags: 0,
  heapName: "encloses",
  largeMemory: "anywhere",
  promisesNew: "after-unmap",
  unwrittenPromise: "kept",
  leavesUnlocked: "part",
  populatesHoles: "passes",
  refusedMode: mixedModes,
  joinNew: (kernel, below, above, range) => {
    const mm = below?.mm ?? above?.mm;
    return mm === undefined ? null : mergeVma(kernel, mm, below, range);
  },
  oom: { badness: badness2611, spares: "parents" },
  hugePagesCome: "at-mmap",
  hugePromises: "used-up",
  bigAreaFlags: VM_RESERVED,
  segments: segments2611,
  joinsAttached: "never",
  pages: pages2611,
  dirtyLimits: "linux-2.6.11",
  meminfo: "linux-2.6.11",
  calls: withoutFallocate(
    systemCalls({
      mmap,
      munmap,
      mprotect,
      mremap,
      brk,
      msync,
      madvise,
      mincore,
      mlock,
      mlock2: null,
      munlock,
      mlockall,
      munlockall,
      mapHeld,
    }),
  ),
};

/** fallocate came with 2.6.23. */
function withoutFallocate(calls: SystemCalls): SystemCalls {
  return Object.fromEntries(Object.entries(calls).filter(([name]) => name !== "fallocate"));
}
