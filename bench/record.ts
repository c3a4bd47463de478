/**
 * How fast a program is recorded, end to end: it runs under the emulator, and its trace is written at the same time. A
 * loop that reads and writes at random over 64 MiB, the worst case for records an access.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool } from "../src/cli/record/elf.ts";
import { findQemu } from "../src/cli/record/qemu-tools.ts";
import { record } from "../src/cli/record/record.ts";

export interface RecordMeasurement {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

const program = `
  #include <stdlib.h>
  int main(int argc, char **argv) {
    unsigned *area = malloc(64 << 20), x = 1, sum = 0;
    for (long i = atol(argv[argc - 1]); i > 0; i--) {
      x = x * 1664525 + 1013904223;
      sum += area[x >> 8];
      area[(x >> 10) & 0xffff] = sum;
    }
    return sum & 1;
  }`;

export const recordNeeds = "qemu-x86_64 and a C compiler";

/** Undefined on a machine that lacks what it needs. */
export async function benchRecord(now: () => number, rounds = 5_000_000): Promise<RecordMeasurement[] | undefined> {
  const compiler = findTool("cc");
  if (compiler === undefined || "missing" in findQemu("x86-64")) return undefined;
  const folder = mkdtempSync(join(tmpdir(), "bigmem-bench-"));
  try {
    const source = join(folder, "loop.c");
    const command = join(folder, "loop");
    writeFileSync(source, program);
    execFileSync(compiler, ["-O1", "-o", command, source]);
    const request = { command, output: join(folder, "loop.bmt"), recorder: "qemu" as const };
    await record({ ...request, args: ["1000"] });
    const cpu = process.cpuUsage();
    const start = now();
    const { totals } = await record({ ...request, args: [String(rounds)] });
    const seconds = (now() - start) / 1000;
    const used = process.cpuUsage(cpu);
    return [
      { name: "accesses recorded with qemu, end to end", value: totals.accesses / seconds, unit: "accesses/s" },
      { name: "records converted while recording", value: totals.records / seconds, unit: "records/s" },
      {
        name: "processor time of converting, for a second of recording",
        value: (used.user + used.system) / 1e6 / seconds,
        unit: "s",
      },
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
