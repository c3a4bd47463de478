/**
 * Every way this kernel can be built, and nothing else: each axis is a question, each option one sentence that says
 * which kernel did so. Machine's constructor is the only reader; the command line, the documentation and the test
 * matrix are made from this table.
 */
import { z } from "zod";
import { UsageError } from "./base/errors.ts";
import { didYouMean } from "./base/nearest.ts";
import { type PagingFormatName, pagingFormats } from "./hw/paging-format.ts";

interface Axis {
  readonly question: string;
  readonly options: Readonly<Record<string, string>>;
}

export const designSpace = {
  reverseMap: {
    question: "Given a frame, how are the page-table entries that map it found?",
    options: {
      none: "They are not: every address space is scanned, as in 2.4.",
      "pte-chain-a": "A chain of links for each frame, one entry a link, as in 2.5.27.",
      "pte-chain-b": "A chain of cache lines full of entries, whose free slots are searched for, as in 2.5.34.",
      "pte-chain-e": "A chain of cache lines that say which slot is their first used one, as in 2.6.0.",
      "object-chain-convert":
        "Through the file's areas; anonymous pages are chained, and a file's page once it is mapped out of order, as in 2.5.66-mm.",
      "object-chain-incremental":
        "Through the file's areas; anonymous pages are chained, and single entries out of order, as proposed in July 2003.",
      "object-anon":
        "Through the areas that may map it: the file's, or those of an anon_vma, as in 2.6.7 and ever since.",
      anonmm:
        "Through the file's areas; an anonymous page by its address, in all relatives by fork, as proposed in March 2004.",
    },
  },
  reverseMapPlacement: {
    question: "Which zone do the chains of reverse maps come from?",
    options: {
      lowmem: "Always addressable, and soon exhausted: as every kernel that had chains.",
      highmem: "Plentiful, but each block must be opened to be read: as proposed in July 2003.",
    },
  },
  pageTablePlacement: {
    question: "Which zone do the tables of user mappings come from, those whose entries map pages?",
    options: {
      lowmem: "Always addressable, and soon exhausted: as every kernel without CONFIG_HIGHPTE.",
      highmem:
        "Plentiful, but each table must be opened to be read: as 2.5.5-highpte and ever since with CONFIG_HIGHPTE.",
    },
  },
  pageTableAccess: {
    question: "How does the kernel get at a page table?",
    options: {
      direct: "It has them always mapped: tables in lowmem only.",
      "kmap-atomic": "By a slot of the CPU's own, held without sleeping, as 2.5.5-highpte.",
      "kmap-blocking": "By windows of pools for page tables, which may have to be waited for, as 2.4-aa.",
    },
  },
  pageTableCache: {
    question: "What becomes of a page table that is freed?",
    options: {
      none: "It goes back to the zone, and the next one is zeroed anew.",
      quicklists: "Each CPU keeps lists of zeroed tables, as 2.4.",
      "per-cpu-pages": "Each CPU keeps a list of single frames for all purposes, as 2.5.45 and ever since.",
    },
  },
  pageTableFreeing: {
    question: "When is a page table given back that maps nothing any more?",
    options: {
      spans: "When no area is left in the whole span of a top-level entry, 4 MiB or (PAE) 1 GiB: as 2.4.",
      "pmd-ranges": "When areas are unmapped and none is left in the span of the table, as 2.6 and ever since.",
      "when-empty": "When its last entry is cleared, which takes a count for each table, as proposed in 2002.",
    },
  },
  pageTableDiscard: {
    question: "Do page tables of files' mappings leave memory when it is short?",
    options: {
      none: "No, whatever they take: as every kernel until today.",
      age: "Those that were not used since the last look, oldest first, on a list as pages are: as proposed in 2002.",
      scan: "Those that a walk of address spaces meets, if they were not used since the last one.",
    },
  },
  pageTableSharing: {
    question: "May several address spaces have the same page tables, where they map the same?",
    options: {
      none: "No, each has its own: as every kernel, but for huge pages.",
      "fork-shared":
        "Leaf tables, after a fork and for mappings of one file, until one side must change its own, as 2.5.43-shpte.",
      "file-shared":
        "A file has tables of its own, which all aligned shared mappings of it use: one tree for all, as mshare, proposed in 2022.",
    },
  },
  kmap: {
    question: "Whose are the windows through which highmem is read and written while sleeping?",
    options: {
      global: "Everybody's: one pool, and one flush of all CPUs each time that it is used up, as 2.4 and ever since.",
      "per-task": "Each task's: no global flush, but a page table and an index for each, as proposed in 2002.",
    },
  },
  memMap: {
    question: "Where are the struct pages, of which every frame has one?",
    options: {
      flat: "In one array, up to the last frame, in memory that is always mapped: as 2.4, and 32-bit kernels ever since.",
      discontig:
        "In an array for each NUMA node, in its own memory, mapped where lowmem would end: as 2.4 and 2.6 on NUMA machines.",
      sparse: "In an array for each section that holds memory, so that holes cost nothing: as 2.6.13 and ever since.",
      "per-task-window":
        "In highmem: each task maps those that it works on into a window of its own, as proposed in May 2002.",
    },
  },
  pageHandle: {
    question: "What does kernel code have in its hands that says which page?",
    options: {
      pointer: "The address of its struct page, as every kernel.",
      cookie: "A word that looks like one, though nothing is there until a window shows it: feared in May 2002.",
      pfn: "The frame's number, for which every use must find the struct page: agreed on in May 2002, and never built.",
    },
  },
  tlbFlush: {
    question: "What is flushed when entries of a range of pages have changed?",
    options: {
      "per-page": "Each page, one by one, however many there are.",
      "per-range": "Each page of a short range, the whole address space for a long one, as in 3.5 and ever since.",
      "whole-mm": "The whole address space, whatever the range, as in 2.4 and 2.6 on i386.",
    },
  },
  nonlinear: {
    question: "What does remap_file_pages do, which maps a file's pages in any order within one area?",
    options: {
      unsupported: "It fails with ENOSYS, as a kernel without the call, such as 2.4.",
      "remap-2.5":
        "It fills the area's entries, and truncation does not find what lies out of order: a bug of 2.5.46 to 2.6.5.",
      "tagged-search": "It fills the area's entries; truncation searches such areas whole, as from 2.6.6 to 3.19.",
      "cleanup-pass":
        "The same; truncation takes each page that is left from those who map it, and searches if it cannot: proposed in July 2003.",
      "cleanup-tolerant":
        "The same without a search: a page whose tables somebody holds stays with him, in no file; proposed in July 2003.",
      "unmap-each":
        "The same; truncation looks at no area, but takes each page from those who map it: proposed in July 2003.",
      "locked-only": "It fills the entries of mlocked areas alone, and promises nothing about truncation, as RHEL 3.",
      emulated: "It makes an area of each piece, as in 4.0 and ever since.",
    },
  },
  mlock: {
    question: "What is kept of the entries of locked areas, whose pages nobody will reclaim?",
    options: {
      chained: "What is kept of all others, as every kernel.",
      counted:
        "Their number, in the list links that a locked page does not need; munlock must chain them, and may find no memory for that: as proposed in July 2003.",
    },
  },
  hugePages: {
    question: "How does a program get pages of 2 MiB, 4 MiB or 1 GiB?",
    options: {
      none: "It does not: MAP_HUGETLB finds no page.",
      "magic-syscall":
        "By map_large_page, a privileged call that the rest of the kernel knows nothing of: proposed in May 2002.",
      "hugetlb-syscalls": "By alloc_hugepages and free_hugepages, with keys for what processes share, as 2.5.36.",
      hugetlbfs: "By mapping files of huge pages, MAP_HUGETLB and SHM_HUGETLB, out of a pool, as 2.6 and ever since.",
      "hugetlbfs-shared-pmd":
        "The same; processes that map the same gigabyte share the table that maps it, as in 2.6.20 and ever since.",
    },
  },
  transparentPages: {
    question: "When is anonymous memory mapped by huge pages that no program asked for by name?",
    options: {
      never: "Never: as every kernel before 2.6.38, and today's where an administrator says so.",
      madvise: "In areas that were advised MADV_HUGEPAGE, as most distributions of today have it.",
      always: "Wherever an area reaches around a whole huge page, as in 2.6.38 and by default ever since.",
    },
  },
  pfnMappings: {
    question: "In a mapping of memory without struct pages, how is a private copy told from what it was copied from?",
    options: {
      "refuse-cow":
        "There are no copies: private mappings of such memory are refused, as do_no_pfn had to be limited to.",
      "linear-rule":
        "What lies where a formula says is no copy: areas are mapped whole, from consecutive frames, as from 2.6.15 on.",
      "special-bit": "A bit of the entry says that it has no struct page, as pte_special does from 2.6.26 on.",
      "cow-bit": "A bit of the entry says that it is a copy, the bit's inverse, as was considered in April 2006.",
      "shadow-bits":
        "A bit for each entry, kept beside each page table, for architectures whose entries have no room: proposed in April 2006.",
      "shadow-pages": "The same with a whole page for each page table, as a table of twice its size would have.",
      "vma-split": 'Each copy gets an area of its own, which the fault must make: proposed in April 2006, and "nasty".',
      "struct-pages": "There is nothing to tell: such memory has struct pages too, as ZONE_DEVICE gives it today.",
    },
  },
  softPageShift: {
    question:
      "How large is the kernel's own page, which has one struct page: how many hardware pages, as a power of two?",
    options: {
      "0": "One: 4 KiB, as every kernel that was released for this hardware.",
      "1": "Two, of 8 KiB in all: with page clustering, as patched for 2.4.7 and 2.5.54 and never merged.",
      "2": "Four, of 16 KiB in all: the same.",
      "3": "Eight, of 32 KiB in all: the same; what 64 GiB of memory were run with on 32 bits in 2003.",
      "4": "Sixteen, of 64 KiB in all: the same.",
      "9": "As many as a big page has, 512, of 2 MiB in all: soft pages as large as big ones, as asked for in May 2002.",
    },
  },
  softPageStyle: {
    question: "What of the kernel's own page do programs see, where it has several frames?",
    options: {
      "abi-preserving":
        "Nothing: they map any 4 KiB anywhere, and a page may be mapped in parts: as Hugh Dickins's and wli's patches.",
      bsd: "All: it is what getpagesize() says, and all its entries come and go together: as BSD on the VAX (1981).",
    },
  },
  chainedParts: {
    question: "Which entries that map parts of one soft page does its chain hold?",
    options: {
      each: "Each one, wherever it is.",
      "blast-radius":
        "One for all that lie side by side as the page does, found again by a look around it: as proposed in July 2003.",
      "first-part":
        "That of the first part, which stands for all where no part is mapped without the others: what BSD's clusters would need.",
    },
  },
  vmemmap: {
    question: "What becomes of the struct pages of a huge page, which are all alike but for the first?",
    options: {
      full: "They stay, 32 KiB for each 2 MiB: as every kernel that is not told otherwise.",
      "hugetlb-optimised":
        "All but the first page of them are given back: 28 KiB for each 2 MiB, nearly 16 MiB for each GiB, as 5.14 on request and ever since (HVO).",
    },
  },
  reclaim: {
    question: "Which pages leave memory when it is short, and how is it known that a page is in use?",
    options: {
      "linux-2.4":
        "Two lists for the machine; address spaces are walked for entries that were not used, as 2.4.10 and up to 2.4.31.",
      rmap15: "Ageing lists in each zone; pages that nobody needs wait on a clean list, as rmap15 and RHEL3.",
      "linux-2.6":
        "Two lists a zone; the entries of a page say whether it was used, and pressure when mapped pages must go, as 2.6.",
    },
  },
} as const satisfies Readonly<Record<string, Axis>>;

