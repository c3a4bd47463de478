/**
 * How many pages of data and of code the kernel maps for calls that need no kernel, below the dynamic linker.
 *
 * @models linux-6.1 arch/x86/entry/vdso/vdso-layout.lds.S; linux-6.18 include/vdso/datapage.h
 */
import type { PersonalityName } from "../../mm/personality.ts";

export interface Vdso {
  readonly vvarPages: number;
  readonly vdsoPages: number;
}

/** 6.15 and later: shared pages of all architectures, and clocks of hypervisors apart. */
const generic: Vdso = { vvarPages: 4 + 2, vdsoPages: 2 };
const own: Vdso = { vvarPages: 4, vdsoPages: 2 };

export const vdsoOf = (kernel: PersonalityName | string): Vdso => (kernel === "linux-6.18" ? generic : own);
