/**
 * Which personality stands for a running kernel. Where none is of its very version, the nearest is taken, and what a
 * neighbour answers as the kernel does is the version's doing and no bug.
 */
import { type PersonalityName, personalities } from "../mm/personality.ts";
import { kindOf } from "./compare-outcomes.ts";

export interface Likeness {
  /** What to run as. */
  readonly nearest: PersonalityName;
  /** That personality is of the kernel's own version. */
  readonly exact: boolean;
  /** Others, nearest first: what the kernel has from them, its version explains. */
  readonly neighbours: readonly PersonalityName[];
}

/** A version as a number that orders: 2.6.11 before 6.1 before 6.18. */
function ordinal(version: string): number {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/).map((part) => Number.parseInt(part, 10) || 0);
  // Up to 2.6.39 the third number counted what the second counts since.
  return major < 3 ? major * 1000 + minor * 40 + patch : major * 1000 + minor * 10;
}

/** `release` as uname says it: `6.18.44-generic`. */
export function likenessOf(release: string): Likeness {
  const wanted = ordinal(release);
  const distance = (name: PersonalityName) => Math.abs(ordinal(name.replace("linux-", "")) - wanted);
  const names = Object.keys(personalities) as PersonalityName[];
  const [nearest, ...neighbours] = names.sort((a, b) => distance(a) - distance(b));
  return { nearest: nearest!, exact: distance(nearest!) === 0, neighbours };
}

/** What kernels changed their minds about, by the kind of the line that shows it. */
const changes: Readonly<Record<string, string>> = {
  mremap: "mremap: the order of errors, and moves over several areas",
  mmap: "where mappings are placed and what they join",
  mprotect: "mprotect: what it does before it fails",
  madvise: "madvise: which advice is taken, and what it does to holes",
  vma: "which areas join",
  pg: "which areas join, and with them which pages a fault shares",
};

/** The name of what a line that differs is about. */
export const changeShownBy = (line: string): string => changes[kindOf(line)] ?? `the outcome of "${kindOf(line)}"`;
