/**
 * Leaf tables met by walking address spaces in virtual order, one after the other, from where the last walk stopped. It
 * keeps nothing, and looks at tables in an order that has nothing to do with their use.
 *
 *     mm 1 [..T..T..T*.]   mm 2 [T..T    ]   mm 3 [ T    ]       * where the next walk goes on
 */
import type { Vpn } from "../../../base/units.ts";
import type { Path } from "../../../sync/path.ts";
import type { AddressSpace } from "../../address-space.ts";
import type { Want } from "../../allocator.ts";
import type { Kernel } from "../../kernel.ts";
import { LEAF } from "../../page-table.ts";
import { discardTable } from "./discard-table.ts";
import type { TableDiscard } from "./table-discard.ts";

/** Tables that one turn discards at most. */
const BATCH = 32;

export class DiscardByScan implements TableDiscard {
  readonly costs = { tablesScanned: 0, entriesScanned: 0, tablesDiscarded: 0, entriesDiscarded: 0 };
  /** Where the next walk goes on. */
  private mm: AddressSpace | null = null;
  private page: Vpn = 0;

  hung(): void {}

  hungRun(): void {}

  unhung(): void {}

  *discardTables(kernel: Kernel, want: Want): Path<number> {
    let discarded = 0;
    const spaces = [...kernel.spaces];
    let at = this.mm === null ? 0 : Math.max(0, spaces.indexOf(this.mm));
    if (spaces[at] !== this.mm) this.page = 0;
    for (let visits = 0; visits < spaces.length && discarded < BATCH; visits++) {
      const mm = spaces[at]!;
      this.mm = mm;
      discarded += yield* this.walk(kernel, mm, want, BATCH - discarded);
      if (discarded >= BATCH) break;
      this.page = 0;
      at = (at + 1) % spaces.length;
    }
    return discarded;
  }

  /** Goes on in one address space until its end, or until enough are discarded; how many were. */
  private *walk(kernel: Kernel, mm: AddressSpace, want: Want, most: number): Path<number> {
    const { tables, layout, allocator } = kernel;
    let discarded = 0;
    while (discarded < most && kernel.spaces.has(mm) && mm.users > 0) {
      const page = tables.nextLeaf(mm, this.page, layout.taskEnd);
      if (page >= layout.taskEnd) break;
      this.page = tables.endOf(page, LEAF, layout.taskEnd);
      if (allocator.zoneOf(tables.tableAt(mm, page, LEAF)).kind > want) continue;
      if (yield* discardTable(kernel, mm, page, this.costs)) discarded++;
    }
    return discarded;
  }
}
