/** The machines that tests over the design space run on: every pair of choices in a normal run, every three on request. */
import { type Cell, coveringCells, designOf, everyChoice } from "../src/check/cells.ts";
import { oracleSpec } from "../src/check/oracle-machine.ts";
import type { PagingFormatName } from "../src/hw/paging-format.ts";
import type { MachineSpec } from "../src/presets.ts";

/** Any two choices meet in a normal run; any three if BIGMEM_MATRIX=triples. */
export const cells = (): Cell[] => coveringCells(everyChoice, process.env.BIGMEM_MATRIX === "triples" ? 3 : 2);

export const specOfCell = (cell: Cell): MachineSpec =>
  oracleSpec(cell.paging as PagingFormatName, cell.kernel!, designOf(cell));
