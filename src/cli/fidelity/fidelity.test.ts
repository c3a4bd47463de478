import { describe, expect, test } from "vitest";
import { compareCounts, errorOf, isWithin } from "../../lab/fidelity/compare-counts.ts";
import { predict } from "../../lab/fidelity/predict.ts";
import { specOf } from "../../presets.ts";
import { readMeasured } from "../commands/check-fidelity.ts";
import { traceInput } from "../sources.ts";
import { measure, missingForMeasuring, parseCounts } from "./measure.ts";

const samples = new URL("../../../samples/", import.meta.url).pathname;
const measured = readMeasured(`${samples}measured.json`);
const kept = ["sort.bmt", "python-fork.bmt"];

describe("samples against the real kernel", () => {
  test.each(measured.programs.filter(({ trace }) => kept.includes(trace)))(
    "$trace: faults within 1 %, page tables exact",
    async ({ trace, processes, predicted }) => {
      const now = await predict(traceInput(samples + trace), specOf("amd64-8g", "linux-6.18"), { version: "" });
      expect(now).toMatchObject({ differenceCount: 0, signalCount: 0 });
      expect(compareCounts(processes, now.processes).filter((each) => !isWithin(each))).toEqual([]);
      // What docs/fidelity.md says of it.
      expect(now.processes).toEqual(predicted);
    },
    60_000,
  );

  test("every program of the table is held to the same", () => {
    for (const { processes, predicted } of measured.programs) {
      if (predicted !== undefined) expect(compareCounts(processes, predicted).every(isWithin)).toBe(true);
    }
  });
});

describe("measuring", () => {
  const missing = missingForMeasuring();
  test.skipIf(missing !== undefined)(
    missing === undefined ? "counts what the kernel counted" : `skipped: needs ${missing}`,
    () => {
      const [shell, child] = measure(["/bin/sh", "-c", "(exit 3); exit 0"]);
      expect(shell.minorFaults).toBeGreaterThan(20);
      expect(shell.pageTablesBytes % 4096).toBe(0);
      expect(shell.pageTablesBytes).toBeGreaterThanOrEqual(7 * 4096);
      // A fork's child copies what it writes to, and maps the rest of what it touches again.
      expect(child.minorFaults).toBeGreaterThan(0);
      expect(child.minorFaults).toBeLessThan(shell.minorFaults);
    },
  );

  test("reads lines of counts among others", () => {
    const text = "55-66 r--p /bin/x\nprocess x minor 12 exec 3 major 1 vmpte 32 rss 100\n";
    expect(parseCounts(text)).toEqual([
      { name: "x", minorFaults: 12, majorFaults: 1, pageTablesBytes: 32768, residentBytes: 102400 },
    ]);
  });

  test("an error is a part of the real value", () => {
    const row = { name: "minor faults", real: 200, predicted: 199, tolerance: 0.01 };
    expect(errorOf(row)).toBe(-0.005);
    expect(isWithin(row)).toBe(true);
    expect(isWithin({ ...row, predicted: 197 })).toBe(false);
    expect(isWithin({ ...row, tolerance: 0 })).toBe(false);
  });
});
