/**
 * Memory as real kernels measured it, beside the same on a machine of bigmem's: tables of /proc/meminfo, one row a boot
 * or one row a number of processes.
 */
import { UsageError } from "../../base/errors.ts";
import { PAGE_SIZE } from "../../base/units.ts";
import type { MeminfoLine } from "../../mm/meminfo.ts";
import { type MachineSpec, specOf } from "../../presets.ts";
import { SharedArea } from "./shared-area.ts";

/** One row of a table: by the name of its column. */
export type MeasuredRow = Readonly<Record<string, string>>;

/** The rows of a table whose first line names its columns. */
export function parseTable(text: string): MeasuredRow[] {
  const [head = "", ...lines] = text.trim().split("\n");
  const names = head.split(",");
  return lines.map((line) => {
    const fields = line.split(",");
    if (fields.length !== names.length) throw new UsageError(`"${line}": ${fields.length} fields, not ${names.length}`);
    return Object.fromEntries(names.map((name, at) => [name, fields[at]!]));
  });
}

/** One number, as it was measured and as it is here, in KiB. */
export interface Comparison {
  readonly key: string;
  readonly real: number;
  readonly here: number;
}

/** By how much of the real number ours differs; undefined where there is nothing to divide by. */
export const errorOf = ({ real, here }: Comparison): number | undefined =>
  real === 0 ? undefined : (here - real) / real;

const KIB_PER_PAGE = PAGE_SIZE / 1024;

function compare(row: MeasuredRow, keys: readonly string[], memory: readonly MeminfoLine[]): Comparison[] {
  const compared: Comparison[] = [];
  for (const key of keys) {
    const line = memory.find((each) => each.key === key);
    const text = row[key] ?? "";
    if (line !== undefined && text !== "") compared.push({ key, real: Number(text), here: line.pages * KIB_PER_PAGE });
  }
  return compared;
}

/** The machine that stands for a kernel's build, by how its runs are called. */
const machines: readonly (readonly [prefix: string, machine: string])[] = [
  ["510pae", "pae-8g"],
  ["pae", "pae-8g"],
  ["686", "nonpae-3g"],
  ["amd64", "amd64-8g"],
];

function machineOf(run: string): string {
  const found = machines.find(([prefix]) => run.startsWith(prefix));
  if (found === undefined) throw new UsageError(`no machine stands for the run "${run}"`);
  return found[1];
}

const BOOT_KEYS = ["MemTotal", "HighTotal", "LowTotal", "HighFree", "LowFree", "Slab"];

/** A boot with some memory, and the system that was looked at. A run is called `pae-16G`. */
export function compareBoot(row: MeasuredRow): Comparison[] {
  const { run = "" } = row;
  const memory = run.slice(run.indexOf("-") + 1);
  const spec = specOf(machineOf(run), "linux-6.1", [`geometry.memory=${memory}`]);
  return compare(row, BOOT_KEYS, new SharedArea(spec, PAGE_SIZE).look().memory);
}

/** What is compared while processes map one area, from what matters most. */
export const SHARED_AREA_KEYS = [
  "PageTables",
  "LowFree",
  "HighFree",
  "MemFree",
  "KernelStack",
  "Slab",
  "SUnreclaim",
  "Shmem",
  "Mapped",
  "AnonPages",
  "Committed_AS",
];

/** How the machine of a run of shared areas differs from its preset. */
export interface SharedAreaRun {
  readonly run: string;
  readonly settings: readonly string[];
}

/** The runs that can be had: those whose pages are small. Where a kernel was told so, its tables are in lowmem. */
export const sharedAreaRuns: readonly SharedAreaRun[] = [
  { run: "amd64-shm256-8G", settings: [] },
  { run: "pae61-shm256-8G-highpte", settings: [] },
  { run: "pae61-shm256-8G-nohigh", settings: ["pageTablePlacement=lowmem"] },
];

export interface SharedAreaComparison {
  readonly run: string;
  readonly processes: number;
  readonly compared: readonly Comparison[];
}

/** How much of a run is done. */
export interface SharedAreaEffort {
  /** Up to so many processes. */
  readonly processes: number;
  /** Children read the first page of each so many: up to the window of fault-around it makes no difference. */
  readonly stride: number;
}

/** One run, at each number of processes that was measured. */
export function compareSharedArea(
  { run, settings }: SharedAreaRun,
  table: readonly MeasuredRow[],
  { processes: most, stride }: SharedAreaEffort,
): SharedAreaComparison[] {
  const rows = table.filter((row) => row.run === run && Number(row.nproc) >= 0 && Number(row.nproc) <= most);
  const sizeBytes = Number(rows[0]?.file_mb) * 2 ** 20;
  const spec: MachineSpec = specOf(machineOf(run), "linux-6.1", settings);
  const area = new SharedArea(spec, sizeBytes, stride);
  area.fill();
  return rows.map((row) => {
    const processes = Number(row.nproc);
    area.growTo(processes);
    const { memory, pageTablesPages, sizePages } = area.look();
    const ofOne = [
      { key: "VmPTE", real: Number(row.vmpte_kb_per_proc), here: pageTablesPages * KIB_PER_PAGE },
      { key: "VmSize", real: Number(row.vmsize_kb), here: sizePages * KIB_PER_PAGE },
    ];
    return { run, processes, compared: [...(processes > 0 ? ofOne : []), ...compare(row, SHARED_AREA_KEYS, memory)] };
  });
}
