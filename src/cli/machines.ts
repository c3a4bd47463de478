/** The flags that say on what to run, the same for every verb: --machine, --kernel, --set, --seed. */
import type { Command } from "commander";
import { UsageError } from "../base/errors.ts";
import { axisNames } from "../design.ts";
import { parseGeometry } from "../geometry.ts";
import { applySettings, type MachineSpec, parseKernel, parseSpec, specOf } from "../presets.ts";
import { readText, reason } from "./files.ts";

export interface MachineOptions {
  machine?: string;
  kernel?: string;
  set?: string[];
  seed?: string;
}

const DEFAULT_MACHINE = "icelake-1t";

/** Adds the flags to a verb. */
export function withMachine(command: Command): Command {
  return command
    .option(
      "--machine <NAME|FILE>",
      `a preset ("bigmem presets" lists them) or a JSON file; ${DEFAULT_MACHINE} where nothing is said`,
    )
    .option("--kernel <NAME|FILE>", "a kernel preset or a JSON file; by default the machine's own")
    .option(
      "--set <KEY=VALUE>",
      "change one thing: reverseMap=none, geometry.memory=64G, tunables.overcommitMode=2; may be repeated",
      collect,
    )
    .option("--seed <N>", "the seed of everything that is random", "0");
}

/** For options that may be repeated. */
export const collect = (value: string, before: string[] = []): string[] => [...before, value];

/** The machine that the flags name; `usual` is what to run on, under whatever kernel, where they name none. */
export function chosenSpec(options: MachineOptions, usual?: MachineSpec): MachineSpec {
  const { machine = DEFAULT_MACHINE, kernel, set = [], seed = "0" } = options;
  if (!/^\d+$/.test(seed)) throw new UsageError(`--seed ${seed}: expected a whole number`);
  const settings = [...set, `seed=${seed}`];
  if (usual !== undefined && options.machine === undefined)
    return applySettings(kernel === undefined ? usual : { ...usual, ...chosenKernel(kernel) }, settings);
  if (!looksLikeFile(machine) && (kernel === undefined || !looksLikeFile(kernel)))
    return specOf(machine, kernel, settings);
  const base = looksLikeFile(machine) ? specFromFile(machine) : specOf(machine);
  return applySettings(kernel === undefined ? base : { ...base, ...chosenKernel(kernel) }, settings);
}

/** What a report calls the machine that the flags name: with the options that moved because of what was asked for. */
export function nameOfChosen(options: MachineOptions, spec: MachineSpec): string {
  const { machine = DEFAULT_MACHINE, kernel, set = [] } = options;
  const asked = new Set(set.map((setting) => setting.replace(/^design\./, "").split("=", 1)[0]));
  const { design: before } = chosenSpec({ ...options, set: [] });
  const moved = axisNames.filter((axis) => !asked.has(axis) && spec.design[axis] !== before[axis]);
  const names = kernel === undefined ? [machine] : [machine, kernel];
  return [...names, ...moved.map((axis) => `${axis}=${spec.design[axis]} (coupled)`)].join(", ");
}

/** Names of presets have no dot before a suffix and no slash. */
const looksLikeFile = (name: string): boolean => /[/\\]|\.json$/.test(name);

/** A file that holds a geometry, or a whole record as `bigmem presets NAME` prints it. */
function specFromFile(path: string): MachineSpec {
  const input = readJson(path);
  return inFile(path, () => {
    if (typeof input === "object" && input !== null && "geometry" in input) return parseSpec(input);
    return { ...specOf(DEFAULT_MACHINE), geometry: parseGeometry(input) };
  });
}

function chosenKernel(kernel: string): Pick<MachineSpec, "kernel" | "design" | "tunables"> {
  if (looksLikeFile(kernel)) return inFile(kernel, () => parseKernel(readJson(kernel)));
  const { kernel: personality, design, tunables } = specOf(DEFAULT_MACHINE, kernel);
  return { kernel: personality, design, tunables };
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readText(path));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${path}: is not JSON: ${reason(error)}`);
  }
}

/** Lets a complaint about a record name the file that it stands in. */
function inFile<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(`${path}: ${error.message}`);
    throw error;
  }
}
