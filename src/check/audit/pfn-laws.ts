/** Laws of mappings without struct pages: what is raw lies where it may, and whatever keeps copies apart says so of each. */
import { type OpenTable, PTE_PROT_NONE, PTE_SOFT1, PTE_SOFT2, PTE_SOFT3, PTE_WRITE } from "../../hw/pte.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { ShadowBits } from "../../mm/pfnmap/shadow-bits.ts";
import { VM_ACCESS, VM_RAW, VM_SHARED, VM_WRITE, type Vma } from "../../mm/vma.ts";
import { OWNER_SHADOW } from "../../mm/zone.ts";
import { type Census, type Entry, placeOf } from "./census.ts";
import type { Law } from "./law.ts";

const rawEntriesNameSegments: Law = {
  name: "raw-entries-name-segments",
  statement:
    "An entry without a struct page lies in an area of a file that has its frame, at that frame's place, and gives no right that the area does not; a private one cannot be written.",
  check: ({ kernel, rawEntries }, report) => {
    for (const entry of rawEntries) {
      const wrong = wrongRaw(kernel, entry);
      if (wrong !== undefined) report(`${placeOf(entry)} -> raw ${entry.frame}: ${wrong}`);
    }
  },
};

function wrongRaw({ rawMemory }: Kernel, { vma, page, frame, flags }: Entry): string | undefined {
  if (!rawMemory.has(frame)) return "in no segment";
  if (vma === null) return "in no area";
  if ((vma.flags & VM_RAW) === 0) return "in an area that holds pages only";
  const raw = vma.file?.raw;
  if (raw == null) return "in an area of no such file";
  const index = vma.indexAt(page);
  const isFormula = (index as number) === frame && raw.isPieceOf(frame, frame);
  if (!isFormula && raw.frameOf(index) !== frame) return `not what belongs at index ${index} of ${vma.file!.name}`;
  const mayWrite = (vma.flags & (VM_SHARED | VM_WRITE)) === (VM_SHARED | VM_WRITE);
  if ((flags & PTE_WRITE) !== 0 && !mayWrite) return "may be written";
  const hasRights = (vma.flags & VM_ACCESS) !== 0;
  return hasRights === ((flags & PTE_PROT_NONE) !== 0) ? "has other rights than its area" : undefined;
}

/** Whether copies can be in the area. */
const mayHoldCopies = (vma: Vma | null): vma is Vma =>
  vma !== null && (vma.flags & VM_RAW) !== 0 && (vma.flags & VM_SHARED) === 0;

const bitsSayWhatIsRaw: Law = {
  name: "bits-say-what-is-raw",
  statement:
    "Where a bit of the entry says what is raw, it is on every raw entry and on no page of such an area; where it says what is a copy, the other way round.",
  check: ({ kernel, entries, rawEntries }, report) => {
    const { rawBits, pageBits } = kernel.pfnMappings;
    for (const entry of rawEntries) {
      if ((entry.flags & PTE_SOFT1) !== rawBits) report(`${placeOf(entry)}, raw, has ${entry.flags & PTE_SOFT1}`);
    }
    for (const entry of entries) {
      if (!mayHoldCopies(entry.vma)) continue;
      if ((entry.flags & PTE_SOFT1) !== pageBits) report(`${placeOf(entry)}, a page, has ${entry.flags & PTE_SOFT1}`);
    }
  },
};

const shadowsAgree: Law = {
  name: "shadows-agree",
  statement:
    "Where bits beside page tables say what is a copy, each leaf table has its own, and each is set for an entry of a private area that names a page or a place in swap, and for no other.",
  check: (census, report) => {
    const { pfnMappings, allocator, format } = census.kernel;
    if (!(pfnMappings instanceof ShadowBits)) return;
    const copies = copySlots(census);
    const tables = new Set(census.leafTables.map(({ frame }) => frame));
    for (const frame of pfnMappings.tables)
      if (!tables.has(frame)) report(`table ${frame} has bits, and is in no tree`);
    for (const { mm, frame, page } of census.leafTables) {
      for (let index = 0; index < format.entriesPerTable(1); index++) {
        const isCopy = copies.has(census.kernel.entries.slotOf(frame as OpenTable, index));
        const place = placeOf({ mm, page: page + index });
        if (pfnMappings.isSet(frame, index) !== isCopy)
          report(`${place}: ${isCopy ? "a copy without its bit" : "a bit, and no copy"}`);
      }
    }
    const charged = allocator.ownedBy(OWNER_SHADOW) * 4096;
    if (charged !== pfnMappings.costs.shadowBytes)
      report(`${charged} bytes charged, ${pfnMappings.costs.shadowBytes} counted`);
    const needed = Math.ceil((census.leafTables.length * pfnMappings.bytesPerTable) / 4096) * 4096;
    if (charged < needed) report(`${charged} bytes for ${census.leafTables.length} tables, which need ${needed}`);
  },
};

