/**
 * How system calls and faults behave where kernels differ: the order of errors, where areas are placed, which of them
 * merge. A personality is a record beside the design: every design runs under every personality.
 */
import type { Kernel } from "./kernel.ts";
import type { MergeRange } from "./merge.ts";
import type { OvercommitGuessName } from "./overcommit-guess.ts";
import type { PagePolicy } from "./page-policy.ts";
import { linux2611 } from "./personalities/linux-2.6.11.ts";
import { linux61 } from "./personalities/linux-6.1.ts";
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
  /** How a new mapping joins the areas below and above it: the area that it is part of then, or null (merge.ts). */
  readonly joinNew: (kernel: Kernel, below: Vma | null, above: Vma | null, range: MergeRange) => Vma | null;
  /** What happens to pages and page tables. */
  readonly pages: PagePolicy;
  /** The calls, by name. */
  readonly calls: SystemCalls;
}

export const personalities = {
  "linux-2.6.11": linux2611,
  "linux-6.1": linux61,
} as const satisfies Record<string, Personality>;

export type PersonalityName = keyof typeof personalities;
