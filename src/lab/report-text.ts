/** A report as a table for people (designs in columns, measures in rows) and as CSV for machines (one row a run). */
import { formatSize } from "../base/size-text.ts";
import { formatCount, formatMeasure, type Measure, measures } from "./measures.ts";
import { type AbiBreaks, type CompletedRun, isCompleted, type Report, type Run } from "./report.ts";

export interface TableOptions {
  /** "exact": whole numbers instead of three significant digits. */
  readonly numbers: "short" | "exact";
}

/** The table, what it rests on, and what each run has to say beside its numbers. */
export function reportTable(report: Report, options: TableOptions = { numbers: "short" }): string {
  const { runs } = report;
  const names = runs.map((run) => run.name.split(/, |\n/));
  const rows = shownMeasures(runs).map((measure) => [
    options.numbers === "exact" ? `${measure.name} (${measure.unit})` : measure.name,
    ...runs.map((run) =>
      isCompleted(run) ? formatMeasure(measure.of(run), measure.unit, options.numbers) : run.outcome.status,
    ),
  ]);
  const heads = Array.from({ length: Math.max(...names.map((lines) => lines.length)) }, (_, line) => [
    "",
    ...names.map((lines) => lines[line] ?? ""),
  ]);
  const widths = [...heads, ...rows].reduce<number[]>(
    (most, row) => row.map((cell, i) => Math.max(cell.length, most[i] ?? 0)),
    [],
  );
  const line = (row: string[]): string =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join("  ")
      .trimEnd();
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  return [...heads.map(line), rule, ...rows.map(line), "", ...remarks(report)].join("\n").concat("\n");
}

/** Measures that say something of some run. */
function shownMeasures(runs: readonly Run[]): Measure[] {
  const completed = runs.filter(isCompleted);
  return measures.filter(({ of, tells = (run) => (of(run) ?? 0) !== 0 }) => completed.some(tells));
}

function remarks(report: Report): string[] {
  const lines: string[] = [];
  const completed = report.runs.filter(isCompleted);
  const first = completed[0];
  if (first !== undefined) {
    const { trace, bigmem, seed } = first.spec;
    lines.push(`Trace ${trace.name} (${trace.hash}), bigmem ${bigmem}, seed ${seed}.`);
    lines.push("Memory is at the peak of page-table bytes. Events are counted exactly.");
    for (const restsOn of new Set(completed.map((run) => run.estimated.restsOn))) {
      lines.push(`Cycles are estimated: ${restsOn}.`);
    }
  }
  // What several runs have to say is said once, with their names.
  const saidBy = new Map<string, string[]>();
  for (const run of report.runs) {
    const sentences = isCompleted(run) ? runRemarks(run) : [`${run.outcome.status}: ${run.outcome.reason}`];
    for (const sentence of sentences) saidBy.set(sentence, [...(saidBy.get(sentence) ?? []), run.name]);
  }
  for (const [sentence, names] of saidBy) {
    lines.push(names.length === report.runs.length ? sentence : `${names.join("; ")}: ${sentence}`);
  }
  return lines;
}

const SHOWN = 3;

/** What a reader must know of one run to trust its numbers. */
export function runRemarks(run: CompletedRun): string[] {
  const { outcome } = run;
  const lines: string[] = [];
  if (outcome.rebased !== null) lines.push(outcome.rebased.sentence);
  if (!outcome.absorption.identical) lines.push(outcome.absorption.sentence);
  for (const { signal, why, address, process, record } of outcome.signals.slice(0, SHOWN)) {
    const where = address === null ? "" : ` at 0x${address.toString(16)}`;
    lines.push(`process ${process} got ${signal} (${why})${where}, record ${record}`);
  }
  if (outcome.signalCount > SHOWN) lines.push(`${outcome.signalCount} signals in all`);
  if (outcome.skippedAccesses > 0)
    lines.push(`${outcome.skippedAccesses} accesses of tasks that had ended were left out`);
  if (outcome.abiBreaks !== undefined) lines.push(brokenAbi(outcome.abiBreaks));
  if (outcome.differenceCount > 0) {
    const { differenceCount, calls } = outcome;
    lines.push(
      `${differenceCount} calls, forks or images ended otherwise than in the recording, which has ${calls} calls`,
    );
    for (const { call, recorded, here, record } of outcome.differences.slice(0, SHOWN)) {
      lines.push(`  record ${record}: ${call}: recorded ${recorded}, here ${here}`);
    }
  }
  return lines;
}

/** With pages of another size the program is not one that this kernel could run. */
export function brokenAbi({ pageBytes, count, placesOfKernel, first }: AbiBreaks): string {
  const others = placesOfKernel === 0 ? "" : `; ${placesOfKernel} more where the recorded kernel had chosen`;
  return (
    `ABI break: ${count} calls name what is no place of a page of ${formatSize(pageBytes)}${others}; ` +
    `the first at record ${first.record}, ${first.call}: recorded ${first.recorded}, here ${first.here}`
  );
}

/** What the runs took on the host, apart from everything simulated; "" where nobody measured. */
export function hostText(report: Report): string {
  return report.runs
    .filter(isCompleted)
    .flatMap(({ name, host }) =>
      host === undefined
        ? []
        : [
            `${name}: host ${host.seconds.toFixed(2)} s, ${formatCount(host.accessesPerSecond)} accesses/s, ` +
              `${formatCount(host.recordsPerSecond)} records/s, ${formatSize(host.peakRssBytes)}\n`,
          ],
    )
    .join("");
}

/** One row a run; the columns are the same for every report. */
export function reportCsv(report: Report): string {
  const heads = ["name", "status", "reason", "trace", "traceHash", "bigmem", "kernel", "paging", "memoryBytes", "seed"];
  const keys = measures.map(({ key }) => key);
  const hosts = ["hostSeconds", "hostPeakRssBytes"];
  const rows = report.runs.map((run) => {
    if (!isCompleted(run)) {
      return [
        run.name,
        run.outcome.status,
        run.outcome.reason,
        ...new Array(heads.length - 3 + keys.length + 2).fill(""),
      ];
    }
    const { spec, host } = run;
    return [
      run.name,
      "done",
      "",
      spec.trace.name,
      spec.trace.hash,
      spec.bigmem,
      spec.kernel,
      spec.geometry.paging,
      spec.geometry.memoryBytes,
      spec.seed,
      ...measures.map((measure) => measure.of(run) ?? ""),
      host?.seconds ?? "",
      host?.peakRssBytes ?? "",
    ];
  });
  return [[...heads, ...keys, ...hosts], ...rows].map((row) => row.map(csvCell).join(",").concat("\n")).join("");
}

function csvCell(value: unknown): string {
  const text = String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
