/** An experiment's result for people, and as CSV for machines. */
import { formatSize } from "../../base/size-text.ts";
import type { Experiment, ExperimentResult, Published, Value } from "./experiment.ts";

/** Everything about an experiment but its rows. */
export function describeExperiment({ name, claim, source, parameters, published }: Experiment): string {
  const options = Object.entries(parameters).map(([key, { text, about }]) => `    --${key} ${text}    ${about}`);
  return [
    `${name}`,
    `  Claim: ${claim}`,
    `  Source: ${source}`,
    ...publishedLines(published, "  "),
    "  Parameters:",
    ...options,
  ].join("\n");
}

export function experimentTable(result: ExperimentResult, numbers: "short" | "exact"): string {
  const columns = Object.keys(result.rows[0] ?? {});
  const cells = [
    columns.map(heading),
    ...result.rows.map((row) => columns.map((key) => cell(key, row[key]!, numbers))),
  ];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => line[at]!.length)));
  const table = cells.map((line) => line.map((text, at) => text.padStart(widths[at]!)).join("  "));
  return [
    `Claim: ${result.claim}`,
    `Source: ${result.source}`,
    "",
    ...table,
    "",
    ...publishedLines(result.published, ""),
    ...(result.published.length > 0 ? [""] : []),
    `Verdict: ${result.verdict}`,
    "",
  ].join("\n");
}

/** The numbers of others under a heading; nothing where there are none. */
function publishedLines(published: readonly Published[], indent: string): string[] {
  if (published.length === 0) return [];
  return [
    `${indent}Published:`,
    ...published.map(({ what, value, source }) => `${indent}  ${what}: ${value} (${source})`),
  ];
}

export function experimentCsv({ rows }: ExperimentResult): string {
  const columns = Object.keys(rows[0] ?? {});
  const lines = rows.map((row) => columns.map((key) => quoted(row[key]!)).join(","));
  return `${[columns.join(","), ...lines].join("\n")}\n`;
}

const quoted = (value: Value): string => {
  const text = String(value);
  return /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
};

/** "lowmemFreeBytes" as "lowmem free". */
const heading = (key: string): string =>
  key
    .replace(/Bytes$/, "")
    .replace(/([A-Z])/g, " $1")
    .toLowerCase();

function cell(key: string, value: Value, numbers: "short" | "exact"): string {
  if (typeof value === "string") return value;
  if (numbers === "exact") return String(value);
  if (key.endsWith("Bytes")) return formatSize(value);
  return Number.isInteger(value) ? value.toLocaleString("en-US") : value.toPrecision(3);
}
