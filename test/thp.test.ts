/**
 * Random programs that use memory in pieces of huge pages, on machines that have them and on machines that do not, with
 * memory enough and without: all must say what the flat model says, and keep all laws.
 */
import { expect, test } from "vitest";
import { randomProgram, usualShape } from "../src/check/generator.ts";
import { judge } from "../src/check/judge.ts";
import { oracleSpec } from "../src/check/oracle-machine.ts";
import { formatProgram } from "../src/check/program.ts";
import { ProgramRunner } from "../src/check/program-runner.ts";
import type { Design } from "../src/design.ts";
import { parseGeometry } from "../src/geometry.ts";
import type { PagingFormatName } from "../src/hw/paging-format.ts";
import type { MachineSpec } from "../src/presets.ts";

const PROGRAMS = Number(process.env.BIGMEM_THP ?? 10);

interface Case {
  readonly paging: PagingFormatName;
  readonly kernel: string;
  readonly design: Partial<Design>;
  /** Memory and swap, where programs are to run short of it. */
  readonly memory?: readonly [string, string];
}

const always = { transparentPages: "always" } as const;
const low = { pageTablePlacement: "lowmem", pageTableAccess: "direct" } as const;

const cases: Readonly<Record<string, Case>> = {
  "6.1, always": { paging: "x86-64", kernel: "linux-6.1", design: { ...low, ...always } },
  "6.1, madvise": { paging: "x86-64", kernel: "linux-6.1", design: low },
  "6.1, five levels, anonmm": {
    paging: "x86-64-la57",
    kernel: "linux-6.1",
    design: { ...low, ...always, reverseMap: "anonmm" },
  },
  "6.18, always": { paging: "x86-64", kernel: "linux-6.18", design: always },
  "6.18, tables freed when empty": {
    paging: "x86-64",
    kernel: "linux-6.18",
    design: { ...always, pageTableFreeing: "when-empty", pageTableDiscard: "age" },
  },
  "PAE, tables in highmem": { paging: "pae", kernel: "linux-6.1", design: always },
  "PAE, anonmm": { paging: "pae", kernel: "linux-6.1", design: { ...always, reverseMap: "anonmm" } },
  "2.6.11 with huge pages": {
    paging: "x86-64",
    kernel: "linux-2.6.11",
    design: { ...always, pageTableFreeing: "spans" },
  },
  "6.1, short of memory": {
    paging: "x86-64",
    kernel: "linux-6.1",
    design: { ...low, ...always },
    memory: ["8M", "64M"],
  },
  "6.18, short of memory, anonmm": {
    paging: "x86-64",
    kernel: "linux-6.18",
    design: { ...always, reverseMap: "anonmm" },
    memory: ["6M", "64M"],
  },
};

function specOf({ paging, kernel, design, memory }: Case): MachineSpec {
  const spec = oracleSpec(paging, kernel, design);
  const often = { ...spec.tunables, khugepagedFaults: 300 };
  if (memory === undefined) return { ...spec, tunables: often };
  const [memoryBytes, swap] = memory;
  return {
    ...spec,
    geometry: parseGeometry({ paging, tlb: "k8", bootMemory: "none", memoryBytes, swap: [swap] }),
    tunables: { ...often, overcommitMode: 1, minFreeKiB: 64 },
  };
}

test.each(Object.entries(cases))(
  "programs of large ranges see what the model says: %s",
  { timeout: 300_000 },
  (name, each) => {
    const runner = new ProgramRunner(specOf(each));
    let given = 0;
    for (let seed = 1; seed <= PROGRAMS; seed++) {
      const failures = seed % 2 === 0 ? 0.1 : 0;
      const program = randomProgram(7000 + seed, { ...usualShape, profile: "huge", failures });
      const failure = judge(runner, program, { auditEvery: 4 });
      if (failure !== undefined) expect.fail(`${name}: ${failure.what}\n${formatProgram(program)}`);
      given += runner.machine.kernel.counters.thpFaultAlloc;
    }
    // Where advice is needed, it mostly comes when small pages are there already.
    if (each.design.transparentPages === "always") expect(given).toBeGreaterThan(0);
  },
);