type Space = typeof designSpace;
export type AxisName = keyof Space;
export type Design = { readonly [A in AxisName]: keyof Space[A]["options"] };

export const axisNames = Object.keys(designSpace) as readonly AxisName[];

/** The options of an axis, in the table's order. */
export const optionsOf = (axis: AxisName): readonly string[] => Object.keys(designSpace[axis].options);

/** Options that break a promise which all others keep: how, and what catches them at it. */
export const unsound: { readonly [A in AxisName]?: { readonly [O in Design[A]]?: Unsound } } = {
  pageHandle: {
    cookie: {
      breaks: "Who follows a link from one struct page to another dereferences an address at which no window shows it.",
      caughtBy: "the law struct-pages-are-seen; src/mm/memmap/page-handle.test.ts, test/unsound.test.ts",
    },
  },
  nonlinear: {
    "remap-2.5": {
      breaks: "A page beyond the end of its file stays mapped, and pages that the file keeps are lost.",
      caughtBy:
        "src/mm/nonlinear/truncate-oracle.test.ts; the scenarios fault-against-truncate and remap-against-truncate",
    },
    "locked-only": {
      breaks: "The same, of locked areas: nobody was meant to truncate the files that they map.",
      caughtBy: "src/mm/nonlinear/truncate-oracle.test.ts",
    },
  },
};

