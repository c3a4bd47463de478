/**
 * How system calls and faults behave where kernels differ: the order of errors, where areas are placed, which of them
 * merge. A personality is a record beside the design: every design runs under every personality.
 */
import { linux2611 } from "./personalities/linux-2.6.11.ts";
import { linux61 } from "./personalities/linux-6.1.ts";
import type { SystemCalls } from "./syscalls.ts";

export interface Personality {
  readonly name: string;
  /** Who shares an anon_vma (anon-vma.ts). */
  readonly anonVmas: "simple" | "chained";
  /** mm->get_unmapped_area. */
  readonly placement: "bottom-up-cached" | "top-down";
  /** Pages that stay free between a stack that grows and an area below it that can be touched. */
  readonly stackGuardPages: number;
  /** The lowest page that a program may map (vm.mmap_min_addr). */
  readonly lowestPage: number;
  /** Who may write a private page in place: the only one who counts on it, or the only one who ever mapped it. */
  readonly writeReuse: "counts" | "exclusive-bit";
  /** Whether a read fault of a file maps the cached pages around it too. */
  readonly faultAround: "none" | "aligned-window";
  /** The calls, by name. */
  readonly calls: SystemCalls;
}

export const personalities = {
  "linux-2.6.11": linux2611,
  "linux-6.1": linux61,
} as const satisfies Record<string, Personality>;

export type PersonalityName = keyof typeof personalities;
