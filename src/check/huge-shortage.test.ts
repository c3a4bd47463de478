import { expect, test } from "vitest";
import { judge } from "./judge.ts";
import { oracleSpec } from "./oracle-machine.ts";
import { parsePrograms } from "./program.ts";
import { ProgramRunner } from "./program-runner.ts";

/** What the judge says of a program on a machine with two huge pages, once `harm` is done to its pool. */
function judged(lines: readonly string[], harm: (runner: ProgramRunner) => void = () => {}): string | undefined {
  const spec = oracleSpec("x86-64", "linux-6.1");
  const runner = new ProgramRunner({ ...spec, tunables: { ...spec.tunables, hugePages: 2 } });
  harm(runner);
  const [program] = parsePrograms(["prog huge", ...lines, "end"].join("\n"), "test");
  return judge(runner, program!, { auditEvery: 0 })?.what;
}

const LARGE = "0x200000";
const MAP = `0 mmap 0 ${LARGE} 3 0x40032 -1 0`;

test("a pool that is used up may be blamed", () => {
  const three = `0 mmap 0 0x600000 3 0x40032 -1 0`;
  expect(judged([three])).toBeUndefined();
  expect(judged(["0 mmap 0 0x600000 3 0x44032 -1 0", "0 w 10 1", "0 w 200010 2", "0 w 400010 3"])).toBeUndefined();
});

test("an owner's write after a fork takes the page from its child, and nothing else is lost", () => {
  const lines = [MAP, "0 w 10 1", "0 mmap 400000 0x200000 3 0x40032 -1 0", "0 w 400010 9", "0 fork 1", "0 w 10 2"];
  expect(judged([...lines, "0 r 10", "1 r 10", "1 r 400010"])).toBeUndefined();
});

test("a refusal while there are pages is found", () => {
  // A pool that believes that all its pages are promised refuses more.
  const liar = (runner: ProgramRunner) => {
    const [pool] = runner.machine.kernel.bigPages.pools;
    const reserve = pool!.reserve.bind(pool);
    pool!.reserve = (pages) => pages < 1 && reserve(pages);
  };
  expect(judged([MAP], liar)).toContain("ENOMEM, and 2 huge pages are nobody's");
});

test("a broken promise is found", () => {
  const thief = (runner: ProgramRunner) => {
    const [pool] = runner.machine.kernel.bigPages.pools;
    pool!.take = () => -1;
  };
  expect(judged([MAP, "0 w 10 1"], thief)).toContain("SIGBUS, and");
});
