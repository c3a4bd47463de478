/** How every verb that runs a trace prints what came of it: --json, --csv, --bytes, -q, -o. */
import type { Command } from "commander";
import { UsageError } from "../base/errors.ts";
import type { Report } from "../lab/report.ts";
import { hostText, reportCsv, reportTable } from "../lab/report-text.ts";
import type { HostMeter, RunOptions } from "../lab/run.ts";
import { writeResult } from "./files.ts";
import { memoryGuard } from "./host-memory.ts";
import { Progress } from "./progress.ts";
import { version } from "./version.ts";

export interface ReportOptions {
  json?: true;
  csv?: true;
  bytes?: true;
  quiet?: true;
  output?: string;
  hostMemory?: string;
}

/** Adds the flags to a verb. */
export function withReport(command: Command): Command {
  return command
    .option("--json", "the whole report as JSON (schema: docs/schemas/report.json)")
    .option("--csv", "one row a run")
    .option("--bytes", "whole numbers instead of three significant digits")
    .option("-o, --output <FILE>", "write the result to a file")
    .option(
      "--host-memory <SIZE>",
      "stop when the run takes more of this machine's memory; by default most of what it has",
    )
    .option("-q, --quiet", "no progress, no remarks about the host");
}

export function printReport(report: Report, { json, csv, bytes, quiet, output }: ReportOptions): void {
  if (json === true && csv === true) throw new UsageError("--json and --csv: one of them");
  if (json === true) writeResult(output, `${JSON.stringify(report, null, 2)}\n`);
  else if (csv === true) writeResult(output, reportCsv(report));
  else {
    writeResult(output, reportTable(report, { numbers: bytes === true ? "exact" : "short" }));
    if (quiet !== true) process.stderr.write(hostText(report));
  }
}

const host: HostMeter = {
  seconds: () => performance.now() / 1000,
  peakRssBytes: () => process.resourceUsage().maxRSS * 1024,
};

/** What a run needs of the host: its clock, and a line of progress. `total` is in records, 0 if unknown. */
export function runOptions(
  what: string,
  total: number,
  { quiet, hostMemory }: ReportOptions,
): RunOptions & { readonly end: () => void } {
  const progress = new Progress(what, total, quiet === true);
  const guard = memoryGuard(hostMemory);
  return {
    version,
    host,
    progress: (records) => {
      guard();
      progress.update(records);
    },
    end: () => progress.end(),
  };
}
