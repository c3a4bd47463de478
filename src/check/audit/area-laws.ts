/** Laws of address spaces: areas, their totals, and what the page tables hold inside them. */
import type { Pfn } from "../../base/units.ts";
import { PTE_PRESENT, PTE_PROT_NONE, PTE_WRITE } from "../../hw/pte.ts";
import type { AddressSpace } from "../../mm/address-space.ts";
import { PG_ANON, PG_EXCLUSIVE, PG_RESERVED, PG_SWAPBACKED } from "../../mm/frames.ts";
import {
  VM_ACCOUNT,
  VM_EXEC,
  VM_GROWSDOWN,
  VM_LOCKED,
  VM_NONLINEAR,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
  type Vma,
} from "../../mm/vma.ts";
import { type Census, type Entry, placeOf } from "./census.ts";
import type { Law } from "./law.ts";

/** vm.max_map_count. */
const MOST_AREAS = 65_530;
/** Splits and stacks may exceed it by a few. */
const AREAS_TOLERATED = 6;

const areasAreInOrder: Law = {
  name: "areas-are-in-order",
  statement: "Areas are sorted, apart, not empty, below the kernel, linked to their neighbours, and not too many.",
  check: ({ kernel }, report) => {
    for (const mm of kernel.spaces) {
      let end = 0;
      let count = 0;
      let below: Vma | null = null;
      for (const vma of mm.vmas) {
        if (vma.start < end || vma.start >= vma.end) report(`${mm.id}: ${vma.start}..${vma.end} after ${end}`);
        if (vma.mm !== mm || vma.below !== below) report(`${mm.id}: ${vma.start}..${vma.end} is linked wrongly`);
        if (mm.vmas.find(vma.start) !== vma || mm.vmas.find(vma.end - 1) !== vma)
          report(`${mm.id}: ${vma.start} is not found`);
        end = vma.end;
        below = vma;
        count++;
      }
      if (end > kernel.layout.taskEnd)
        report(`${mm.id}: an area ends at ${end}, the kernel begins at ${kernel.layout.taskEnd}`);
      if (count !== mm.vmas.count) report(`${mm.id}: ${count} areas, its count says ${mm.vmas.count}`);
      if (count > MOST_AREAS + AREAS_TOLERATED) report(`${mm.id}: ${count} areas`);
    }
  },
};

const totalsAreSums: Law = {
  name: "totals-are-sums",
  statement: "An address space's totals of all, locked, data, executable and stack pages are the sums over its areas.",
  check: ({ kernel }, report) => {
    for (const mm of kernel.spaces) {
      const sum = (member: (flags: number) => boolean) => {
        let pages = 0;
        for (const vma of mm.vmas) if (member(vma.flags)) pages += vma.end - vma.start;
        return pages;
      };
      const compare = (what: string, kept: number, found: number) => {
        if (kept !== found) report(`${mm.id}: ${what} ${kept}, found ${found}`);
      };
      compare(
        "total",
        mm.totalPages,
        sum(() => true),
      );
      compare(
        "locked",
        mm.lockedPages,
        sum((flags) => (flags & VM_LOCKED) !== 0),
      );
      compare(
        "data",
        mm.dataPages,
        sum((flags) => (flags & (VM_WRITE | VM_SHARED | VM_GROWSDOWN)) === VM_WRITE),
      );
      compare(
        "exec",
        mm.execPages,
        sum((flags) => (flags & (VM_EXEC | VM_WRITE | VM_GROWSDOWN)) === VM_EXEC),
      );
      compare(
        "stack",
        mm.stackPages,
        sum((flags) => (flags & VM_GROWSDOWN) !== 0),
      );
    }
  },
};

