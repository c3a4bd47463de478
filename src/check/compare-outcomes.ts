/**
 * Two kernels' answers to one program, line by line. What a model does not decide is set aside on both sides, by name.
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

/** What is set aside when outcomes are compared, and why. */
export interface SetAside {
  readonly name: string;
  readonly reason: string;
  /** Which builds' outcomes it concerns. */
  readonly formats: readonly OutcomeFormat[];
  /** A line without it; the same line if it is not there. */
  readonly strip: (line: string) => string;
}

const EVERY_FORMAT: readonly OutcomeFormat[] = ["x86-64", "pae", "i386"];

export const setAsides: readonly SetAside[] = [
  {
    name: "soft-dirty flag",
    reason: "builds of one kernel differ: CONFIG_MEM_SOFT_DIRTY puts `sd` on every area that nobody cleared it from",
    formats: EVERY_FORMAT,
    strip: (line) => (/^P\d vma /.test(line) ? line.replace(/ sd(?=[ \]])/, "").replace(/\[sd ?/, "[") : line),
  },
  {
    name: "file blocks",
    reason: "what a file occupies on its file system is the file system's affair",
    formats: EVERY_FORMAT,
    strip: (line) => (line.startsWith("F") ? line.replace(/ blocks=\d+/, "") : line),
  },
  {
    name: "faults of mlockall",
    reason: "it walks the executor's own image, of which only a likeness is here",
    formats: EVERY_FORMAT,
    strip: (line) => (/^\d+ P\d mlockall /.test(line) ? line.replace(/ mf=\d+,\d+$/, "") : line),
  },
  {
    name: "execution on 32 bits",
    reason: "the recorded kernel ran under an emulator that does not enforce NX",
    formats: ["pae", "i386"],
    strip: (line) => (/^\d+ P\d x /.test(line) ? line.replace(/ x .*/, " x") : line),
  },
];

/** A line without what is set aside. */
export const comparable = (line: string, format: OutcomeFormat): string =>
  setAsides.reduce((rest, { formats, strip }) => (formats.includes(format) ? strip(rest) : rest), line);

const MINCORE = /^\d+ P\d mincore [01]+$/;

/**
 * A line without what depends on pages that came along with others, as they do where the kernel's own pages are large: how many
 * faults it took, what is resident, and whether a page was there that an access was not allowed to.
 */
export const withoutNeighbours = (line: string): string =>
  line
    .replace(/ mf=\d+,\d+$/, "")
    .replace(/ (rss|pss|sc|sd|pc|pd|an|swap|blocks|lck)=\d+/g, "")
    .replace(/ err=(\d+)$/, (_, error) => ` err=${Number(error) & ~1}`)
    .replace(/^(P\d pg ).*/, "$1")
    .replace(MINCORE, (all) => all.replace(/[01]+$/, "?"));

/** Whether mincore's answer `found` has every page that `expected` has. */
export function losesNone(expected: string, found: string): boolean {
  if (!MINCORE.test(expected) || expected.length !== found.length) return true;
  return [...expected].every((bit, at) => bit !== "1" || found[at] === "1");
}

/** What kind of line this is: an operation's name, or `vma`, `pg`, `mem`, `end`, `file`. */
export function kindOf(line: string): string {
  const words = line.split(" ");
  if (/^\d+$/.test(words[0]!)) return words[2] ?? "?";
  return words[0]!.startsWith("F") ? "file" : (words[1] ?? "?");
}