export interface Unsound {
  readonly breaks: string;
  readonly caughtBy: string;
}

/** The options of an axis that keep every promise. */
export const soundOptionsOf = (axis: AxisName): readonly string[] => {
  const broken: Readonly<Record<string, Unsound>> = unsound[axis] ?? {};
  return optionsOf(axis).filter((option) => broken[option] === undefined);
};

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

/** An option that a rule moved. */
export interface Move {
  readonly axis: AxisName;
  readonly from: string;
  readonly to: string;
  readonly reason: string;
}

/** A design that can be built, with what had to be moved for it; or why there is none. */
export type Settled =
  | { readonly design: Design; readonly moves: readonly Move[]; readonly illegal?: never }
  | { readonly illegal: string };

/**
 * Applies the rules to a design in which the axes of `asked` were asked for by name: those never move, the others
 * follow where a rule couples them.
 */
export function settleDesign(design: Design, asked: ReadonlySet<AxisName>, rules = designRules): Settled {
  const moves: Move[] = [];
  let settled = design;
  for (;;) {
    const broken = rules.find((rule) => holds(rule.when, settled));
    if (broken === undefined) return { design: settled, moves };
    const isFree = ([axis]: [AxisName, string]) => !asked.has(axis) && moves.every((move) => move.axis !== axis);
    const ways = [broken.instead ?? {}, broken.otherwise ?? {}].map((way) =>
      entriesOf(way).filter(([axis, to]) => settled[axis] !== to),
    );
    const coupled = ways.find((way) => way.length > 0 && way.every(isFree));
    if (coupled === undefined) return { illegal: `${describeCell(broken.when)}: ${broken.reason}` };
    for (const [axis, to] of coupled) moves.push({ axis, from: settled[axis], to, reason: broken.reason });
    settled = { ...settled, ...Object.fromEntries(coupled) };
  }
}