const commitmentIsSum: Law = {
  name: "commitment-is-sum",
  statement:
    "The memory promised is the sum of all charged areas and of what shared memory files were promised; more once an uncharged stack grew.",
  check: ({ kernel }, report) => {
    let pages = 0;
    for (const mm of kernel.spaces) {
      for (const vma of mm.vmas) if ((vma.flags & VM_ACCOUNT) !== 0) pages += vma.end - vma.start;
    }
    for (const file of kernel.files.all()) {
      if (file.promise === "size") pages += Math.ceil(file.sizeBytes / 4096);
      if (file.promise !== "pages") continue;
      pages += (file.swapped.count + file.pages.count) * kernel.frames.softFrames;
    }
    // Linux charges every growth of a stack, and gives back only what areas with VM_ACCOUNT were charged.
    const mayExceed = kernel.counters.stackExpansions > 0;
    if (mayExceed ? pages > kernel.commitment.pages : pages !== kernel.commitment.pages) {
      report(`promised ${kernel.commitment.pages}, found ${pages}`);
    }
  },
};

const residentIsEntries: Law = {
  name: "resident-is-entries",
  statement:
    "The resident pages of each kind are the entries that hold frames of that kind, the zero page not counted.",
  check: (census, report) => {
    const { kernel } = census;
    const found = new Map<AddressSpace, { anon: number; file: number; shmem: number }>();
    for (const { mm } of census.spaces) found.set(mm, { anon: 0, file: 0, shmem: 0 });
    for (const { mm, head } of census.entries) {
      if (head === kernel.zeroFrame || kernel.frames.has(head, PG_RESERVED)) continue;
      const kind = kernel.frames.has(head, PG_ANON)
        ? "anon"
        : kernel.frames.has(head, PG_SWAPBACKED)
          ? "shmem"
          : "file";
      found.get(mm)![kind]++;
    }
    for (const { mm, swapEntries } of census.spaces) {
      const counts = { ...found.get(mm)!, swap: swapEntries };
      for (const kind of ["anon", "file", "shmem", "swap"] as const) {
        if (mm.resident[kind] !== counts[kind]) report(`${mm.id}: ${kind} ${mm.resident[kind]}, found ${counts[kind]}`);
      }
    }
  },
};

const tableCountsAreTables: Law = {
  name: "table-counts-are-tables",
  statement: "An address space's count of page tables of each level is the number of tables in its tree.",
  check: (census, report) => {
    for (const { mm, tables } of census.spaces) {
      tables.forEach((found, level) => {
        const kept = mm.tablesByLevel[level] ?? 0;
        if (level > 0 && kept !== found) report(`${mm.id}: level ${level}: count ${kept}, found ${found}`);
      });
    }
  },
};

const entriesLieInAreas: Law = {
  name: "entries-lie-in-areas",
  statement: "Every page-table entry that holds a frame lies in an area.",
  check: ({ entries }, report) => {
    for (const entry of entries) if (entry.vma === null) report(`${placeOf(entry)} -> frame ${entry.frame}`);
  },
};

const entriesObeyAreas: Law = {
  name: "entries-obey-areas",
  statement:
    "No entry gives a right that its area does not: none where the area has none, no writing without VM_WRITE.",
  check: ({ entries }, report) => {
    for (const entry of entries) {
      if (entry.vma === null) continue;
      const { flags } = entry.vma;
      const hasRights = (flags & (VM_READ | VM_WRITE | VM_EXEC)) !== 0;
      if (!hasRights && (entry.flags & PTE_PRESENT) !== 0)
        report(`${placeOf(entry)} is present in an area without rights`);
      if (hasRights && (entry.flags & PTE_PROT_NONE) !== 0)
        report(`${placeOf(entry)} has no rights in an area with some`);
      if ((entry.flags & PTE_WRITE) !== 0 && (flags & VM_WRITE) === 0)
        report(`${placeOf(entry)} may be written, its area not`);
    }
  },
};

