/** The machines that tests over the design space run on: every pair of choices in a normal run, others on request. */
import { type Cell, designOf } from "../src/check/cells.ts";
import { cellsBy } from "../src/check/legal-cells.ts";
import { oracleSpec } from "../src/check/oracle-machine.ts";
import type { PagingFormatName } from "../src/hw/paging-format.ts";
import type { MachineSpec } from "../src/presets.ts";

/** Any two choices meet in a normal run; any three if BIGMEM_MATRIX=triples; 5000 of all legal designs if it is 5000. */
export const cells = (): Cell[] => cellsBy("BIGMEM_MATRIX", process.env.BIGMEM_MATRIX ?? "pairs");

export const specOfCell = (cell: Cell): MachineSpec =>
  oracleSpec(cell.paging as PagingFormatName, cell.kernel!, designOf(cell));
