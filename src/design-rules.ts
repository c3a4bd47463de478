/**
 * What cannot be built: combinations of options that some mechanism rules out, each with its reason, and where to move if
 * nobody has asked for one of them by name. Which rules hold may depend on the machine's paging format.
 */
import { type Design, designSpace } from "./design.ts";
import { type PagingFormatName, pagingFormats } from "./hw/paging-format.ts";

/** A combination that cannot be built. */
export interface Rule {
  /** The combination: these options of these axes. */
  readonly when: Partial<Design>;
  readonly reason: string;
  /** Options to move to, of axes that nobody has asked for by name, to make it legal again. */
  readonly instead?: Partial<Design>;
  /** Where to move if somebody has asked for one of those by name. */
  readonly otherwise?: Partial<Design>;
}

/** Soft pages of more than one frame. */
const largeSoftPages = ["1", "2", "3", "4", "9"] as const;

/** Reverse maps that chain each entry of every page. */
const allChained = ["pte-chain-a", "pte-chain-b", "pte-chain-e"] as const;

/** Ways to map pages of a file out of its order that put them into entries one by one. */
const entryByEntry = [
  "remap-2.5",
  "tagged-search",
  "cleanup-pass",
  "cleanup-tolerant",
  "unmap-each",
  "locked-only",
] as const;

const aloneOrStoodFor = "an entry that is on no chain is counted, or another stands for it: nothing would tell which";

/** Every illegal combination. */
export const designRules: readonly Rule[] = [
  {
    when: { pageTablePlacement: "highmem", pageTableAccess: "direct" },
    reason: "the kernel has no address for a table in highmem until it makes a window on it",
    instead: { pageTableAccess: "kmap-atomic" },
  },
  {
    when: { pageTablePlacement: "lowmem", pageTableAccess: "kmap-atomic" },
    reason: "tables in lowmem are always mapped: there is nothing to make a window for",
    instead: { pageTableAccess: "direct" },
  },
  {
    when: { pageTablePlacement: "lowmem", pageTableAccess: "kmap-blocking" },
    reason: "tables in lowmem are always mapped: there is nothing to make a window for",
    instead: { pageTableAccess: "direct" },
  },
  {
    when: { pageTablePlacement: "highmem", pageTableCache: "quicklists" },
    reason: "quicklists are linked through the first word of the tables, which nobody can read in highmem",
    instead: { pageTableCache: "none" },
  },
  {
    when: { reverseMap: "pte-chain-a", pageTablePlacement: "highmem" },
    reason: "a link is a pointer to an entry, and an entry in highmem has no address",
    instead: { pageTablePlacement: "lowmem", pageTableAccess: "direct" },
    otherwise: { reverseMap: "pte-chain-b" },
  },
  ...(["fork-shared", "file-shared"] as const).map(
    (pageTableSharing): Rule => ({
      when: { pageTableSharing, pageTableFreeing: "when-empty" },
      reason: "the references to a table's frame count those who share it, and cannot count its entries too",
      instead: { pageTableFreeing: "pmd-ranges" },
      otherwise: { pageTableSharing: "none" },
    }),
  ),
  {
    when: { memMap: "per-task-window", pageHandle: "pointer" },
    reason: "a struct page in highmem has no address to point to, but in windows that come and go",
    instead: { pageHandle: "pfn" },
    otherwise: { memMap: "flat" },
  },
  ...(["flat", "discontig", "sparse"] as const).map(
    (memMap): Rule => ({
      when: { memMap, pageHandle: "cookie" },
      reason: "a struct page that is always mapped has an address, and there is nothing to take for one",
      instead: { memMap: "per-task-window" },
      otherwise: { pageHandle: "pointer" },
    }),
  ),
  ...(["rmap15", "linux-2.6"] as const).map(
    (reclaim): Rule => ({
      when: { reverseMap: "none", reclaim },
      reason: "it asks the reverse map who maps a page, and every question would be a search through all page tables",
      instead: { reclaim: "linux-2.4" },
      otherwise: { reverseMap: "object-anon" },
    }),
  ),
  ...(["cleanup-pass", "cleanup-tolerant", "unmap-each"] as const).map(
    (nonlinear): Rule => ({
      when: { reverseMap: "none", nonlinear },
      reason: "it takes each page from those who map it, and there is no way from a page to them",
      instead: { nonlinear: "tagged-search" },
      otherwise: { reverseMap: "object-anon", reclaim: "linux-2.6" },
    }),
  ),
  ...(["madvise", "always"] as const).flatMap(withoutLargeEntries),
  ...(["none", "magic-syscall", "hugetlb-syscalls"] as const).map(
    (hugePages): Rule => ({
      when: { hugePages, vmemmap: "hugetlb-optimised" },
      reason: "it is hugetlbfs whose pools give their struct pages back",
      instead: { vmemmap: "full" },
      otherwise: { hugePages: "hugetlbfs" },
    }),
  ),
  ...largeSoftPages.flatMap(withLargeSoftPages),
  ...withWholePages(),
  ...(["shadow-bits", "shadow-pages"] as const).flatMap(withShadows),
  ...(Object.keys(designSpace.reverseMap.options) as Design["reverseMap"][])
    .filter((name) => !name.includes("-chain-"))
    .flatMap(withoutChains),
  ...(Object.keys(designSpace.reverseMap.options) as Design["reverseMap"][])
    .filter((name) => !name.startsWith("pte-chain-"))
    .flatMap(withoutRadius),
  {
    when: { mlock: "counted", chainedParts: "blast-radius" },
    reason: aloneOrStoodFor,
    instead: { chainedParts: "each" },
    otherwise: { mlock: "chained" },
  },
  {
    when: { mlock: "counted", chainedParts: "first-part" },
    reason: aloneOrStoodFor,
    instead: { mlock: "chained" },
  },
];

