/**
 * A count of entries for each leaf table, so that it goes with the last: the proposal of May 2002 and its own author's
 * verdict, put to the test. What it frees, beside what areas alone tell, and beside tables of files that are discarded
 * under pressure, on the case that it was proposed for and on address spaces that give memory back.
 */
import { UsageError } from "../../base/errors.ts";
import { parseSize } from "../../base/size-text.ts";
import { PAGE_SIZE } from "../../base/units.ts";
import { Machine } from "../../machine.ts";
import { CountedEntries } from "../../mm/tables/counted-entries.ts";
import { type MachineSpec, specOf } from "../../presets.ts";
import { discardAll, leafTables, settingsOf, type TableChoice, tableChoices } from "../memory/leaf-tables.ts";
import { type LoadName, loadNames, type Sizes, TableLoad } from "../memory/table-load.ts";
import { type Experiment, type Row, wholeNumber } from "./experiment.ts";

export const pteCount: Experiment = {
  name: "pte-count",
  claim:
    "You could just keep a pte count around, and when it goes to zero you zap the pmd. However, this won't actually help in real life, and it does add complexity.",
  source:
    'Linus Torvalds, "Re: Have the 2.4 kernel memory management problems on large machines", linux-kernel, May 2002',
  parameters: {
    processes: { text: "100", about: "processes of each load" },
    segment: { text: "8M", about: "what the processes of the load `shared` have touched all of" },
    spans: {
      text: "64",
      about: "leaf tables of each process of the other loads, which touch a page in the span of each",
    },
    machine: { text: "piii-4g", about: "a machine preset" },
    memory: { text: "17M", about: "memory of the machine on which processes are started until no more fit" },
    "at-most": { text: "150", about: "processes after which no more are started" },
  },
  published: [
    { what: "tables that a count frees in the central case", value: 0, source: "arithmetic: every entry is live" },
    {
      what: "page tables of files can be discarded when space is short",
      value: "yes",
      source: "Alan Cox in the same thread; nobody had built it",
    },
  ],
  plot: {
    x: "leafTables",
    y: "leafTablesLeft",
    line: ["load", "pageTableFreeing", "pageTableDiscard"],
    xLabel: "leaf tables while all pages are in use",
    yLabel: "leaf tables once they are given back",
    yUnit: 1,
  },

  run({ processes, segment, spans, machine, memory, "at-most": atMost }, step) {
    const count = wholeNumber("processes", processes!, 1);
    const most = wholeNumber("at-most", atMost!, 1);
    const bytes = parseSize(segment!);
    if (bytes < PAGE_SIZE || bytes > 2 ** 30 || bytes % PAGE_SIZE !== 0)
      throw new UsageError(`--segment ${segment}: expected whole pages, 1G at most`);
    const sizes = { segment: bytes / PAGE_SIZE, spans: wholeNumber("spans", spans!, 1) };
    if (sizes.spans > 512) throw new UsageError(`--spans ${spans}: expected 512 at most`);
    const specs = (choice: TableChoice) => {
      const settings = ["geometry.cpus=1", "tunables.overcommitMode=1", ...settingsOf(choice)];
      return {
        roomy: specOf(machine!, "linux-2.6.11", settings),
        tight: specOf(machine!, "linux-2.6.11", [...settings, `geometry.memory=${memory}`]),
      };
    };
    const rows = loadNames.flatMap((load) =>
      tableChoices.map((choice): Row => {
        const { roomy, tight } = specs(choice);
        step(`${load}, ${choice.pageTableFreeing}, ${choice.pageTableDiscard}`);
        const seen = look(roomy, load, sizes, count);
        const fit = processesThatFit(tight, load, sizes, most);
        return { load, ...choice, processes: count, ...seen, processesThatFit: fit };
      }),
    );
    return { rows, verdict: verdictOn(rows) };
  },
};

/** The processes run, give back what the load gives back, are short of memory, and use their pages again. */
function look(spec: MachineSpec, name: LoadName, sizes: Sizes, processes: number) {
  const machine = new Machine(spec);
  const { counters, entries } = machine.kernel;
  const load = new TableLoad(machine, name, sizes);
  for (let at = 0; at < processes; at++) load.start();
  const had = leafTables(machine);
  load.giveBack();
  const left = leafTables(machine);
  const { entriesScanned } = discardAll(machine);
  const afterShortage = leafTables(machine);
  const faults = () => counters.minorFaults + counters.majorFaults;
  const before = faults();
  load.useAgain();
  return {
    leafTables: had,
    leafTablesLeft: left,
    tablesFreedEmpty: counters.tablesFreedEmpty,
    afterShortage,
    tablesDiscarded: machine.kernel.tableDiscard.costs.tablesDiscarded,
    entriesLookedAt: entries instanceof CountedEntries ? entries.looks : 0,
    entriesScanned,
    faultsAgain: faults() - before,
  };
}

/** Processes that can be started, each of which touches its pages and gives back what the load gives back. */
function processesThatFit(spec: MachineSpec, name: LoadName, sizes: Sizes, most: number): number {
  const load = new TableLoad(new Machine(spec), name, sizes);
  let started = 0;
  while (started < most && load.tryStartAlone()) started++;
  return started;
}

function verdictOn(rows: readonly Row[]): string {
  const of = (load: LoadName, freeing: string, discard = "none"): Row =>
    rows.find((row) => row.load === load && row.pageTableFreeing === freeing && row.pageTableDiscard === discard)!;
  const plain = of("shared", "pmd-ranges");
  const counted = of("shared", "when-empty");
  const aged = of("shared", "pmd-ranges", "age");
  const given = loadNames
    .filter((load) => load !== "shared")
    .map((load) => `${of(load, "pmd-ranges").leafTablesLeft} to ${of(load, "when-empty").leafTablesLeft} (${load})`);
  const fit = (row: Row): number => Number(row.processesThatFit);
  const helps = fit(counted) > fit(plain) ? " because reclaim empties tables of those who wait" : "";
  return [
    `In the central case a count frees ${counted.tablesFreedEmpty} of ${counted.leafTables} tables while all is in use, for ${counted.entriesLookedAt} entries looked at as they were written; on the small machine ${fit(counted)} processes fit instead of ${fit(plain)}${helps}.`,
    `Discarding by age leaves ${aged.afterShortage} tables there, for ${aged.entriesScanned} entries read and ${aged.faultsAgain} faults if all is used again: ${fit(aged)} processes fit, ${fit(of("shared", "pmd-ranges", "scan"))} by scanning.`,
    `Where address spaces are sparse and give pages back, what is left falls with a count from ${given.join(", ")}, and ${fit(of("dontneed", "when-empty"))} processes fit instead of ${fit(of("dontneed", "pmd-ranges"))} that use MADV_DONTNEED.`,
  ].join(" ");
}
