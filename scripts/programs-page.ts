/** The part of docs/fidelity.md on programs: what was compared with which kernel, what is set aside, what is known to deviate. */
import { setAsides } from "../src/check/compare-outcomes.ts";

interface Comparison {
  readonly kernel: string;
  readonly programs: string;
  readonly equal: string;
  /** The command that compares again. */
  readonly again: string;
}

const comparisons: readonly Comparison[] = [
  {
    kernel: "Linux 6.1, amd64",
    programs: "260 random programs of 40 operations",
    equal: "260",
    again: "`npm test`",
  },
  {
    kernel: "Linux 6.1, i386 with PAE",
    programs: "the same 260",
    equal: "260",
    again: "`npm test`",
  },
  { kernel: "Linux 6.18, amd64", programs: "the same 260", equal: "260", again: "`npm test`" },
  {
    kernel: "Linux 6.18.44, x86-64",
    programs:
      "2,816 recorded ones: 2,400 random over six profiles, 416 directed (error tables, merges and splits, page-table bytes)",
    equal: "2,816",
    again: "`npm test`, `bigmem check kernel --replay`",
  },
  {
    kernel: "Linux 6.18.44, x86-64, live",
    programs: "about 162,000 random programs of 40 operations over six profiles",
    equal: "all, once two differences in the last batches were mended; the batch after that, 60,416 programs, had none",
    again: "`bigmem check kernel --programs N --seed S`",
  },
];

/** What a program may see otherwise than on the kernel that is modelled, and why. */
const deviations: readonly { readonly what: string; readonly why: string }[] = [
  {
    what: "There is no pool of huge pages: MAP_HUGETLB ends as on a machine whose pool is empty.",
    why: "big pages are not modelled yet",
  },
  {
    what: "No page is reclaimed or swapped; MADV_PAGEOUT drops clean file pages and lazily freed ones only.",
    why: "reclaim and swap are not modelled yet; the kernels above ran without swap",
  },
  {
    what: "MADV_GUARD_INSTALL and MADV_GUARD_REMOVE (6.13) are unknown to linux-6.18.",
    why: "guard entries are not modelled",
  },
  {
    what: "VmLck after MREMAP_DONTUNMAP of locked memory is exact; 6.18 counts those pages twice.",
    why: "a miscount of that kernel's, measured, not reproduced",
  },
  {
    what: "A file beyond 2^53 bytes is refused with EFBIG; Linux allows 2^63.",
    why: "a file's size is an exact double here",
  },
  {
    what: "An executed instruction is taken to be harmless; only the right to execute is checked.",
    why: "no instructions are interpreted",
  },
  {
    what: "Promised memory that Linux loses (failed moves, growth of stacks that were never charged) is kept exactly.",
    why: "leaks of the modelled kernels are not reproduced",
  },
  {
    what: "With RLIMIT_DATA below the executor's own data, the break moves otherwise (5 of 800 programs).",
    why: "the executor's image is a likeness; its bss differs in size",
  },
  {
    what: "linux-2.6.11 has been compared with no running kernel.",
    why: "it is built from its source's behaviour as documented; no such machine was at hand",
  },
];

export function programParts(): string[] {
  const compared = comparisons.map(
    ({ kernel, programs, equal, again }) => `| ${kernel} | ${programs} | ${equal} | ${again} |`,
  );
  const masks = setAsides.map(({ name, reason, formats }) => `| ${name} | ${formats.join(", ")} | ${reason} |`);
  const known = deviations.map(({ what, why }) => `| ${what} | ${why} |`);
  return [
    [
      "## Programs against real kernels",
      "Small programs of memory operations run on a real kernel and here, and every line of what they see is compared: results, errno, signals with code, address and error code, minor faults of each operation, final areas with their flags, the state of each page, contents, page-table bytes, resident and locked memory, files.",
      ["| kernel | programs | equal | again with |", "|---|---|---|---|", ...compared].join("\n"),
      "What is set aside in every comparison, by name:",
      ["| set aside | on | reason |", "|---|---|---|", ...masks].join("\n"),
    ].join("\n\n"),
    ["## Known deviations", ["| deviation | reason |", "|---|---|", ...known].join("\n")].join("\n\n"),
  ];
}