/** What one struct page for several frames rules out. */
function withLargeSoftPages(softPageShift: (typeof largeSoftPages)[number]): Rule[] {
  const otherwise = { softPageShift: "0" } as const;
  return [
    {
      when: { softPageShift, vmemmap: "hugetlb-optimised" },
      reason:
        "the struct pages of a huge page are given back by 4 KiB, and the allocator takes nothing below its own page",
      instead: { vmemmap: "full" },
      otherwise,
    },
    {
      when: { softPageShift, pfnMappings: "struct-pages" },
      reason: "a segment begins and ends at any frame, and one struct page stands for several",
      instead: { pfnMappings: "linear-rule" },
      otherwise,
    },
    ...(["madvise", "always"] as const).map(
      (transparentPages): Rule => ({
        when: { softPageShift, transparentPages },
        reason: "each part of a transparent huge page has a struct page of its own, which the page can be split into",
        instead: { transparentPages: "never" },
        otherwise,
      }),
    ),
    ...(["fork-shared", "file-shared"] as const).map(
      (pageTableSharing): Rule => ({
        when: { softPageShift, pageTableSharing },
        reason: "a fault maps all parts of a soft page, and in a shared table some of them may be others' to decide",
        instead: { pageTableSharing: "none" },
        otherwise,
      }),
    ),
  ];
}

/** What pages that are mapped whole or not at all rule out, and what rules them out. */
function withWholePages(): Rule[] {
  const softPageStyle = "bsd";
  const otherwise = { softPageStyle: "abi-preserving" } as const;
  const wholeOrNot = "of a soft page all entries come and go together, and it";
  return [
    {
      when: { softPageStyle, softPageShift: "0" },
      reason: "soft pages of one frame are mapped whole whatever the style: there is nothing to choose",
      instead: { softPageShift: "2" },
      otherwise,
    },
    {
      when: { softPageStyle: "abi-preserving", chainedParts: "first-part" },
      reason: "a part may be mapped without the first, or at another place than behind it",
      instead: { chainedParts: "each" },
    },
    ...allChained.flatMap((reverseMap): Rule[] => [
      {
        when: { softPageStyle, reverseMap, chainedParts: "each" },
        reason: `${wholeOrNot} would need memory for each of them`,
        instead: { chainedParts: "first-part" },
        otherwise,
      },
      {
        when: { softPageStyle, reverseMap, chainedParts: "blast-radius" },
        reason: "the first part's entry stands for all: there is nothing to look around for",
        instead: { chainedParts: "first-part" },
        otherwise,
      },
    ]),
    ...(["object-chain-convert", "object-chain-incremental"] as const).map(
      (reverseMap): Rule => ({
        when: { softPageStyle, reverseMap },
        reason: `${wholeOrNot} chains single ones`,
        instead: { reverseMap: "object-anon" },
        otherwise,
      }),
    ),
    ...entryByEntry.map(
      (nonlinear): Rule => ({
        when: { softPageStyle, nonlinear },
        reason: `${wholeOrNot} writes them one by one`,
        instead: { nonlinear: "emulated" },
        otherwise,
      }),
    ),
    ...(Object.keys(designSpace.pfnMappings.options) as Design["pfnMappings"][])
      .filter((pfnMappings) => pfnMappings !== "refuse-cow")
      .map(
        (pfnMappings): Rule => ({
          when: { softPageStyle, pfnMappings },
          reason: "a copy of memory without struct pages takes one frame's place, and a soft page has several",
          instead: { pfnMappings: "refuse-cow" },
          otherwise,
        }),
      ),
  ];
}

