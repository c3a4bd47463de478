/**
 * How many processes that map one shared area fit before lowmem is gone, with page tables low and high: the case that
 * page tables in highmem were made for. The processes are counted one by one on the simulated machine; each has its
 * areas, its stack and all its page tables, but no entries in them, which cost no memory.
 */
import { bug, UsageError } from "../../base/errors.ts";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { meminfo } from "../../mm/meminfo.ts";
import { ZONE_HIGHMEM } from "../../mm/zone.ts";
import { specOf } from "../../presets.ts";
import { SharedArea } from "../memory/shared-area.ts";
import { type Experiment, type Row, steps, wholePages } from "./experiment.ts";

const placements = ["lowmem", "highmem"] as const;
type Placement = (typeof placements)[number];

export const highpteLowmem: Experiment = {
  name: "highpte-lowmem",
  claim:
    "The total size of process page tables can be very high, and systems become limited by the pool of lowmem that they come from; page tables in highmem lift that limit.",
  source: "Ingo Molnar, \"[patch] simpler 'highpte' design\", linux-kernel, February 2002",
  parameters: {
    processes: { text: "100..2000", about: "how many: FIRST..LAST in steps of FIRST, FIRST..LAST:STEP, or N,N,..." },
    size: { text: "512M", about: "the area that each of them maps, and reads all of" },
    machines: { text: "piii-4g,pae-8g,piii-xeon-64g", about: "machine presets, separated by commas" },
    "until-oom": { text: "no", about: "yes: goes on after the last number until memory is gone" },
  },
  published: [
    { what: "lowmem of a 3:1 split at most, bytes", value: 896 * 2 ** 20, source: "Linux 2.6.11, MAXMEM" },
    {
      what: "processes of 2 GiB whose tables fit 896 MiB, PAE (nothing else there)",
      value: 223,
      source: "arithmetic: 896 MiB / (1024 leaf tables + 3 + 1)",
    },
    {
      what: "lowmem of a process that maps 256 MiB, tables low, kB",
      value: 559.1,
      source: "Debian's 6.1 686-pae kernel, 8 GiB, 500 processes",
    },
    { what: "the same, tables high, kB", value: 31.4, source: "Debian's 6.1 686-pae kernel, 8 GiB, 500 processes" },
  ],
  plot: {
    x: "processes",
    y: "lowmemFreeBytes",
    line: ["machine", "placement"],
    xLabel: "processes that map the area",
    yLabel: "free lowmem (MiB)",
    yUnit: 2 ** 20,
  },

  run({ processes, size, machines, "until-oom": untilOom }) {
    const numbers = steps("processes", processes!);
    const areaBytes = addressOf(wholePages("size", size!));
    if (untilOom !== "yes" && untilOom !== "no") throw new UsageError(`--until-oom ${untilOom}: expected yes or no`);
    const rows: Row[] = [];
    for (const machine of machines!.split(",")) {
      for (const placement of placements) {
        rows.push(...series(machine, placement, areaBytes, numbers, untilOom === "yes"));
      }
    }
    return { rows, verdict: verdictOn(rows) };
  },
};

function series(
  machine: string,
  placement: Placement,
  areaBytes: number,
  numbers: readonly number[],
  goesOn: boolean,
): Row[] {
  const area = startArea(machine, placement, areaBytes);
  const rows: Row[] = [];
  const step = numbers.at(-1)! - (numbers.at(-2) ?? 0);
  const look = (outcome: "ok" | "oom") => rows.push(rowOf(area, machine, placement, areaBytes, outcome));
  for (let at = 0; at < numbers.length || goesOn; at++) {
    const target = numbers[at] ?? numbers.at(-1)! + (at - numbers.length + 1) * step;
    while (area.children.length < target) {
      if (area.tryStartChild()) continue;
      look("oom");
      return rows;
    }
    look("ok");
  }
  return rows;
}

function startArea(machine: string, placement: Placement, areaBytes: number): SharedArea {
  const spec = specOf(machine, undefined, [`pageTablePlacement=${placement}`]);
  if (spec.geometry.memoryBytes <= areaBytes) throw new UsageError(`--size: ${machine} has less memory than the area`);
  const area = new SharedArea(spec, areaBytes, "tables");
  area.fill();
  return area;
}

function rowOf(area: SharedArea, machine: string, placement: Placement, areaBytes: number, outcome: "ok" | "oom"): Row {
  const { kernel } = area.machine;
  const { zones } = kernel.allocator;
  const pageTables = meminfo(kernel).find(({ key }) => key === "PageTables") ?? bug("no PageTables");
  const free = (isHigh: boolean) =>
    zones.filter(({ kind }) => (kind === ZONE_HIGHMEM) === isHigh).reduce((sum, zone) => sum + zone.free, 0) *
    PAGE_SIZE;
  return {
    machine,
    placement,
    areaBytes,
    processes: area.children.length,
    pageTablesBytes: pageTables.pages * PAGE_SIZE,
    lowmemFreeBytes: free(false),
    highmemFreeBytes: free(true),
    outcome,
  };
}

function verdictOn(rows: readonly Row[]): string {
  const machines = [...new Set(rows.map(({ machine }) => machine))];
  return machines
    .map((machine) => {
      const fit = (placement: Placement) => {
        const own = rows.filter((row) => row.machine === machine && row.placement === placement);
        const last = own.at(-1)!;
        return last.outcome === "oom" ? `${last.processes} processes` : `more than ${last.processes} processes`;
      };
      return `On ${machine} ${fit("lowmem")} fit with page tables in lowmem, ${fit("highmem")} with page tables in highmem.`;
    })
    .join(" ");
}
