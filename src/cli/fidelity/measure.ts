/** Runs a program on the Linux underneath and reads what that kernel counted, with a small C program that traces it. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { release, tmpdir, type } from "node:os";
import { join } from "node:path";
import { UsageError } from "../../base/errors.ts";
import { type ProcessCounts, processCountsSchema } from "../../lab/fidelity/counts.ts";
import { compiled, findCompiler } from "../compiled.ts";

/** What this machine lacks to measure; undefined if nothing. */
export function missingForMeasuring(): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return "Linux on x86-64";
  return findCompiler() === undefined ? "a C compiler" : undefined;
}

/** "Linux 6.1.0": without what a distribution adds. */
export const kernelName = (): string => `${type()} ${release().replace(/-.*$/, "")}`;

const OWN_FAILURE = 125;

/** Where and with what environment a program runs; by default as bigmem does. */
export interface Surroundings {
  readonly where?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Runs the command without address randomisation, its output thrown away, and once before for nothing: so its files are
 * in memory. One record a process, in the order of their birth.
 */
export function measure(command: readonly string[], { where, env = process.env }: Surroundings = {}): ProcessCounts[] {
  const missing = missingForMeasuring();
  if (missing !== undefined) throw new UsageError(`measuring a real run needs ${missing}`);
  const program = compiled(findCompiler() as string, {
    what: "the program that measures",
    name: "measure",
    suffix: "",
    flags: ["-std=gnu17", "-O2"],
    folder: new URL("./measure/", import.meta.url),
  });
  const folder = mkdtempSync(join(tmpdir(), "bigmem-measure-"));
  try {
    const output = join(folder, "counts");
    for (const _ of ["warm", "counted"]) {
      const { status, stderr } = spawnSync(program, [output, ...command], {
        cwd: where,
        env,
        stdio: ["ignore", "ignore", "pipe"],
        encoding: "utf8",
      });
      if (status === OWN_FAILURE) throw new UsageError(`${command.join(" ")}: cannot be measured: ${stderr.trim()}`);
    }
    return parseCounts(readFileSync(output, "utf8"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const KIB = 1024;

/** The lines `process NAME minor N exec N major N vmpte KIB rss KIB`. */
export function parseCounts(text: string): ProcessCounts[] {
  return [...text.matchAll(/^process (\S*) minor (\d+) exec (\d+) major (\d+) vmpte (\d+) rss (\d+)$/gm)].map(
    ([, name, minor, , major, vmpte, rss]) =>
      processCountsSchema.parse({
        name,
        minorFaults: Number(minor),
        majorFaults: Number(major),
        pageTablesBytes: Number(vmpte) * KIB,
        residentBytes: Number(rss) * KIB,
      }),
  );
}
