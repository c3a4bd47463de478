/**
 * How system calls and faults behave where kernels differ: the order of errors, where areas are placed, which of them
 * merge. A personality is a record beside the design: every design runs under every personality.
 */
import type { DirtyPolicyName } from "./dirty-limits.ts";
import type { Kernel } from "./kernel.ts";
import type { MeminfoName } from "./meminfo.ts";
import type { MergeRange } from "./merge.ts";
import type { OvercommitGuessName } from "./overcommit-guess.ts";
import type { PagePolicy } from "./page-policy.ts";
import { linux2611 } from "./personalities/linux-2.6.11.ts";
import { linux61 } from "./personalities/linux-6.1.ts";
import { linux618 } from "./personalities/linux-6.18.ts";
import type { Badness } from "./reclaim/oom-kill.ts";
import type { SegmentRules } from "./shm/rules.ts";
import type { SystemCalls } from "./syscalls.ts";
import type { Vma } from "./vma.ts";

export interface Personality {
  readonly name: string;
  /** Who shares an anon_vma (anon-vma.ts). */
  readonly anonVmas: "simple" | "chained" | "mutually-chained";
  /** mm->get_unmapped_area. */
  readonly placement: "bottom-up-cached" | "top-down";
  /** Pages that stay free between a stack that grows and an area below it that can be touched. */
  readonly stackGuardPages: number;
  /** What RLIMIT_DATA bounds: the break alone, or all private writable memory. */
  readonly dataLimit: "brk" | "all";
  /** When vm.overcommit_memory = 0 refuses a request. */
  readonly overcommitGuess: OvercommitGuessName;
  /** VM_* bits of areas that never merge. */
  readonly unmergeable: number;
  /** VM_* bits that MAP_DROPPABLE gives; 0: nobody knows it. */
  readonly droppableFlags: number;
  /** VM_* bits that MAP_STACK gives. */
  readonly stackFlags: number;
  /** Where private memory in whole large pages goes if nobody says where: aligned to them, or not. */
  readonly largeMemory: "anywhere" | "aligned";
  /** When mmap asks for memory to be promised: once what lay at the place is gone, or before, less what that had. */
  readonly promisesNew: "after-unmap" | "before-unmap";
  /** Whether mprotect gives back what was promised for an area that was never written and now cannot be. */
  readonly unwrittenPromise: "kept" | "returned";
  /** What MREMAP_DONTUNMAP unlocks of a locked area that keeps its place: what has moved, or all of it. */
  readonly leavesUnlocked: "part" | "area";
  /** Which areas maps and smaps call "[heap]": those that enclose the break's range, touch it, or lie in it partly. */
  readonly heapName: "encloses" | "touches" | "overlaps";
  /** What MADV_POPULATE_* does at a hole: goes on and reports it at the end, or stops. */
  readonly populatesHoles: "passes" | "stops";
  /** Modes of fallocate that are refused whatever the file: 0 or -ERRNO. */
  readonly refusedMode: (mode: number) => number;
  /** How a new mapping joins the areas below and above it: the area that it is part of then, or null (merge.ts). */
  readonly joinNew: (kernel: Kernel, below: Vma | null, above: Vma | null, range: MergeRange) => Vma | null;
  /** Who is killed when there is no memory: the worst, or its first child rather than itself. */
  readonly oom: { readonly badness: Badness; readonly spares: "parents" | "nobody" };
  /** When an area of huge pages gets them. */
  readonly hugePagesCome: "at-mmap" | "at-fault";
  /** Whether a private area that gives a huge page back is promised another one for its place. */
  readonly hugePromises: "used-up" | "renewed";
  /** VM_* bits of such an area, beside VM_HUGETLB. */
  readonly bigAreaFlags: number;
  /** System V shared memory. */
  readonly segments: SegmentRules;
  /** Whether areas that shmat has made ever become one again once they are parts: if none of them must go for it, or never. */
  readonly joinsAttached: "never" | "if-none-goes";
  /** What happens to pages and page tables. */
  readonly pages: PagePolicy;
  /** How smaps spells VM_LOCKONFAULT. */
  readonly lockOnFaultLetters: "??" | "lf";
  /** How much memory may be dirty, and who writes when it is more. */
  readonly dirtyLimits: DirtyPolicyName;
  /** What /proc/meminfo shows. */
  readonly meminfo: MeminfoName;
  /** The calls, by name. */
  readonly calls: SystemCalls;
}

export const personalities = {
  "linux-2.6.11": linux2611,
  "linux-6.1": linux61,
  "linux-6.18": linux618,
} as const satisfies Record<string, Personality>;

export type PersonalityName = keyof typeof personalities;
