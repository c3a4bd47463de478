/** What must be true of leaf tables that hang in several places. */
import type { Pfn, Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_NO_EXECUTE, PTE_PRESENT, PTE_PROT_NONE, PTE_SWAP, PTE_WRITE } from "../../hw/pte.ts";
import type { AddressSpace, Resident } from "../../mm/address-space.ts";
import { PG_ANON, PG_SWAPBACKED } from "../../mm/frames.ts";
import type { Kernel } from "../../mm/kernel.ts";
import type { SharedTable } from "../../mm/tables/sharing/shared-tables.ts";
import { VM_BIG, VM_EXEC, VM_LOCKED, VM_MAYWRITE, VM_NONLINEAR, VM_SHARED, VM_WRITE } from "../../mm/vma.ts";
import { type Census, placeOf } from "./census.ts";
import type { Law } from "./law.ts";

/** A place of a leaf table, as the trees say. */
interface Place {
  readonly mm: AddressSpace;
  readonly page: Vpn;
}

function placesByTable({ leafTables }: Census): Map<Pfn, Place[]> {
  const places = new Map<Pfn, Place[]>();
  for (const { mm, frame, page } of leafTables) {
    const known = places.get(frame);
    if (known === undefined) places.set(frame, [{ mm, page }]);
    else known.push({ mm, page });
  }
  return places;
}

const sharersAreListed: Law = {
  name: "sharers-are-listed",
  statement:
    "A leaf table that hangs in several places has a list of them, each once; no other table has a list, and every place is an object of the slab.",
  check: (census, report) => {
    const { tables, slabs } = census.kernel;
    const found = placesByTable(census);
    let listed = 0;
    for (const shared of tables.shared.all) {
      // What a host has itself needs no object.
      listed += shared.mms.length - (shared.host === null ? 0 : 1);
      if (shared.host !== null && !found.has(shared.frame)) continue;
      const names: string[] = [];
      shared.forEachPlace((mm, page) => names.push(placeOf({ mm, page })));
      names.sort();
      const hung = (found.get(shared.frame) ?? []).map(placeOf).sort();
      if (names.join() !== hung.join())
        report(`table ${shared.frame} hangs at ${hung.join(", ")}, its list says ${names.join(", ")}`);
    }
    for (const [frame, places] of found) {
      if (places.length > 1 && tables.shared.find(frame) === undefined)
        report(`table ${frame} hangs in ${places.length} places, and has no list`);
    }
    const objects = slabs.all.find(({ name }) => name === "mm_chain")?.objects ?? 0;
    if (objects !== listed) report(`${listed} places are listed, ${objects} objects are in use`);
  },
};

const privateTablesAreGuarded: Law = {
  name: "shared-private-tables-are-read-only",
  statement:
    "No entry leads, for writing, to a leaf table that several places have and that has private pages which may be written; every other leaf table can be written through.",
  check: (census, report) => {
    const { kernel } = census;
    const span = kernel.format.entrySpan(2);
    for (const [frame, places] of placesByTable(census)) {
      const isPrivate = places.some(({ mm, page }) =>
        [...mm.vmas].some(
          ({ start, end, flags }) =>
            start < page + span && end > page && (flags & (VM_SHARED | VM_MAYWRITE)) === VM_MAYWRITE,
        ),
      );
      for (const place of places) {
        const mayWrite = (flagsAbove(kernel, place) & PTE_WRITE) !== 0;
        if (places.length === 1 && !mayWrite) report(`table ${frame} at ${placeOf(place)} cannot be written through`);
        if (places.length > 1 && mayWrite && isPrivate && holdsPrivate(kernel, frame, places[0]!))
          report(`table ${frame}, of ${places.length} places, may be written at ${placeOf(place)}`);
      }
    }
  },
};

/** The flags of the entry that leads to the leaf table of a place. */
function flagsAbove({ entries, format }: Kernel, { mm, page }: Place): number {
  let frame = mm.root;
  for (let level: number = format.levels; level > 2; level--)
    frame = entries.frame(frame as never, format.indexAt(page, level));
  return entries.flags(frame as never, format.indexAt(page, 2));
}

/** Whether an entry of the table is one of a private area that may be written. */
function holdsPrivate({ entries, format }: Kernel, frame: Pfn, { mm, page }: Place): boolean {
  for (let at = 0; at < format.entriesPerTable(1); at++) {
    if (entries.flags(frame as never, at) === 0) continue;
    const flags = mm.vmas.containing(page + at)?.flags ?? VM_SHARED;
    if ((flags & (VM_SHARED | VM_MAYWRITE)) === VM_MAYWRITE) return true;
  }
  return false;
}

