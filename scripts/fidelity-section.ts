/** The part of docs/fidelity.md on recordings: what samples/measured.json holds, beside what was predicted. */
import { readFileSync } from "node:fs";
import { causes } from "../src/lab/fidelity/causes.ts";
import { type ComparedProgram, compareCounts, comparisonRows } from "../src/lab/fidelity/compare-counts.ts";
import { type MeasuredProgram, measuredFileSchema } from "../src/lab/fidelity/measured.ts";

const METHOD = `A recording is replayed as the same program would have run natively, and compared with a native run on a real kernel.
\`bigmem check fidelity TRACE...\` does so for the samples; with \`--measure\` it runs the recorded command on the Linux
underneath.

- *Layout.* Recorders lay memory out in their own way. For the comparison the program's image goes to its native base, the
  dynamic linker, vvar and vdso and every later mapping go where the modelled kernel's own placement puts them without
  randomisation, and the break and the stack to their places. Addresses of accesses and calls move with their areas.
- *Page cache.* Every file is in memory, so that all faults are minor and are mapped around.
- *exec.* What the kernel itself touches before the first instruction is modelled: the pages of arguments, environment and
  auxiliary vector, and the page of each image where zeroes begin. Faults are counted from the first instruction on.
- *The real run* is traced: its faults from the first instruction to the end, and VmPTE and VmRSS read before each call that
  can free tables or pages. It has no randomised addresses, and its files are in memory too.

Minor faults are held to 1 %, and the greatest VmPTE must be exact; resident memory is shown. With several processes, faults
are those of all together, and memory is that of the largest.`;

const UNKNOWN = "What a recording cannot know, and what differs therefore:";

export function recordingParts(): string[] {
  const { kernel, how, programs } = measuredFileSchema.parse(JSON.parse(readFileSync("samples/measured.json", "utf8")));
  const rows = programs.flatMap((program) => comparisonRows(compared(program)));
  const table = [
    "| recording | measure | real | predicted | error | cause |",
    "|---|---|---:|---:|---:|---|",
    ...rows.map((cells) => `| ${cells.join(" | ")} |`),
  ];
  const commands = programs.map(
    ({ trace, command, made }) =>
      `- \`${trace}\`: \`${command}\`${made === undefined || made.length === 0 ? "" : ` (${made.join("; ")})`}`,
  );
  const named = Object.entries(causes).map(([name, sentence]) => `- *${name}*: ${sentence}.`);
  return [
    ["## Recordings against a real kernel", METHOD, table.join("\n")].join("\n\n"),
    [`Counted on ${kernel} by \`${how}\`.`, commands.join("\n"), UNKNOWN, named.join("\n")].join("\n\n"),
  ];
}

function compared({ trace, processes, predicted, causes: why, unmeasured }: MeasuredProgram): ComparedProgram {
  if (unmeasured !== undefined) return { trace, measures: [], causes: why, unmeasured };
  return { trace, measures: compareCounts(processes, predicted ?? []), causes: why };
}
