/**
 * Leaf tables on a list of their own, in the order in which they were made or last found in use: "arguably they belong on
 * the lru like everything else". A table costs its two list words in the frame, which a page table does not use.
 *
 *     hung -> head [ newest ... oldest ] tail -> used since the last look?  yes: to the head   no: discarded
 */
import type { Pfn } from "../../../base/units.ts";
import type { Path } from "../../../sync/path.ts";
import type { Want } from "../../allocator.ts";
import type { Frames } from "../../frames.ts";
import type { Kernel } from "../../kernel.ts";
import { PageList } from "../../reclaim/page-list.ts";
import { discardTable } from "./discard-table.ts";
import type { TableDiscard } from "./table-discard.ts";

/** Tables that one turn discards at most. */
const BATCH = 32;

export class DiscardByAge implements TableDiscard {
  readonly costs = { tablesScanned: 0, entriesScanned: 0, tablesDiscarded: 0, entriesDiscarded: 0 };
  readonly tables: PageList;

  constructor(frames: Frames) {
    this.tables = new PageList("tables", frames);
  }

  hung(table: Pfn): void {
    this.tables.addHead(table);
  }

  hungRun(first: Pfn, end: Pfn): void {
    this.tables.addHeadRun(first, end);
  }

  unhung(table: Pfn): void {
    this.tables.remove(table);
  }

  *discardTables(kernel: Kernel, want: Want): Path<number> {
    const { tables } = this;
    let discarded = 0;
    // Once around at most: what was used has had its chance, and comes back old.
    for (let left = tables.count; left > 0 && discarded < BATCH && tables.count > 0; left--) {
      const table = tables.tail;
      tables.remove(table);
      tables.addHead(table);
      if (kernel.allocator.zoneOf(table).kind > want) continue;
      if (yield* discardTable(kernel, kernel.tables.ownerOf(table), kernel.frames.index.read(table), this.costs))
        discarded++;
    }
    return discarded;
  }
}