/** The options that a person named, over those of `base`. An unknown word or an illegal combination is a UsageError. */
export function parseDesign(
  chosen: Readonly<Record<string, unknown>>,
  base: Design,
  rules: readonly Rule[] = designRules,
): Design {
  const asked = new Set<AxisName>();
  const design: Record<AxisName, string> = { ...base };
  for (const [axis, option] of Object.entries(chosen)) {
    requireAxis(axis);
    design[axis] = requireOption(axis, option);
    asked.add(axis);
  }
  const settled = settleDesign(design as Design, asked, rules);
  if (settled.illegal !== undefined) throw new UsageError(`illegal design: ${settled.illegal}`);
  return settled.design;
}

/** Throws unless the word names an axis. */
export function requireAxis(word: string): asserts word is AxisName {
  if (Object.hasOwn(designSpace, word)) return;
  throw new UsageError(
    `there is no axis "${word}"${didYouMean(word, axisNames)}; the axes are ${axisNames.join(", ")}`,
  );
}

/** The word, if it names an option of the axis. */
export function requireOption(axis: AxisName, word: unknown): string {
  const options = optionsOf(axis);
  // Some options are numbers, and may be written so.
  const found = String(word);
  if ((typeof word === "string" || typeof word === "number") && options.includes(found)) return found;
  throw new UsageError(
    `${axis} has no option "${found}"${didYouMean(found, options)}; its options are ${options.join(", ")}`,
  );
}

/** The axis in words: its question, and a line for each option. */
export function describeAxis(word: string): string {
  requireAxis(word);
  const { question, options } = designSpace[word];
  const width = Math.max(...Object.keys(options).map((name) => name.length));
  const lines = Object.entries(options).map(([name, sentence]) => `  ${name.padEnd(width)}  ${sentence}`);
  return [`${word}: ${question}`, ...lines].join("\n");
}

/** The form of a design in a file; its options are strings of the table. */
export const designSchema = z.strictObject(
  Object.fromEntries(
    axisNames.map((axis) => [axis, z.enum(optionsOf(axis) as [string]).describe(designSpace[axis].question)]),
  ),
);

const entriesOf = (part: Partial<Design>): [AxisName, string][] => Object.entries(part) as [AxisName, string][];

const holds = (cell: Partial<Design>, design: Design): boolean =>
  entriesOf(cell).every(([axis, option]) => design[axis] === option);

const describeCell = (cell: Partial<Design>): string =>
  entriesOf(cell)
    .map(([axis, option]) => `${axis}=${option}`)
    .join(" with ");