const sharedTablesKnowWhatTheyMap: Law = {
  name: "shared-tables-know-what-they-map",
  statement:
    "A shared leaf table counts its entries by what they map, so that whoever comes or goes counts them at once.",
  check: ({ kernel }, report) => {
    for (const shared of kernel.tables.shared.all) {
      if (shared.host !== null) continue;
      const found = residentIn(kernel, shared);
      for (const kind of ["anon", "file", "shmem", "swap"] as const) {
        if (found[kind] !== shared.resident[kind])
          report(`table ${shared.frame}: ${shared.resident[kind]} entries of kind ${kind}, found ${found[kind]}`);
      }
    }
  },
};

function residentIn({ entries, frames, format, zeroFrame }: Kernel, { frame }: SharedTable): Resident {
  const found = { anon: 0, file: 0, shmem: 0, swap: 0 };
  for (let at = 0; at < format.entriesPerTable(1); at++) {
    const flags = entries.flags(frame as never, at);
    if ((flags & PTE_SWAP) !== 0) found.swap++;
    if ((flags & (PTE_PRESENT | PTE_PROT_NONE)) === 0) continue;
    const page = frames.head(entries.frame(frame as never, at));
    if (page === zeroFrame) continue;
    if (frames.has(page, PG_ANON)) found.anon++;
    else if (frames.has(page, PG_SWAPBACKED)) found.shmem++;
    else found.file++;
  }
  return found;
}

const sharedTablesAreNobodysToKeep: Law = {
  name: "shared-tables-have-no-special-areas",
  statement:
    "No entry of a shared leaf table lies in an area that is locked, nonlinear or of big pages, in any of its places.",
  check: ({ kernel, entries }, report) => {
    const { tables } = kernel;
    if (!tables.shared.exist) return;
    for (const entry of entries) {
      const special = ((entry.vma?.flags ?? 0) & (VM_LOCKED | VM_NONLINEAR | VM_BIG)) !== 0;
      if (special && tables.shared.find(kernel.entries.tableOf(entry.slot)) !== undefined)
        report(`${placeOf(entry)} is in a shared table`);
    }
  },
};

/** The level of a table of a file's own: where it hangs in the file's tree. */
function levelOf({ entries, format }: Kernel, { frame, host, firsts }: SharedTable): number {
  let table = host!.root;
  for (let level: number = format.levels; level > 1; level--) {
    if (table === frame) return level;
    table = entries.frame(table as OpenTable, format.indexAt(firsts[0]!, level));
  }
  return 1;
}

/** The entry of a place that should lead to a table of `level`. */
function entryAbove({ entries, format }: Kernel, { mm, page }: Place, level: number) {
  let table = mm.root as OpenTable;
  for (let at: number = format.levels; at > level + 1; at--) {
    if ((entries.flags(table, format.indexAt(page, at)) & PTE_PRESENT) === 0) return undefined;
    table = entries.frame(table, format.indexAt(page, at)) as OpenTable;
  }
  return { table, index: format.indexAt(page, level + 1) };
}

const guestsHaveTheirRights: Law = {
  name: "guests-have-their-rights",
  statement:
    "The entry that leads an address space to a table of a file's own allows writing if its area does and forbids fetches if its area does; the area shares the file, and the page lies in it where it lies in the file's tree.",
  check: ({ kernel }, report) => {
    const { entries, format } = kernel;
    for (const shared of kernel.tables.shared.all) {
      if (shared.host === null) continue;
      const level = levelOf(kernel, shared);
      for (let at = 1; at < shared.mms.length; at++) {
        const place = { mm: shared.mms[at]!, page: shared.firsts[at]! };
        const found = entryAbove(kernel, place, level);
        const vma = place.mm.vmas.containing(place.page);
        if (found === undefined || entries.frame(found.table, found.index) !== shared.frame) {
          report(`table ${shared.frame} does not hang at ${placeOf(place)}`);
          continue;
        }
        const flags = entries.flags(found.table, found.index);
        const mayWrite = ((vma?.flags ?? 0) & VM_WRITE) !== 0;
        const mayExecute = ((vma?.flags ?? 0) & VM_EXEC) !== 0 || !format.hasNoExecute;
        if (((flags & PTE_WRITE) !== 0) !== mayWrite) report(`${placeOf(place)}: writes, and the area's flags differ`);
        if (((flags & PTE_NO_EXECUTE) === 0) !== mayExecute)
          report(`${placeOf(place)}: fetches, and the area's flags differ`);
        if (vma === null || vma.indexAt(place.page) - shared.firsts[0]! !== 0)
          report(`${placeOf(place)} is another part of its file`);
      }
    }
  },
};

export const tableSharingLaws: readonly Law[] = [
  sharersAreListed,
  privateTablesAreGuarded,
  sharedTablesKnowWhatTheyMap,
  sharedTablesAreNobodysToKeep,
  guestsHaveTheirRights,
];