/** What a shadow beside each leaf table rules out. */
function withShadows(pfnMappings: "shadow-bits" | "shadow-pages"): Rule[] {
  const instead = { pfnMappings: "linear-rule" } as const;
  return [
    ...largeSoftPages.map(
      (softPageShift): Rule => ({
        when: { pfnMappings, softPageShift },
        reason: "a shadow is made for one leaf table, and a soft page of memory is more than it needs",
        instead,
        otherwise: { softPageShift: "0" },
      }),
    ),
    ...(["madvise", "always"] as const).map(
      (transparentPages): Rule => ({
        when: { pfnMappings, transparentPages },
        reason: "a shadow is made for a leaf table in a tree, and huge pages keep theirs in reserve",
        instead,
        otherwise: { transparentPages: "never" },
      }),
    ),
    ...(["fork-shared", "file-shared"] as const).map(
      (pageTableSharing): Rule => ({
        when: { pfnMappings, pageTableSharing },
        reason: "a shadow is made for a leaf table of one tree, and this one hangs in several",
        instead,
        otherwise: { pageTableSharing: "none" },
      }),
    ),
  ];
}

/** What knows nothing of large entries cannot have transparent huge pages. */
function withoutLargeEntries(transparentPages: "madvise" | "always"): Rule[] {
  const chaining = (Object.keys(designSpace.reverseMap.options) as Design["reverseMap"][]).filter(
    (name) => name !== "object-anon" && name !== "anonmm",
  );
  return [
    ...chaining.map(
      (reverseMap): Rule => ({
        when: { reverseMap, transparentPages },
        reason: "to split a huge page all large entries that map it must be found, and this reverse map finds none",
        instead: { transparentPages: "never" },
        otherwise: { reverseMap: "object-anon" },
      }),
    ),
    ...(["fork-shared", "file-shared"] as const).map(
      (pageTableSharing): Rule => ({
        when: { pageTableSharing, transparentPages },
        reason:
          "a huge page keeps a leaf table in reserve for the process that has it, and a shared table is nobody's own",
        instead: { transparentPages: "never" },
        otherwise: { pageTableSharing: "none" },
      }),
    ),
    {
      when: { pageTableAccess: "kmap-blocking", transparentPages },
      reason: "a large entry is split where nobody may wait for a window on its leaf table",
      instead: { transparentPages: "never" },
      otherwise: { pageTableAccess: "kmap-atomic" },
    },
    ...(["linux-2.4", "rmap15"] as const).map(
      (reclaim): Rule => ({
        when: { reclaim, transparentPages },
        reason: "its lists are of small pages, and it has no way to make them of a huge one",
        instead: { transparentPages: "never" },
        otherwise: { reclaim: "linux-2.6" },
      }),
    ),
  ];
}

/** What chains entry by entry, or not at all, has no entry that stands for others. */
function withoutRadius(reverseMap: Design["reverseMap"]): Rule[] {
  const isMixed = reverseMap.startsWith("object-chain");
  return (["blast-radius", "first-part"] as const).map((chainedParts) => ({
    when: { reverseMap, chainedParts },
    reason: isMixed
      ? "this reverse map chains single entries, those that it cannot search for"
      : "this reverse map keeps no chains",
    instead: { chainedParts: "each" },
    otherwise: { reverseMap: "pte-chain-e" },
  }));
}