/** The slots of entries that name copies, in memory or in swap, of areas that could hold what is raw. */
function copySlots({ kernel, entries, swapEntries }: Census): Set<number> {
  const slots = new Set<number>();
  for (const { vma, slot } of entries) if (mayHoldCopies(vma)) slots.add(slot);
  for (const { mm, vma, page } of swapEntries) {
    if (!mayHoldCopies(vma)) continue;
    const table = kernel.tables.tableAt(mm, page, 1);
    slots.add(kernel.entries.slotOf(table as OpenTable, kernel.tables.indexAt(page, 1)));
  }
  return slots;
}

const copiesHaveAreas: Law = {
  name: "copies-have-areas",
  statement:
    "Where each copy has an area of its own, an area whose entries may be raw holds no page, in memory or in swap.",
  check: ({ kernel, entries, swapEntries }, report) => {
    if (kernel.pfnMappings.copies === "in place") return;
    for (const entry of [...entries, ...swapEntries]) {
      if (mayHoldCopies(entry.vma)) report(`${placeOf(entry)} is a page, in an area of raw ones`);
    }
  },
};

const formulaFindsNoPage: Law = {
  name: "formula-finds-no-page",
  statement:
    "No page lies in a segment, unless segments have struct pages: so no copy is where a formula looks for its source.",
  check: ({ kernel, entries, freeRanges, tableFrames }, report) => {
    const { rawMemory, frames, allocator } = kernel;
    for (const { first, end } of rawMemory.ranges) {
      if (allocator.zones.some((zone) => first < zone.end && end > zone.first))
        report(`${first}..${end} lies in a zone`);
      if (freeRanges.some((range) => first < range.end && end > range.first))
        report(`the allocator has ${first}..${end}`);
    }
    for (const frame of tableFrames.keys()) if (rawMemory.has(frame)) report(`frame ${frame} is a page table`);
    for (const { frame } of entries) {
      const isFiles = rawMemory.has(frame) && kernel.files.byId(frames.mapping.read(frame)).raw !== null;
      if (rawMemory.has(frame) && !isFiles) report(`frame ${frame} is a page of nobody's`);
    }
  },
};

const segmentsAreConserved: Law = {
  name: "segments-are-conserved",
  statement:
    "Each frame of a segment is free or one file's; where segments have struct pages, a file's frame has one reference, and one more for each entry that holds it.",
  check: ({ kernel, byFrame }, report) => {
    const { rawMemory, files, frames } = kernel;
    const owners = new Map<number, string>();
    for (const file of files.all()) {
      for (let index = 0; index < (file.raw?.pages ?? 0); index++) {
        const frame = file.raw!.frameOf(index);
        if (owners.has(frame) || !rawMemory.has(frame)) report(`frame ${frame} of ${file.name} is not its own`);
        owners.set(frame, file.name);
        if (frame >= frames.count) continue;
        const refs = frames.refs.read(frame);
        const maps = byFrame.get(frame)?.length ?? 0;
        if (refs !== 1 + maps) report(`frame ${frame} of ${file.name}: ${refs} references, ${maps} entries`);
      }
    }
    const all = rawMemory.ranges.reduce((sum, { first, end }) => sum + end - first, 0);
    if (rawMemory.freeFrames + owners.size !== all)
      report(`${rawMemory.freeFrames} free, ${owners.size} of files, ${all} in all`);
  },
};

const hardwareHasItsBits: Law = {
  name: "hardware-has-its-bits",
  statement: "Where hardware leaves no bit of an entry to the kernel, no entry has one set.",
  check: ({ kernel, entries, rawEntries }, report) => {
    if (kernel.format.hasSoftwareBits) return;
    for (const entry of [...entries, ...rawEntries]) {
      if ((entry.flags & (PTE_SOFT1 | PTE_SOFT2 | PTE_SOFT3)) !== 0)
        report(`${placeOf(entry)} -> frame ${entry.frame}`);
    }
  },
};

export const pfnLaws: readonly Law[] = [
  rawEntriesNameSegments,
  bitsSayWhatIsRaw,
  shadowsAgree,
  copiesHaveAreas,
  formulaFindsNoPage,
  segmentsAreConserved,
  hardwareHasItsBits,
];
