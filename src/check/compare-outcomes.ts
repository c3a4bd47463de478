/**
 * Two kernels' answers to one program, line by line. What a model does not decide is set aside on both sides: the
 * soft-dirty flag, a file's `blocks=`, and the fault counts of `mlockall`, which walks the executor's own image.
 */
export interface Outcome {
  readonly name: string;
  /** The lines between `prog NAME` and `end`. */
  readonly lines: readonly string[];
}

/** Which build of the kernel gave the expected outcomes. */
export type OutcomeFormat = "x86-64" | "pae" | "i386";

export interface Difference {
  /** Index into the lines. */
  readonly at: number;
  readonly expected: string | undefined;
  readonly found: string | undefined;
}

/** Splits the text of many outcomes. */
export function parseOutcomes(text: string): Map<string, Outcome> {
  const outcomes = new Map<string, Outcome>();
  let name: string | undefined;
  let lines: string[] = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("prog ")) {
      name = line.slice("prog ".length);
      lines = [];
    } else if (line === "end" && name !== undefined) {
      outcomes.set(name, { name, lines });
      name = undefined;
    } else if (name !== undefined) {
      lines.push(line);
    }
  }
  return outcomes;
}

export function formatOutcome(outcome: Outcome): string {
  return `prog ${outcome.name}\n${outcome.lines.map((line) => `${line}\n`).join("")}end\n`;
}

/** Every line in which they differ, first difference first. */
export function compareOutcomes(expected: Outcome, found: Outcome, format: OutcomeFormat): Difference[] {
  const differences: Difference[] = [];
  const count = Math.max(expected.lines.length, found.lines.length);
  for (let at = 0; at < count; at++) {
    const want = expected.lines[at];
    const have = found.lines[at];
    if (want === have) continue;
    if (want === undefined || have === undefined || comparable(want, format) !== comparable(have, format)) {
      differences.push({ at, expected: want, found: have });
    }
  }
  return differences;
}

/** A line without what is set aside. */
export function comparable(line: string, format: OutcomeFormat): string {
  if (/^P\d vma /.test(line)) return line.replace(/ sd(?=[ \]])/, "").replace(/\[sd ?/, "[");
  if (line.startsWith("F")) return line.replace(/ blocks=\d+/, "");
  if (/^\d+ P\d mlockall /.test(line)) return line.replace(/ mf=\d+,\d+$/, "");
  // The recorded PAE kernel ran under an emulator that does not enforce NX.
  if (format !== "x86-64" && /^\d+ P\d x /.test(line)) return line.replace(/ x .*/, " x");
  return line;
}

/** What kind of line this is: an operation's name, or `vma`, `pg`, `mem`, `end`, `file`. */
export function kindOf(line: string): string {
  const words = line.split(" ");
  if (/^\d+$/.test(words[0]!)) return words[2] ?? "?";
  return words[0]!.startsWith("F") ? "file" : (words[1] ?? "?");
}