/** A reverse map without chains has none to leave out. */
function withoutChains(reverseMap: Design["reverseMap"]): Rule[] {
  return [
    {
      when: { reverseMap, mlock: "counted" },
      reason: "this reverse map keeps no chains, so locks can spare none",
      instead: { mlock: "chained" },
      otherwise: { reverseMap: "pte-chain-e" },
    },
    {
      when: { reverseMap, reverseMapPlacement: "highmem" },
      reason: "this reverse map keeps no chains that could lie anywhere",
      instead: { reverseMapPlacement: "lowmem" },
      otherwise: { reverseMap: "pte-chain-e" },
    },
  ];
}

const allMapped = "a 64-bit kernel has all memory mapped: there is no highmem";

/** Illegal on a machine whose kernel has all memory mapped. */
export const rulesWithoutHighmem: readonly Rule[] = [
  {
    when: { pageTablePlacement: "highmem" },
    reason: allMapped,
    instead: { pageTablePlacement: "lowmem", pageTableAccess: "direct" },
  },
  { when: { kmap: "per-task" }, reason: allMapped, instead: { kmap: "global" } },
  ...(["flat", "discontig"] as const).map(
    (memMap): Rule => ({
      when: { memMap, vmemmap: "hugetlb-optimised" },
      reason: "struct pages in the direct map cannot be mapped a second time",
      instead: { memMap: "sparse" },
      otherwise: { vmemmap: "full" },
    }),
  ),
  { when: { memMap: "per-task-window" }, reason: allMapped, instead: { memMap: "sparse", pageHandle: "pointer" } },
  { when: { reverseMapPlacement: "highmem" }, reason: allMapped, instead: { reverseMapPlacement: "lowmem" } },
];

/** Illegal where virtual addresses have 32 bits. */
export const rulesWithHighmem: readonly Rule[] = [
  {
    when: { hugePages: "hugetlbfs-shared-pmd" },
    reason: "a table of the second level maps a quarter of the address space here, and is nobody's to share",
    instead: { hugePages: "hugetlbfs" },
  },
  {
    when: { vmemmap: "hugetlb-optimised" },
    reason: "struct pages lie in lowmem here, and lowmem is mapped once and for all",
    instead: { vmemmap: "full" },
  },
];

/** Illegal where hardware leaves the kernel no bit of an entry, as s390 was said to. */
export const rulesWithoutSoftwareBits: readonly Rule[] = (["special-bit", "cow-bit"] as const).map((pfnMappings) => ({
  when: { pfnMappings },
  reason: "an entry of this machine's page tables has no bit left for the kernel",
  instead: { pfnMappings: "linear-rule" },
}));

/** What of a machine decides which rules hold. */
export interface RuledMachine {
  readonly paging: PagingFormatName;
  /** Bits of an entry that hardware leaves to the kernel; left out: there are some. */
  readonly softwareBits?: "some" | "none";
}

/** The rules that hold with a paging format, or on a machine. */
export function rulesWith(machine: PagingFormatName | RuledMachine): readonly Rule[] {
  const { paging, softwareBits = "some" } = typeof machine === "string" ? { paging: machine } : machine;
  return [
    ...(pagingFormats[paging].vaddrBits === 32 ? rulesWithHighmem : rulesWithoutHighmem),
    ...(softwareBits === "some" ? [] : rulesWithoutSoftwareBits),
    ...designRules,
  ];
}

/** Every rule, with the paging that it holds for; empty: it holds for all. */
export const allRules: readonly (Rule & { readonly paging: string })[] = [
  ...designRules.map((rule) => ({ ...rule, paging: "" })),
  ...rulesWithoutHighmem.map((rule) => ({ ...rule, paging: "x86-64" })),
  ...rulesWithHighmem.map((rule) => ({ ...rule, paging: "i386 or PAE" })),
  ...rulesWithoutSoftwareBits.map((rule) => ({ ...rule, paging: "any without software bits" })),
];
