/** Makes a program that fails as small as it gets while it still fails. */
import type { Operation, Program } from "./program.ts";

/**
 * Removes operations, in runs of half the program, then of a quarter, down to single ones, as long as `fails` says yes;
 * then the files that nobody uses. `fails` is asked at most `tries` times.
 */
export function shrink(program: Program, fails: (program: Program) => boolean, tries = 2000): Program {
  let left = tries;
  const stillFails = (candidate: Program): boolean => left-- > 0 && fails(candidate);
  let smallest = program;
  for (let length = Math.ceil(smallest.operations.length / 2); length >= 1; ) {
    const shorter = withoutRun(smallest, length, stillFails);
    if (shorter !== undefined) smallest = shorter;
    else length = length === 1 ? 0 : Math.ceil(length / 2);
  }
  for (const { file } of smallest.files) {
    const fewer = { ...smallest, files: smallest.files.filter((other) => other.file !== file) };
    if (stillFails(fewer)) smallest = fewer;
  }
  return smallest;
}

/** The program without the first run of that length which it can spare. */
function withoutRun(program: Program, length: number, fails: (program: Program) => boolean): Program | undefined {
  const { operations } = program;
  for (let first = 0; first < operations.length; first += length) {
    const kept: Operation[] = [...operations.slice(0, first), ...operations.slice(first + length)];
    const shorter = { ...program, operations: kept };
    if (kept.length > 0 && fails(shorter)) return shorter;
  }
  return undefined;
}
