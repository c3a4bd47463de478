/** What must be true of the count that a page table's frame keeps. */
import type { OpenTable } from "../../hw/pte.ts";
import { CountedEntries } from "../../mm/tables/counted-entries.ts";
import { DiscardByAge } from "../../mm/tables/discard/by-age.ts";
import { walkTables } from "../page-walk.ts";
import type { Law } from "./law.ts";

const references: Law = {
  name: "table-references-are-entries",
  statement:
    "A page table's frame has one reference, a leaf table's one for each place where it hangs, and one more for each of its entries that is not none where empty tables are freed.",
  check: ({ kernel, tableFrames }, report) => {
    const { entries, format, frames, tables } = kernel;
    const counts = entries instanceof CountedEntries;
    for (const mm of kernel.spaces) {
      const table = (frame: number, level: number) => {
        const live = counts ? liveEntries(frame as OpenTable, format.entriesPerTable(level)) : 0;
        const refs = frames.refs.read(frame);
        const shared = tables.shared.find(frame);
        const places = shared?.host != null ? shared.mms.length : level === 1 ? tableFrames.get(frame)! : 1;
        if (refs !== places + live)
          report(`table ${frame} of level ${level}: ${refs} references, ${places} places, ${live} entries counted`);
      };
      walkTables({ entries, format }, mm.root, 0, kernel.layout.taskEnd, { table });
    }

    function liveEntries(table: OpenTable, length: number): number {
      let live = 0;
      for (let index = 0; index < length; index++) {
        if ((entries.low(table, index) | entries.high(table, index)) !== 0) live++;
      }
      return live;
    }
  },
};

const noneEmpty: Law = {
  name: "no-table-is-left-empty",
  statement:
    "Where empty tables are freed, every leaf table has an entry, or none yet: its address space's areas reach it.",
  check: ({ kernel, leafTables }, report) => {
    if (!(kernel.entries instanceof CountedEntries)) return;
    const span = kernel.format.entrySpan(2);
    for (const { mm, frame, page } of leafTables) {
      if (kernel.frames.refs.read(frame) > 1) continue;
      if (mm.vmas.intersecting(page, page + span) === null) report(`leaf table ${frame} at page ${page} is empty`);
    }
  },
};

const aged: Law = {
  name: "tables that age",
  statement:
    "Where leaf tables are discarded by age, each leaf table of an address space is on the list once, and nothing else.",
  check: ({ kernel, leafTables }, report) => {
    const { tableDiscard } = kernel;
    if (!(tableDiscard instanceof DiscardByAge)) return;
    const listed = new Set(tableDiscard.tables);
    if (listed.size !== tableDiscard.tables.count)
      report(`the list counts ${tableDiscard.tables.count} tables, it has ${listed.size}`);
    for (const frame of new Set(leafTables.map((table) => table.frame)))
      if (!listed.delete(frame)) report(`leaf table ${frame} is not on the list`);
    for (const frame of listed) report(`frame ${frame} is on the list, and no leaf table`);
  },
};

export const tableLaws: readonly Law[] = [references, noneEmpty, aged];
