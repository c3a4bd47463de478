import { describe, expect, test } from "vitest";
import { randomProgram, usualShape } from "./generator.ts";
import { formatProgram, operationNames, type Program, parsePrograms } from "./program.ts";
import { shrink } from "./shrink.ts";

describe("random programs", () => {
  test("are a function of their seed", () => {
    expect(randomProgram(7)).toEqual(randomProgram(7));
    expect(formatProgram(randomProgram(7))).not.toBe(formatProgram(randomProgram(8)));
  });

  test("are programs that the parser reads back", () => {
    for (let seed = 0; seed < 50; seed++) {
      const text = formatProgram(randomProgram(seed, { ...usualShape, failures: 0.2 }));
      expect(formatProgram(parsePrograms(text, "random")[0]!)).toBe(text);
    }
  });

  test("use nearly every operation of the language", () => {
    const used = new Set<string>();
    for (const profile of ["base", "segments"] as const) {
      for (let seed = 0; seed < 100; seed++) {
        for (const { name } of randomProgram(seed, { ...usualShape, failures: 0.1, profile }).operations)
          used.add(name);
      }
    }
    expect(operationNames.filter((name) => !used.has(name))).toEqual(["fadv", "fsync", "rlimit", "fill", "scan"]);
  });
});

describe("shrinking", () => {
  const names = (program: Program) => program.operations.map(({ name }) => name);

  test("keeps only what the failure needs", () => {
    const program = randomProgram(3);
    const needs = (candidate: Program) => names(candidate).includes("mmap") && names(candidate).includes("w");
    expect(needs(program)).toBe(true);
    const smallest = shrink(program, needs);
    expect(names(smallest).sort()).toEqual(["mmap", "w"]);
    expect(smallest.files).toEqual([]);
  });

  test("gives up after so many tries, with a program that still fails", () => {
    let tries = 0;
    const needs = (candidate: Program) => {
      tries++;
      return names(candidate).includes("mmap");
    };
    const smallest = shrink(randomProgram(3), needs, 3);
    expect(tries).toBe(3);
    expect(names(smallest)).toContain("mmap");
  });
});
