import { expect, test } from "vitest";
import { Machine } from "../machine.ts";
import { meminfo } from "../mm/meminfo.ts";
import { specOf } from "../presets.ts";
import { meminfoReport, meminfoSchema } from "./meminfo-report.ts";

test("has every line of /proc/meminfo in bytes, keeps to its schema, and names its machine", () => {
  const machine = new Machine(specOf("pae-8g"));
  const report = meminfoReport(machine.spec, "0.0.0", meminfo(machine.kernel));
  expect(meminfoSchema.parse(JSON.parse(JSON.stringify(report)))).toEqual(report);
  expect(report.memory.HighTotalBytes).toBe(7_487_368 * 1024);
  expect(Object.keys(report.memory)).toHaveLength(meminfo(machine.kernel).length);
});
