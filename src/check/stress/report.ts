/** The matrix of kernels as its author printed it: five ways to have highmem across, CPUs and preemption down. */
import { highmemVariants } from "./kernels.ts";
import type { Stressed } from "./stress.ts";

const measures = [
  ["operations", ({ operations }: Stressed) => operations],
  ["faults", ({ faults }: Stressed) => faults],
  ["forks", ({ forks }: Stressed) => forks],
  ["switches", ({ switches }: Stressed) => switches],
  ["interrupts", ({ interrupts }: Stressed) => interrupts],
  ["audits passed", ({ audits }: Stressed) => audits],
] as const;

const LABEL = 18;
const COLUMN = 14;

/** The table of what ran clean, then the same cells with what each kernel did. */
export function formatMatrix(results: readonly Stressed[]): string {
  const rows = [...new Set(results.map(({ kernel }) => kernel.row))];
  const names = highmemVariants.map(({ name }) => name);
  const cell = (row: string, name: string) =>
    results.find(({ kernel }) => kernel.row === row && kernel.highmem.name === name);
  const line = (label: string, cells: readonly string[]) =>
    `${label.padEnd(LABEL)}${cells.map((text) => text.padStart(COLUMN)).join("")}\n`;

  let text = line("", names);
  for (const row of rows)
    text += line(
      row,
      names.map((name) => (cell(row, name) === undefined ? "-" : "x")),
    );
  for (const [measure, of] of measures) {
    text += `\n${line(measure, names)}`;
    for (const row of rows) {
      const cells = names.map((name) => {
        const stressed = cell(row, name);
        return stressed === undefined ? "-" : of(stressed).toLocaleString("en-US");
      });
      text += line(row, cells);
    }
  }
  const orders = [...new Set(results.flatMap(({ lockOrders }) => lockOrders))].sort();
  return `${text}\nlock orders seen, no circle among them:\n${orders.map((order) => `  ${order}\n`).join("")}`;
}
