/**
 * A process that has given back all but one page of a gigabyte, and what its kernel still keeps of the page tables. 2.4
 * frees by spans of a top-level entry, which PAE makes 256 times as large as those of two levels.
 */
import { ENOMEM } from "../../base/errno.ts";
import { UsageError } from "../../base/errors.ts";
import { parseSize } from "../../base/size-text.ts";
import { addressOf, PAGE_SIZE, pageOf, type Vaddr } from "../../base/units.ts";
import { STORE } from "../../hw/access.ts";
import { Machine } from "../../machine.ts";
import { LEAF } from "../../mm/page-table.ts";
import type { TableFreeingName } from "../../mm/tables/freeing.ts";
import { specOf } from "../../presets.ts";
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { needed, neededCall } from "../memory/load.ts";
import { tryTouchPages } from "../memory/static-program.ts";
import type { Experiment, Row, Step } from "./experiment.ts";

const freeings = ["spans", "pmd-ranges", "when-empty"] as const satisfies readonly TableFreeingName[];
/** At the start of a span, however large. */
const AREA: Vaddr = 2 ** 30;

export const hoard: Experiment = {
  name: "hoard",
  claim:
    "2.4 frees page tables only in whole spans of a top-level entry that no area is left in: with PAE a process keeps all the tables of a gigabyte while one page of it is mapped.",
  source: "linux-2.4.22 mm/mmap.c free_pgtables; linux-2.6.11 mm/memory.c clear_page_range",
  parameters: {
    size: { text: "1G", about: "mapped and touched; then all but its first page is unmapped" },
    machines: { text: "nonpae-3g,piii-4g", about: "machine presets, separated by commas" },
  },
  published: [
    { what: "leaf tables left, PAE, spans (2.4)", value: 512, source: "arithmetic" },
    { what: "the same, ranges of the second level (2.6.11)", value: 1, source: "arithmetic" },
    { what: "the same, two levels", value: 1, source: "arithmetic" },
  ],
  plot: {
    x: "touchedPages",
    y: "leafTablesLeft",
    line: ["machine", "pageTableFreeing"],
    xLabel: "pages touched",
    yLabel: "leaf tables left",
    yUnit: 1,
  },

  run({ size, machines }, step) {
    const bytes = parseSize(size!);
    if (bytes < 2 * PAGE_SIZE || bytes > 2 ** 30 || bytes % PAGE_SIZE !== 0)
      throw new UsageError(`--size ${size}: expected whole pages, two or more, 1G at most`);
    const rows = machines!
      .split(",")
      .flatMap((machine) => freeings.map((freeing) => load(machine, freeing, bytes, step)));
    return { rows, verdict: verdictOn(rows) };
  },
};

function load(name: string, freeing: TableFreeingName, bytes: number, step: Step): Row {
  step(`${name}, ${freeing}`);
  const settings = ["geometry.cpus=1", "tunables.overcommitMode=1", `pageTableFreeing=${freeing}`];
  const machine = new Machine(specOf(name, "linux-2.6.11", settings));
  const thread = machine.spawn("hoarder").threads[0]!;
  const pages = bytes / PAGE_SIZE;
  const args = [AREA, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0];
  neededCall(machine, thread, "mmap", args);
  needed(tryTouchPages(machine, thread, pageOf(AREA), pages, STORE) ? 0 : -ENOMEM, "the pages");
  const { mm } = thread;
  const had = mm.tablesByLevel[LEAF]!;
  neededCall(machine, thread, "munmap", [AREA + PAGE_SIZE, bytes - PAGE_SIZE]);
  const left = mm.tablesByLevel[LEAF]!;
  const residentPages = mm.residentPages;
  neededCall(machine, thread, "munmap", [AREA, PAGE_SIZE]);
  const { tables } = machine.kernel;
  return {
    machine: name,
    pageTableFreeing: freeing,
    topSpanBytes: addressOf(tables.span(tables.levels - 1)),
    touchedPages: pages,
    leafTables: had,
    pagesLeft: residentPages,
    leafTablesLeft: left,
    leafTablesLeftBytes: left * PAGE_SIZE,
    leafTablesAtLast: mm.tablesByLevel[LEAF]!,
  };
}

function verdictOn(rows: readonly Row[]): string {
  const names = [...new Set(rows.map(({ machine }) => machine))];
  return names
    .map((name) => {
      const left = (freeing: TableFreeingName) =>
        rows.find((row) => row.machine === name && row.pageTableFreeing === freeing)!.leafTablesLeft;
      return `For one page left, ${name} keeps ${left("spans")} leaf tables where spans are freed, ${left("pmd-ranges")} where ranges of the second level are, ${left("when-empty")} where empty tables go.`;
    })
    .join(" ");
}
