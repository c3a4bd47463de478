/** What experiments on leaf tables have in common: which choices they compare, and how tables are counted and made to go. */
import type { Machine } from "../../machine.ts";
import { WANT_USER } from "../../mm/allocator.ts";
import { LEAF } from "../../mm/page-table.ts";
import type { DiscardCosts, TableDiscardName } from "../../mm/tables/discard/table-discard.ts";
import type { TableFreeingName } from "../../mm/tables/freeing.ts";
import { runToCompletion } from "../../sync/path.ts";

export interface TableChoice {
  readonly pageTableFreeing: TableFreeingName;
  readonly pageTableDiscard: TableDiscardName;
}

/** Each way of freeing on its own, and each way of discarding beside what 2.6 frees. */
export const tableChoices: readonly TableChoice[] = [
  { pageTableFreeing: "spans", pageTableDiscard: "none" },
  { pageTableFreeing: "pmd-ranges", pageTableDiscard: "none" },
  { pageTableFreeing: "when-empty", pageTableDiscard: "none" },
  { pageTableFreeing: "pmd-ranges", pageTableDiscard: "age" },
  { pageTableFreeing: "pmd-ranges", pageTableDiscard: "scan" },
];

/** The choice as settings of a machine. */
export const settingsOf = (choice: TableChoice): string[] =>
  Object.entries(choice).map(([axis, option]) => `${axis}=${option}`);

/** Each once, however many address spaces have it. */
export function leafTables({ kernel }: Machine): number {
  let sum = -kernel.tables.shared.inCommon;
  for (const { tablesByLevel } of kernel.spaces) sum += tablesByLevel[LEAF]!;
  return sum;
}

/** Memory is so short, for so long, that every leaf table goes that may; what that took. */
export function discardAll({ kernel }: Machine): DiscardCosts {
  const { costs } = kernel.tableDiscard;
  const before = { ...costs };
  // What was used is kept once: after two turns without any there are none.
  for (let idle = 0; idle < 2; ) {
    idle = runToCompletion(kernel.tableDiscard.discardTables(kernel, WANT_USER)) === 0 ? idle + 1 : 0;
  }
  return {
    tablesScanned: costs.tablesScanned - before.tablesScanned,
    entriesScanned: costs.entriesScanned - before.entriesScanned,
    tablesDiscarded: costs.tablesDiscarded - before.tablesDiscarded,
    entriesDiscarded: costs.entriesDiscarded - before.entriesDiscarded,
  };
}
