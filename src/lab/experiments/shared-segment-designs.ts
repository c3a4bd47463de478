/**
 * The designs that many processes with one segment are run on: what each has of its own, what the segment is then, and on
 * which machines it can be had.
 */
import { UsageError } from "../../base/errors.ts";
import { formatSize } from "../../base/size-text.ts";
import { addressOf } from "../../base/units.ts";
import type { AxisName, Design } from "../../design.ts";
import { rulesWith } from "../../design-rules.ts";
import { formatOf } from "../../geometry.ts";
import type { MachineSpec } from "../../presets.ts";
import { settleDesign } from "../../settle-design.ts";
import type { Tunables } from "../../tunables.ts";
import type { SegmentKind } from "../memory/sharers.ts";

/** One row: what is different from the kernel that was asked for. */
export interface NamedDesign {
  readonly name: string;
  readonly design: Partial<Design>;
  /** What the segment is; left out: a file of 4 KiB pages in memory. */
  readonly segment?: SegmentKind;
  /** Of which machines it is one of all designs; left out: of all. */
  readonly since?: "32 bits" | "64 bits";
  /** Levels of page tables that are there once, for all, as far as the segment covers them whole. */
  readonly inCommon?: readonly number[];
  /** And hang in a tree of the segment's own. */
  readonly ownTree?: boolean;
  /** What it is for: if the segment has none of it, the design is as another one, which is not run twice. */
  readonly wants?: { readonly what: "huge pages"; readonly else: string; readonly because: string };
}

const lowTables = { pageTablePlacement: "lowmem" } as const;
const highTables = { pageTablePlacement: "highmem", pageTableAccess: "kmap-atomic" } as const;
const lowChains = { reverseMap: "pte-chain-e", reverseMapPlacement: "lowmem" } as const;
const highChains = { reverseMap: "pte-chain-e", reverseMapPlacement: "highmem" } as const;
const objects = { reverseMap: "object-anon" } as const;

const hugetlbfs = { ...lowTables, ...objects, hugePages: "hugetlbfs" } as const;
const optimised = { vmemmap: "hugetlb-optimised" } as const;

export const designs: readonly NamedDesign[] = [
  { name: "low-chains", design: { ...lowTables, ...lowChains }, since: "32 bits" },
  { name: "low-objects", design: { ...lowTables, ...objects } },
  { name: "highpte-low-chains", design: { ...highTables, ...lowChains } },
  { name: "highpte-high-chains", design: { ...highTables, ...highChains } },
  { name: "highpte-objects", design: { ...highTables, ...objects } },
  { name: "when-empty", design: { ...lowTables, ...objects, pageTableFreeing: "when-empty" }, since: "32 bits" },
  { name: "discard-age", design: { ...lowTables, ...objects, pageTableDiscard: "age" }, since: "32 bits" },
  {
    name: "shared-tables",
    design: { ...lowTables, ...lowChains, pageTableSharing: "fork-shared" },
    since: "32 bits",
    inCommon: [1],
  },
  { name: "one-tree", design: { ...lowTables, ...objects, pageTableSharing: "file-shared" }, ownTree: true },
  {
    name: "magic",
    design: { ...lowTables, ...objects, hugePages: "magic-syscall" },
    segment: "magic",
    since: "32 bits",
  },
  { name: "hugetlbfs", design: hugetlbfs, segment: "hugetlbfs" },
  {
    name: "hugetlbfs-shared-pmd",
    design: { ...hugetlbfs, hugePages: "hugetlbfs-shared-pmd", ...optimised },
    segment: "hugetlbfs",
    since: "64 bits",
    inCommon: [2],
  },
  { name: "hugetlbfs-1g", design: { ...hugetlbfs, ...optimised }, segment: "gigantic", since: "64 bits" },
  {
    name: "thp",
    design: { ...lowTables, ...objects, transparentPages: "always" },
    since: "64 bits",
    wants: {
      what: "huge pages",
      else: "low-objects",
      because: "transparent huge pages are of anonymous memory alone, and what processes share is a file",
    },
  },
];

const bitsOf = ({ geometry }: MachineSpec) => (formatOf(geometry).vaddrBits > 32 ? "64 bits" : "32 bits");

/** The levels whose tables are there once, on that machine. */
export function levelsInCommon({ inCommon = [], ownTree = false }: NamedDesign, base: MachineSpec): readonly number[] {
  // A file's tree is entered by the table above the leaves, where that is neither the root nor born with it.
  return ownTree ? (bitsOf(base) === "64 bits" ? [1, 2] : [1]) : inCommon;
}

/** The huge pages that are kept from boot on: those of the segment. */
export function poolFor(segment: SegmentKind, base: MachineSpec, bytes: number): Partial<Tunables> {
  if (segment === "shmem") return {};
  if (segment === "gigantic") return { hugePages1G: bytes / GIB };
  return { hugePages: bytes / hugeBytesOf(base) };
}

const GIB = 2 ** 30;

/** Bytes of the usual huge page. */
const hugeBytesOf = ({ geometry }: MachineSpec): number => addressOf(formatOf(geometry).entrySpan(2));

/** Why the segment cannot be of such pages, if it cannot. */
function refusal(segment: SegmentKind, base: MachineSpec, bytes: number): string | undefined {
  if (segment === "shmem") return undefined;
  const each = segment === "gigantic" ? GIB : hugeBytesOf(base);
  const exists = formatOf(base.geometry).largePages.some(({ pages }) => addressOf(pages) === each);
  if (!exists) return `the machine has no pages of ${formatSize(each)}`;
  return bytes % each === 0 ? undefined : `it maps whole pages of ${formatSize(each)}`;
}

/** The designs that a person names; or all that machines like `base` had, as far as they can be built from it. */
export function chosen(text: string, base: MachineSpec, bytes: number): readonly NamedDesign[] {
  const { design: own, geometry } = base;
  const rules = rulesWith(geometry);
  const bits = bitsOf(base);
  if (text === "all") {
    return designs.filter(({ design, segment = "shmem", since = bits }) => {
      if (since !== bits || refusal(segment, base, bytes) !== undefined) return false;
      const asked = new Set(Object.keys(design) as AxisName[]);
      return settleDesign({ ...own, ...design }, asked, rules).illegal === undefined;
    });
  }
  return text.split(",").map((name) => {
    const found = designs.find((each) => each.name === name);
    const refused = found === undefined ? undefined : refusal(found.segment ?? "shmem", base, bytes);
    if (refused !== undefined) throw new UsageError(`--size ${formatSize(bytes)}: ${name}: ${refused}`);
    if (found !== undefined) return found;
    throw new UsageError(`--designs ${name}: expected all, or some of ${designs.map((each) => each.name).join(", ")}`);
  });
}
