/**
 * A trace on several machines side by side: those that a person names, the product of what a person varies, or a set
 * that tells something about the trace. A cell that cannot be built is shown with its reason; only if none can is the
 * request an error.
 */
import { UsageError } from "../base/errors.ts";
import { type AxisName, axisNames, type Design, requireOption } from "../design.ts";
import { rulesWith } from "../design-rules.ts";
import { applySettings, type MachineSpec, specOf } from "../presets.ts";
import { settleDesign } from "../settle-design.ts";
import { TraceDoesNotFit } from "./rebase.ts";
import type { Report, Run } from "./report.ts";
import { type RunOptions, runTrace, TraceStudy } from "./run.ts";
import type { TraceHeader } from "./trace/format.ts";
import type { TraceInput } from "./trace-input.ts";

/** One column: a machine, or why there is none. */
export type Cell =
  | { readonly name: string; readonly spec: MachineSpec; readonly illegal?: undefined }
  | { readonly name: string; readonly spec?: undefined; readonly illegal: string };

/** "reverseMap=none,object-anon": what is varied, and over which values. */
export interface Variation {
  readonly key: string;
  readonly values: readonly string[];
}

export function parseVariation(text: string): Variation {
  const [, key, list] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  const values = (list ?? "")
    .split(",")
    .map((value) => value.trim())
    .filter((value) => value !== "");
  if (key !== undefined && values.length > 0) return { key, values };
  throw new UsageError(`--vary ${text}: expected AXIS=OPTION,OPTION or geometry.KEY=VALUE,VALUE`);
}

const MOST_CELLS = 256;

/** The product of the variations on top of `base`. Throws UsageError for what no cell could have. */
export function cellsOf(base: MachineSpec, variations: readonly Variation[]): Cell[] {
  let combinations: string[][] = [[]];
  for (const { key, values } of variations) {
    combinations = combinations.flatMap((settings) => values.map((value) => [...settings, `${key}=${value}`]));
    if (combinations.length > MOST_CELLS) throw new UsageError(`--vary: more than ${MOST_CELLS} combinations`);
  }
  const cells = combinations.map((settings) => cellOf(base, settings));
  if (cells.length > 0 && cells.every((cell) => cell.spec === undefined)) {
    throw new UsageError(
      `nothing can be compared:\n${cells.map(({ name, illegal }) => `  ${name}: ${illegal}`).join("\n")}`,
    );
  }
  return cells;
}

const isAxis = (key: string): key is AxisName => (axisNames as readonly string[]).includes(key);

/** One combination. Options coupled to what was asked for move, and the name says so. */
function cellOf(base: MachineSpec, settings: readonly string[]): Cell {
  const name = settings.length === 0 ? "as given" : settings.map(shortName).join(", ");
  const asked = new Map<AxisName, string>();
  const others: string[] = [];
  for (const setting of settings) {
    const [key, value] = setting.split("=", 2);
    if (isAxis(key)) asked.set(key, requireOption(key, value));
    else others.push(setting);
  }
  const wanted = { ...base.design, ...Object.fromEntries(asked) } as Design;
  const settled = settleDesign(wanted, new Set(asked.keys()), rulesWith(base.geometry));
  if (settled.illegal !== undefined) return { name, illegal: settled.illegal };
  const moved = settled.moves.map(({ axis, to }) => `${axis}=${to} (coupled)`);
  const whole = [name, ...moved].join(", ");
  try {
    return { name: whole, spec: applySettings({ ...base, design: settled.design }, others) };
  } catch (error) {
    if (error instanceof UsageError) return { name: whole, illegal: error.message };
    throw error;
  }
}

const shortName = (setting: string): string => setting.replace(/^(geometry|tunables)\./, "");

/** Machines that tell something about a trace when nobody names any. */
export function tellingCells(header: TraceHeader): Cell[] {
  const cell = (name: string, machine: string, kernel: string, settings: readonly string[] = []): Cell => ({
    name,
    spec: specOf(machine, kernel, ["geometry.cpus=1", ...settings]),
  });
  const chains = ["reverseMap=pte-chain-e"];
  const wide = [
    cell("icelake-1t, linux-6.1", "icelake-1t", "linux-6.1"),
    cell("opteron-32g, linux-2.6.11", "opteron-32g", "linux-2.6.11"),
    cell("opteron-32g, linux-2.6.11, pte-chain-e", "opteron-32g", "linux-2.6.11", chains),
  ];
  const narrow = [
    cell("piii-xeon-64g, linux-2.6.11", "piii-xeon-64g", "linux-2.6.11"),
    cell("piii-xeon-64g, linux-2.6.11, pte-chain-e", "piii-xeon-64g", "linux-2.6.11", chains),
    cell("2-level 3 GiB, linux-2.6.11", "nonpae-3g", "linux-2.6.11"),
  ];
  return header.abi === "i386" ? [...narrow, ...wide.slice(0, 1)] : [...wide, ...narrow];
}

/** Runs the trace in every cell. A cell that the trace does not fit is `refused`, with the reason. */
export async function compareCells(
  input: TraceInput,
  cells: readonly Cell[],
  options: RunOptions & { readonly onCell?: (name: string, number: number, of: number) => void },
): Promise<Report> {
  const study = new TraceStudy(input);
  // A bad trace is bad for every cell: let it say so once, before anything is built.
  await study.header();
  const runs: Run[] = [];
  for (const [number, cell] of cells.entries()) {
    options.onCell?.(cell.name, number, cells.length);
    runs.push(await runCell(cell, study, options));
  }
  if (runs.length > 0 && runs.every((run) => run.outcome.status !== "done")) {
    const reasons = runs.map((run) => (run.outcome.status === "done" ? "" : `  ${run.name}: ${run.outcome.reason}`));
    throw new UsageError(`nothing could be run:\n${reasons.join("\n")}`);
  }
  return { schema: "bigmem.report/1", runs };
}

async function runCell(cell: Cell, study: TraceStudy, options: RunOptions): Promise<Run> {
  const { name } = cell;
  if (cell.spec === undefined) return { name, outcome: { status: "illegal", reason: cell.illegal } };
  try {
    return await runTrace(name, cell.spec, study, options);
  } catch (error) {
    if (error instanceof TraceDoesNotFit) return { name, outcome: { status: "refused", reason: error.message } };
    throw error;
  }
}
