/** The page of experiments: what each claims, who says so, which numbers were published, and what can be changed. */
import type { Experiment } from "../src/lab/experiments/experiment.ts";
import { experiments } from "../src/lab/experiments/experiments.ts";

export const experimentParts = (): string[] => experiments.map(experimentPart);

function experimentPart({ name, claim, source, parameters, published }: Experiment): string {
  const numbers = published.map(({ what, value, source: from }) => `| ${what} | ${shown(value)} | ${from} |`);
  const options = Object.entries(parameters).map(
    ([key, { text, about }]) => `| \`--${key}\` | \`${text}\` | ${about} |`,
  );
  return [
    `## ${name}`,
    "",
    `> ${claim}`,
    "",
    `${source}.`,
    "",
    "| published | | by |",
    "|---|---|---|",
    ...numbers,
    "",
    "| parameter | default | |",
    "|---|---|---|",
    ...options,
  ].join("\n");
}

const shown = (value: string | number): string =>
  typeof value === "number" && Number.isInteger(value) ? value.toLocaleString("en-US") : String(value);