const writersAreAlone: Law = {
  name: "writers-are-alone",
  statement:
    "A writable entry of a private area holds an anonymous frame that no other entry holds; so does each entry of an exclusive page, and all of them are one address space's.",
  check: (census, report) => {
    const { frames } = census.kernel;
    for (const [frame, entries] of census.ownedFrames()) {
      const exclusive = frames.has(frame, PG_ANON | PG_EXCLUSIVE);
      const holders = (part: Pfn) => entries.filter((entry) => entry.frame === part).length;
      const isOnes = entries.every(({ mm, frame: part }) => mm === entries[0]!.mm && holders(part) === 1);
      if (exclusive && !isOnes) report(`frame ${frame} is exclusive, and ${entries.length} entries hold it`);
      for (const entry of entries) {
        const isPrivateWriter = (entry.flags & PTE_WRITE) !== 0 && ((entry.vma?.flags ?? VM_SHARED) & VM_SHARED) === 0;
        if (isPrivateWriter && (holders(entry.frame) > 1 || !frames.has(frame, PG_ANON))) {
          report(`${placeOf(entry)} may be written, and frame ${frame} is not its own`);
        }
      }
    }
    for (const entry of census.byFrame.get(census.kernel.zeroFrame) ?? []) {
      if ((entry.flags & PTE_WRITE) !== 0) report(`${placeOf(entry)} may write the zero page`);
    }
  },
};

const entriesHoldTheRightPage: Law = {
  name: "entries-hold-the-right-page",
  statement:
    "An entry of a file's area holds that file's page of that index or, if private, an anonymous frame of the area's own anon_vmas.",
  check: (census, report) => {
    for (const entry of census.entries) {
      if (entry.frame === census.kernel.zeroFrame) continue;
      const wrong = wrongPage(census, entry);
      if (wrong !== undefined) report(`${placeOf(entry)} -> frame ${entry.frame}: ${wrong}`);
    }
  },
};

function wrongPage({ kernel }: Census, { vma, page, frame: part, head: frame }: Entry): string | undefined {
  if (vma === null) return undefined;
  const { frames } = kernel;
  const id = frames.mapping.read(frame);
  const index = frames.index.read(frame) + part - frame;
  if (frames.has(frame, PG_ANON)) {
    if ((vma.flags & VM_SHARED) !== 0) return "an anonymous frame in a shared area";
    const known = vma.anonVmaChain.some(({ anonVma }) => anonVma.id === id) || vma.anonVma?.id === id;
    if (!known) return `of anon_vma ${id}, which its area does not know`;
    return index === vma.indexAt(page) ? undefined : `index ${index}, expected ${vma.indexAt(page)}`;
  }
  if (vma.file === null) return "no anonymous frame, in an area without a file";
  if (id !== vma.file.id) return `of file ${id}, expected ${vma.file.id}`;
  if ((vma.flags & VM_NONLINEAR) !== 0) return undefined;
  return index === vma.indexAt(page) ? undefined : `page ${index} of its file, expected ${vma.indexAt(page)}`;
}

const truncatedPagesAreUnmapped: Law = {
  name: "truncated-pages-are-unmapped",
  statement:
    "No entry holds a page of a file beyond the file's end, but for parts of its last page as programs know pages.",
  check: ({ kernel, entries }, report) => {
    const { frames, layout } = kernel;
    for (const entry of entries) {
      const file = entry.vma?.file;
      if (file == null || entry.frame === kernel.zeroFrame || frames.has(entry.head, PG_ANON)) continue;
      const index = frames.index.read(entry.head) + entry.frame - entry.head;
      if (index >= Math.ceil(file.sizeBytes / (4096 * layout.userPages)) * layout.userPages)
        report(`${placeOf(entry)} -> page ${index} of ${file.name}, which ends before`);
    }
  },
};

export const areaLaws: readonly Law[] = [
  areasAreInOrder,
  totalsAreSums,
  commitmentIsSum,
  residentIsEntries,
  tableCountsAreTables,
  entriesLieInAreas,
  entriesObeyAreas,
  writersAreAlone,
  entriesHoldTheRightPage,
  truncatedPagesAreUnmapped,
];
