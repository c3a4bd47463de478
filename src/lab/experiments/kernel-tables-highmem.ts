/**
 * What putting the kernel's own page tables into highmem would save: they are shared by all processes, so that their
 * size does not grow with them, while the users' tables do.
 */
import { PAGE_SIZE } from "../../base/units.ts";
import { pageOffsetOf } from "../../geometry.ts";
import { pagingFormats } from "../../hw/paging-format.ts";
import { kernelWindows } from "../../mm/kmap/windows.ts";
import { OWNER_PAGE_TABLES } from "../../mm/zone.ts";
import { specOf } from "../../presets.ts";
import { SharedArea } from "../memory/shared-area.ts";
import { type Experiment, type Row, steps } from "./experiment.ts";

const AREA_BYTES = 256 * 2 ** 20;

export const kernelTablesHighmem: Experiment = {
  name: "kernel-tables-highmem",
  claim:
    "The kernel's page tables are shared by every process in the system, so there is no point in putting them into highmem.",
  source: "Ingo Molnar, \"[patch] simpler 'highpte' design\", linux-kernel, February 2002",
  parameters: {
    processes: { text: "1,10,100,1000", about: "processes that map an area of 256 MiB" },
    machine: { text: "piii-xeon-64g", about: "a 32-bit machine preset" },
  },
  published: [
    {
      what: "lowmem that kernel tables in highmem save with each process",
      value: 0,
      source: 'the same mail: "no point"',
    },
  ],
  plot: {
    x: "processes",
    y: "userLeafTablesBytes",
    line: ["machine"],
    xLabel: "processes",
    yLabel: "users' leaf tables (MiB)",
    yUnit: 2 ** 20,
  },

  run({ processes, machine }) {
    const numbers = steps("processes", processes!);
    const spec = specOf(machine!, undefined, ["pageTablePlacement=highmem"]);
    const format = pagingFormats[spec.geometry.paging];
    const tablePages = 1 << format.indexBits;
    const area = new SharedArea(spec, AREA_BYTES, "tables");
    area.fill();
    const { kernel } = area.machine;
    const lowmemBytes = kernel.atomicMaps.highmemFrom * PAGE_SIZE;
    const windows = kernelWindows({
      pageOffset: pageOffsetOf(spec.geometry),
      lowmemBytes,
      tablePages,
      cpus: spec.geometry.cpus,
    });
    // Lowmem is mapped by large pages; what has leaf tables is vmalloc, kmap's pool and the fixmap.
    const windowBytes = 2 ** 32 - windows.vmallocStart;
    const kernelLeafTablesBytes = Math.ceil(windowBytes / (tablePages * PAGE_SIZE)) * PAGE_SIZE;
    const rows: Row[] = numbers.map((number) => {
      area.growTo(number);
      const tables = kernel.allocator.ownedBy(OWNER_PAGE_TABLES) * PAGE_SIZE;
      const leaves = [...kernel.spaces].reduce((sum, mm) => sum + mm.tablesByLevel[1]!, 0) * PAGE_SIZE;
      return {
        machine: machine!,
        processes: number,
        kernelLeafTablesBytes,
        userLeafTablesBytes: leaves,
        upperTablesBytes: tables - leaves,
        kernelSharePercent: (100 * kernelLeafTablesBytes) / (kernelLeafTablesBytes + leaves),
      };
    });
    const last = rows.at(-1)!;
    const share = Number(last.kernelSharePercent).toFixed(2);
    return {
      rows,
      verdict: `The kernel's leaf tables take ${kernelLeafTablesBytes / 1024} KiB however many processes there are: ${share} % of all leaf tables with ${last.processes} processes. In highmem they would gain nothing.`,
    };
  },
};
