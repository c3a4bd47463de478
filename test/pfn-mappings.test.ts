/**
 * Every way to know copies of memory without struct pages shows programs the same bytes: random programs that map, write,
 * fork, move and unmap files executed in place, in every design of the axis, against the flat model and all laws.
 */
import { describe, expect, test } from "vitest";
import { randomProgram } from "../src/check/generator.ts";
import { judge } from "../src/check/judge.ts";
import { oracleSpec } from "../src/check/oracle-machine.ts";
import { formatProgram } from "../src/check/program.ts";
import { ProgramRunner } from "../src/check/program-runner.ts";
import type { SegmentProfileName } from "../src/check/segment-profiles.ts";
import { shrink } from "../src/check/shrink.ts";
import { type Design, optionsOf } from "../src/design.ts";
import { parseGeometry } from "../src/geometry.ts";
import type { PagingFormatName } from "../src/hw/paging-format.ts";
import type { MachineSpec } from "../src/presets.ts";

const machines: readonly (readonly [PagingFormatName, string, Partial<Design>])[] = [
  ["x86-64", "linux-6.1", {}],
  ["x86-64", "linux-6.18", { pageTableFreeing: "when-empty" }],
  ["pae", "linux-2.6.11-highpte", { reverseMap: "pte-chain-e" }],
  ["i386", "linux-2.4.22", {}],
];

const PROGRAMS = Number(process.env.BIGMEM_RANDOM ?? 16);
const FAILURES = 0.15;
const shape = { operations: 50, processes: 4 };

function run(spec: MachineSpec, seed: number, profile: SegmentProfileName): string | undefined {
  const runner = new ProgramRunner(spec);
  const program = randomProgram(seed, { ...shape, profile, failures: seed % 2 === 0 ? 0 : FAILURES });
  if (judge(runner, program, { auditEvery: 8 }) === undefined) return undefined;
  const every = { auditEvery: 1 };
  const small = shrink(program, (candidate) => judge(new ProgramRunner(spec), candidate, every) !== undefined);
  const failure = judge(new ProgramRunner(spec), small, every);
  return `${formatProgram(small)}${failure?.what}\n${failure?.state}`;
}

/** A machine of some 250 frames, and swap. */
function tight(paging: PagingFormatName, kernel: string, design: Partial<Design>): MachineSpec {
  const spec = oracleSpec(paging, kernel, design);
  const narrow = paging === "x86-64" ? null : "640K";
  const sizes = { memoryBytes: "1M", lowmemBytes: narrow, dmaBytes: "64K", swap: ["8M"] };
  return {
    ...spec,
    geometry: parseGeometry({ ...spec.geometry, ...sizes }),
    tunables: { ...spec.tunables, overcommitMode: 1, minFreeKiB: 32 },
  };
}

test("without software bits no entry has one, whatever knows the copies then", () => {
  for (const pfnMappings of ["linear-rule", "shadow-bits", "vma-split", "struct-pages"] as const) {
    const spec = oracleSpec("x86-64", "linux-6.1", { pfnMappings });
    const bare = { ...spec, geometry: parseGeometry({ ...spec.geometry, softwareBits: "none" }) };
    for (let seed = 0; seed < PROGRAMS / 4; seed++) expect(run(bare, seed, "xip")).toBeUndefined();
  }
});

describe.each(optionsOf("pfnMappings"))("%s", (option) => {
  test.each(machines)("on %s under %s programs see what the flat model says", (paging, kernel, design) => {
    const pfnMappings = option as Design["pfnMappings"];
    const spec = oracleSpec(paging, kernel, { ...design, pfnMappings });
    for (let seed = 0; seed < PROGRAMS; seed++) expect(run(spec, seed, "xip")).toBeUndefined();
  });

  test.each(machines)("on a tight machine, %s under %s, they do so too", (paging, kernel, design) => {
    const spec = tight(paging, kernel, { ...design, pfnMappings: option as Design["pfnMappings"] });
    for (let seed = 0; seed < PROGRAMS / 4; seed++) expect(run(spec, seed, "xip-pressure")).toBeUndefined();
  });
});
