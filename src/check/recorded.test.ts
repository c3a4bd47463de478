import { describe, expect, test } from "vitest";
import { oracleMachine } from "./oracle-machine.ts";
import { type Batch, formatRecording, hashOf, parseRecording, programsOfAll, type RecordingHead } from "./recorded.ts";
import { runProgram } from "./run-program.ts";

const batches: Batch[] = [
  { profile: "base", seed: 3, programs: 2 },
  { profile: "truncate", seed: 9, programs: 1 },
];
const head: RecordingHead = {
  format: 1,
  release: "6.1.0",
  architecture: "x86-64",
  command: "bigmem check kernel --record FILE",
  batches,
  programsHash: hashOf(programsOfAll(batches)),
};
const outcomes = [...programsOfAll(batches)].map((program) => runProgram(oracleMachine("x86-64"), program));

describe("a recording of outcomes", () => {
  test("gives back every program with its outcome, without what is set aside", () => {
    const read = parseRecording(formatRecording(head, outcomes), "r");
    expect(read.head).toEqual(head);
    const answers = [...read.answers];
    expect(answers.map(({ program }) => program)).toEqual([...programsOfAll(batches)]);
    answers.forEach(({ outcome }, at) => {
      const wanted = outcomes[at]!.lines.map((line) => line.replace(/ blocks=\d+/, "").replace(/ sd(?=\])/, ""));
      expect(outcome.lines.map((line) => line.replace(/ mf=\d+,\d+$/, ""))).toEqual(
        wanted.map((line) => line.replace(/ mf=\d+,\d+$/, "")),
      );
    });
  });

  test("is refused once its programs are no longer made alike", () => {
    const other = formatRecording({ ...head, programsHash: "0123456789abcdef" }, outcomes);
    expect(() => parseRecording(other, "r.bmo")).toThrow(
      /r\.bmo: its programs had the hash 0123456789abcdef .*record/s,
    );
  });

  test("that ends too early says before which program", () => {
    const text = formatRecording(head, outcomes.slice(0, 2));
    expect(() => [...parseRecording(text, "r.bmo").answers]).toThrow("r.bmo: ends before the outcome of truncate-9");
  });

  test("is refused where it names programs that nobody knows, or is none", () => {
    const strange = { ...head, batches: [{ suite: "poems" }] } as unknown as RecordingHead;
    expect(() => parseRecording(formatRecording(strange, []), "r.bmo")).toThrow('unknown programs {"suite":"poems"}');
    expect(() => parseRecording("hello\n", "r.bmo")).toThrow("r.bmo:1: is not a recording");
  });
});
