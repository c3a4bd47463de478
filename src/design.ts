/**
 * Every way this kernel can be built, and nothing else: each axis is a question, each option one sentence that says
 * which kernel did so. Machine's constructor is the only reader; the command line, the documentation and the test
 * matrix are made from this table.
 */
import { z } from "zod";
import { UsageError } from "./base/errors.ts";
import { didYouMean } from "./base/nearest.ts";

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
