/**
 * Measures what the engine does a second, as ratios to a plain loop measured in the same run, because machines are shared
 * and noisy. `--json` for machines, `--smoke` for a quick run that only proves that everything still runs, `--write-baseline`
 * to keep today's ratios, `--check` to compare with them.
 */
import "../bin/inlining.js";
import { readFileSync, writeFileSync } from "node:fs";
import { benches, type Measurement } from "./all.ts";
import { referenceLoop } from "./reference.ts";

interface Result {
  name: string;
  /** The median of the rounds. */
  value: number;
  unit: string;
  low: number;
  high: number;
  /** `value` divided by the reference loop's accesses a second, as measured just before. */
  ratio: number;
}

interface Baseline {
  readonly schema: "bigmem.bench-baseline/1";
  /** By bench: its ratio to the reference loop, and how much of it may be lost before `--check` complains. */
  readonly ratios: Record<string, { ratio: number; tolerance: number }>;
}

/** A bench may lose this share of its ratio; more if its own rounds differ by more than half of it. */
const LEAST_TOLERANCE = 0.35;

const baselineFile = new URL("./baseline.json", import.meta.url);
const flags = new Set(process.argv.slice(2).filter((word) => word.startsWith("--")));
const only = process.argv.slice(2).filter((word) => !word.startsWith("--"));

/** Milliseconds of this thread's processor time: what neighbours on the machine take does not count. */
const processorTime = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};
const wallTime = (): number => performance.now();

const rounds = flags.has("--smoke") ? 1 : 3;
const size = flags.has("--smoke") ? "small" : "full";

const results: Result[] = [];
for (const bench of benches) {
  if (only.length > 0 && !only.some((name) => bench.name.includes(name))) continue;
  const now = bench.clock === "wall" ? wallTime : processorTime;
  const reference = median(repeat(3, () => referenceLoop(now)));
  const measured: Measurement[] = [];
  for (let round = 0; round < rounds; round++) {
    const measurement = await bench.measure(now, size);
    if (measurement === undefined) break;
    measured.push(measurement);
  }
  const [first] = measured;
  if (first === undefined) {
    process.stderr.write(`skipped: ${bench.name} ${bench.needs ?? ""}\n`);
    continue;
  }
  const values = measured.map((measurement) => measurement.value);
  const value = median(values);
  results.push({
    name: bench.name,
    value,
    unit: first.unit,
    low: Math.min(...values),
    high: Math.max(...values),
    ratio: value / reference,
  });
  if (!flags.has("--json")) process.stdout.write(`${line(results[results.length - 1] as Result)}\n`);
}

if (flags.has("--json")) process.stdout.write(`${JSON.stringify({ schema: "bigmem.bench/1", results }, null, 2)}\n`);
if (flags.has("--write-baseline")) writeBaseline(results);
if (flags.has("--check")) process.exitCode = compareWithBaseline(results);

function line({ name, value, unit, low, high, ratio }: Result): string {
  return `${name.padEnd(34)} ${short(value).padStart(9)} ${unit.padEnd(14)} (${short(low)} to ${short(high)}; ${ratio.toPrecision(3)} of the reference loop)`;
}

function short(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toPrecision(3)} G`;
  if (value >= 1e6) return `${(value / 1e6).toPrecision(3)} M`;
  if (value >= 1e3) return `${(value / 1e3).toPrecision(3)} k`;
  return value.toPrecision(3);
}

function writeBaseline(all: readonly Result[]): void {
  const ratios: Baseline["ratios"] = {};
  for (const { name, ratio, value, low } of all) {
    const tolerance = Math.max(LEAST_TOLERANCE, 2 * (1 - low / value));
    ratios[name] = { ratio: Number(ratio.toPrecision(3)), tolerance: Number(Math.min(tolerance, 0.9).toPrecision(2)) };
  }
  writeFileSync(
    baselineFile,
    `${JSON.stringify({ schema: "bigmem.bench-baseline/1", ratios } satisfies Baseline, null, 2)}\n`,
  );
}

function compareWithBaseline(all: readonly Result[]): number {
  const { ratios } = JSON.parse(readFileSync(baselineFile, "utf8")) as Baseline;
  let slower = 0;
  for (const { name, ratio } of all) {
    const expected = ratios[name];
    if (expected === undefined || ratio >= expected.ratio * (1 - expected.tolerance)) continue;
    process.stderr.write(`${name}: ${ratio.toPrecision(3)} of the reference loop; the baseline is ${expected.ratio}\n`);
    slower++;
  }
  return slower === 0 ? 0 : 1;
}

function repeat<T>(times: number, run: () => T): T[] {
  return Array.from({ length: times }, run);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}
