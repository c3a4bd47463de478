import { describe, expect, test } from "vitest";
import { UsageError } from "../base/errors.ts";
import { formatProgram, parsePrograms } from "./program.ts";

const parse = (text: string) => parsePrograms(text, "p.txt");

describe("the parser of programs", () => {
  test("reads files and operations, and addresses by what they count from", () => {
    const [program] = parse(
      "prog one # a comment\nfile 1 0x1000\n\n0 mmap B1000 8192 3 0x22 -1 0\n2 w 1f010 65\nend\n",
    );
    expect(program).toEqual({
      name: "one",
      files: [{ file: 1, bytes: 4096 }],
      operations: [
        {
          line: 4,
          process: 0,
          name: "mmap",
          operands: [
            { base: "break", value: 0x1000 },
            { base: "number", value: 8192 },
            { base: "number", value: 3 },
            { base: "number", value: 0x22 },
            { base: "number", value: -1 },
            { base: "number", value: 0 },
          ],
        },
        {
          line: 5,
          process: 2,
          name: "w",
          operands: [
            { base: "window", value: 0x1f010 },
            { base: "number", value: 65 },
          ],
        },
      ],
    });
  });

  test("gives back the text of what it read", () => {
    const text =
      "prog a\nfile 0 8192\n0 mremap 1000 0x1000 0x2000 1 -\n0 mmap @10000 0x1000 3 0x32 -1 0\n0 exit\nend\n";
    expect(formatProgram(parse(text)[0]!)).toBe(text);
  });

  test.each([
    ["0 r 10\n", 'p.txt:1: found "0", expected "prog NAME"'],
    ["prog a\n0 munmp 10 1\nend\n", 'p.txt:2: unknown operation "munmp"; did you mean "munmap"?'],
    ["prog a\n0 munmap 1000\nend\n", "p.txt:2: munmap takes 2 operands, found 1"],
    ["prog a\n0 mremap 0 1\nend\n", "p.txt:2: mremap takes 4 to 5 operands, found 2"],
    ["prog a\n9 r 10\nend\n", "p.txt:2: process 9: processes are 0 to 7"],
    ["prog a\n0 r xyz\nend\n", 'p.txt:2: "xyz": expected a hexadecimal address'],
    ["prog a\n0 brk 12f\nend\n", 'p.txt:2: "12f": expected a number, decimal or 0x...'],
    ["prog a\nfile 8 1\nend\n", "p.txt:2: file 8: files are 0 to 7"],
    ["prog a\n0 ftrunc 8 1\nend\n", "p.txt:2: ftrunc: file 8: files are 0 to 7"],
    ["prog a\n0 r 10\nfile 0 1\nend\n", "p.txt:3: files come before the first operation"],
    ["prog a\n0 r 10\n", 'p.txt:1: program "a" has no "end"'],
  ])("says where %j is wrong", (text, message) => {
    expect(() => parse(text)).toThrow(new UsageError(message));
  });
});
