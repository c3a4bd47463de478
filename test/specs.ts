/** The machines that tests over the design space run on: derived from the design table, all of them or in pairs. */

import { oracleSpec } from "../src/check/oracle-machine.ts";
import { axisNames, type Design, optionsOf, rulesWith, settleDesign } from "../src/design.ts";
import { type PagingFormatName, pagingFormats } from "../src/hw/paging-format.ts";
import { kernelPresets, type MachineSpec } from "../src/presets.ts";

/** One choice on each axis, a paging format and a kernel. */
export type Cell = Readonly<Record<string, string>>;

const axes: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(axisNames.map((axis) => [axis, optionsOf(axis)])),
  paging: Object.keys(pagingFormats),
  kernel: Object.keys(kernelPresets),
};

const designOf = (cell: Cell): Design => Object.fromEntries(axisNames.map((axis) => [axis, cell[axis]])) as Design;

const isLegal = (cell: Cell): boolean =>
  settleDesign(designOf(cell), new Set(axisNames), rulesWith(cell.paging as PagingFormatName)).illegal === undefined;

/** Every legal cell of the product. */
export function allCells(): Cell[] {
  let cells: Cell[] = [{}];
  for (const [axis, options] of Object.entries(axes)) {
    cells = cells.flatMap((cell) => options.map((option) => ({ ...cell, [axis]: option })));
  }
  return cells.filter(isLegal);
}

/** Few legal cells, in which any two options of different axes that may meet do so: each next cell brings most new pairs. */
export function pairwiseCells(): Cell[] {
  const candidates = allCells();
  const pairsOf = (cell: Cell): string[] => {
    const parts = Object.entries(cell).map(([axis, option]) => `${axis}=${option}`);
    return parts.flatMap((one, at) => parts.slice(at + 1).map((other) => `${one} ${other}`));
  };
  const missing = new Set(candidates.flatMap(pairsOf));
  const chosen: Cell[] = [];
  while (missing.size > 0) {
    let best = candidates[0]!;
    let bestNew = 0;
    for (const cell of candidates) {
      const fresh = pairsOf(cell).filter((pair) => missing.has(pair)).length;
      if (fresh > bestNew) {
        best = cell;
        bestNew = fresh;
      }
    }
    for (const pair of pairsOf(best)) missing.delete(pair);
    chosen.push(best);
  }
  return chosen;
}

/** Pairs in a normal run; everything if BIGMEM_MATRIX=all. */
export const cells = (): Cell[] => (process.env.BIGMEM_MATRIX === "all" ? allCells() : pairwiseCells());

export const specOfCell = (cell: Cell): MachineSpec =>
  oracleSpec(cell.paging as PagingFormatName, cell.kernel!, designOf(cell));

export const nameOfCell = (cell: Cell): string => Object.values(cell).join(" ");
