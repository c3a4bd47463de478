/**
 * Recorded outcomes of a real kernel: which programs ran, and what it answered, as one text. The programs themselves are
 * not in it: they are made again from their seeds, and a hash says whether they are still the same ones. Of the
 * outcomes, what the program says already (the number, process and name of an operation) and what comparing sets aside
 * is left out.
 *
 *     {"format":1,"release":"6.18.44","batches":[{"profile":"base","seed":1,"programs":400},{"suite":"joins"}],...}
 *     W+3fe0000                the first operation's result
 *     P0 vma ...               what is left at the end, as it is
 *     end
 */
import { UsageError } from "../base/errors.ts";
import { comparable, type Outcome } from "./compare-outcomes.ts";
import { randomProgram, usualShape } from "./generator.ts";
import { type ProfileName, profiles } from "./profiles.ts";
import { formatProgram, type Program } from "./program.ts";
import { type SuiteName, suitePrograms, suites } from "./suites.ts";

/** Programs that can be made again: of a profile, from consecutive seeds; or a suite. */
export type Batch =
  | { readonly profile: ProfileName; readonly seed: number; readonly programs: number }
  | { readonly suite: SuiteName };

/** What a recording says of itself. */
export interface RecordingHead {
  readonly format: 1;
  /** The kernel's, as uname says it. */
  readonly release: string;
  readonly architecture: "x86-64";
  readonly command: string;
  readonly batches: readonly Batch[];
  /** Of the text of every program. */
  readonly programsHash: string;
}

/** A batch's programs, one after the other. */
export function* programsOf(batch: Batch): Generator<Program> {
  if ("suite" in batch) {
    yield* suitePrograms(batch.suite);
    return;
  }
  const shape = { ...usualShape, profile: batch.profile };
  for (let i = 0; i < batch.programs; i++) yield randomProgram(batch.seed + i, shape);
}

export function* programsOfAll(batches: readonly Batch[]): Generator<Program> {
  for (const batch of batches) yield* programsOf(batch);
}

/** Tells sets of programs apart: 53 bits, mixed over every character of their text. */
export function hashOf(programs: Iterable<Program>): string {
  let low = 0x9e3779b9;
  let high = 0x85ebca6b;
  for (const program of programs) {
    const text = formatProgram(program);
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at);
      low = Math.imul(low ^ code, 0x5f356495);
      high = Math.imul(high ^ code, 0x1b873593) ^ (low >>> 15);
    }
  }
  return [low, high].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
}

/** The text of a recording; `outcomes` has an outcome for each program, in their order. */
export function formatRecording(head: RecordingHead, outcomes: Iterable<Outcome>): string {
  const parts = [`${JSON.stringify(head)}\n`];
  for (const { lines } of outcomes) {
    for (const line of lines) parts.push(`${shortened(comparable(line, "x86-64"))}\n`);
    parts.push(`${END}\n`);
  }
  return parts.join("");
}

/** Ends a program's outcome; no operation prints it. */
const END = "end";

const shortened = (line: string): string => line.replace(/^\d+ P\d \w+ /, "");

export interface Recording {
  readonly head: RecordingHead;
  /** Every program with what the kernel answered. */
  readonly answers: Iterable<{ readonly program: Program; readonly outcome: Outcome }>;
}

/** Reads a recording; `source` is its name in messages. */
export function parseRecording(text: string, source: string): Recording {
  const end = text.indexOf("\n");
  const head = parseHead(text.slice(0, end), source);
  const hash = hashOf(programsOfAll(head.batches));
  if (hash !== head.programsHash) {
    throw new UsageError(
      `${source}: its programs had the hash ${head.programsHash} and are now made with ${hash}: the generator or a suite has changed; record again with\n  ${head.command}`,
    );
  }
  return { head, answers: answersOf(head, text.slice(end + 1), source) };
}

function parseHead(line: string, source: string): RecordingHead {
  let head: RecordingHead;
  try {
    head = JSON.parse(line) as RecordingHead;
  } catch {
    throw new UsageError(`${source}:1: is not a recording: expected one line of JSON`);
  }
  if (head.format !== 1) throw new UsageError(`${source}:1: format ${head.format}; this version reads format 1`);
  for (const batch of head.batches) {
    const known = "suite" in batch ? Object.hasOwn(suites, batch.suite) : Object.hasOwn(profiles, batch.profile);
    if (!known) throw new UsageError(`${source}:1: unknown programs ${JSON.stringify(batch)}`);
  }
  return head;
}

function* answersOf({ batches }: RecordingHead, text: string, source: string) {
  const lines = text.split("\n");
  let from = 0;
  for (const program of programsOfAll(batches)) {
    const end = lines.indexOf(END, from);
    if (end < 0) throw new UsageError(`${source}: ends before the outcome of ${program.name}`);
    const answer = lines.slice(from, end).map((line, at) => lengthened(program, line, at));
    from = end + 1;
    yield { program, outcome: { name: program.name, lines: answer } };
  }
}

function lengthened({ operations }: Program, line: string, at: number): string {
  const operation = operations[at];
  return operation === undefined ? line : `${at} P${operation.process} ${operation.name} ${line}`;
}
