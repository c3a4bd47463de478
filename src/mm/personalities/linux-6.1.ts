/** Linux 6.1: the kernel that "today" means here. */
import { advise } from "../advise.ts";
import { brk } from "../brk.ts";
import { mixedModes } from "../fallocate-modes.ts";
import { mlock, mlock2, mlockall, munlock, munlockall } from "../lock.ts";
import { mapHeld, mmap } from "../map.ts";
import { expandInto } from "../merge.ts";
import type { Personality } from "../personality.ts";
import { mprotect } from "../protect.ts";
import { badness61 } from "../reclaim/oom-kill.ts";
import { mremap } from "../remap.ts";
import { mincore } from "../resident.ts";
import { segments61 } from "../shm/rules.ts";
import { msync } from "../sync.ts";
import { type AddressSpaceCalls, systemCalls } from "../syscalls.ts";
import { munmap } from "../unmap.ts";
import { VM_DONTEXPAND, VM_SPECIAL } from "../vma.ts";
import { pages61 } from "./linux-6.1-pages.ts";

export const calls61: AddressSpaceCalls = {
  mmap,
  munmap,
  mprotect,
  mremap,
  brk,
  msync,
  madvise: advise,
  mincore,
  mlock,
  mlock2,
  munlock,
  mlockall,
  munlockall,
  mapHeld,
};

export const linux61: Personality = {
  name: "linux-6.1",
  anonVmas: "chained",
  placement: "top-down",
  overcommitGuess: "total-memory",
  stackGuardPages: 256,
  dataLimit: "all",
  unmergeable: VM_SPECIAL,
  lockOnFaultLetters: "??",
  droppableFlags: 0,
  stackFlags: 0,
  heapName: "touches",
  largeMemory: "anywhere",
  promisesNew: "after-unmap",
  unwrittenPromise: "kept",
  leavesUnlocked: "part",
  populatesHoles: "passes",
  refusedMode: mixedModes,
  joinNew: expandInto,
  oom: { badness: badness61, spares: "nobody" },
  hugePagesCome: "at-fault",
  hugePromises: "used-up",
  bigAreaFlags: VM_DONTEXPAND,
  segments: segments61,
  joinsAttached: "never",
  pages: pages61,
  dirtyLimits: "linux-6.1",
  meminfo: "linux-6.1",
  calls: systemCalls(calls61),
};
