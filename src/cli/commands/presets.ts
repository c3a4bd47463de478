/** `bigmem presets`: kernels, machines, TLBs and cost tables that have a name. */
import { Command } from "commander";
import { formatSize } from "../../base/size-text.ts";
import { parseGeometry } from "../../geometry.ts";
import type { ArrayShape, TlbShape } from "../../hw/tlb.ts";
import { tlbPresets } from "../../hw/tlb-presets.ts";
import { workloads } from "../../lab/workloads/definitions.ts";
import { kernelPresets, machinePresets, specOf } from "../../presets.ts";
import { examples, print } from "../text.ts";

export function presetsCommand(): Command {
  return new Command("presets")
    .description("list the kernels, machines and TLBs that have a name")
    .argument("[name]", "one machine or kernel: prints its whole record as JSON, to save and edit")
    .option("--json", "as JSON")
    .addHelpText("after", examples("bigmem presets", "bigmem presets icelake-1t > mine.json"))
    .action((name: string | undefined, { json }: { json?: true }) => {
      if (name !== undefined) print(JSON.stringify(recordOf(name), null, 2));
      else if (json === true)
        print(JSON.stringify({ machines: machinePresets, kernels: kernelPresets, tlbs: tlbPresets }, null, 2));
      else print(lists());
    });
}

/** A machine's geometry, or a kernel's design and tunables. */
function recordOf(name: string): unknown {
  if (Object.hasOwn(kernelPresets, name)) return kernelPresets[name as keyof typeof kernelPresets];
  return specOf(name);
}

function lists(): string {
  const machines = Object.entries(machinePresets).map(([name, { summary, kernel, geometry }]) => {
    const { memoryBytes, cpus, paging } = parseGeometry(geometry);
    return `  ${name.padEnd(16)}${formatSize(memoryBytes).padEnd(10)}${(cpus === 1 ? "1 CPU" : `${cpus} CPUs`).padEnd(10)}${paging.padEnd(8)}${kernel.padEnd(14)}${summary}`;
  });
  const width = Math.max(...Object.keys(kernelPresets).map((name) => name.length)) + 2;
  const kernels = Object.entries(kernelPresets).map(([name, { summary }]) => `  ${name.padEnd(width)}${summary}`);
  const tlbs = Object.entries(tlbPresets).map(([name, shape]) => `  ${name.padEnd(18)}${tlbText(shape)}`);
  const loads = [...workloads.values()].flatMap(({ name, does, parameters }) => {
    const settings = Object.entries(parameters).map(([key, { default: value, means }]) => `${key}=${value} (${means})`);
    return [`  ${name.padEnd(18)}${does}`, `  ${"".padEnd(18)}${settings.join(", ")}`];
  });
  return [
    "Machines (--machine NAME): memory, CPUs, paging, the kernel that they run by default",
    ...machines,
    "",
    "Kernels (--kernel NAME)",
    ...kernels,
    "",
    "TLBs (--set geometry.tlb=NAME): page sizes, entries/ways",
    ...tlbs,
    "",
    "Workloads (workload:NAME?KEY=VALUE&KEY=VALUE wherever a TRACE is taken)",
    ...loads,
    "",
    "A machine that is not here: start from the nearest and change it with --set, or write its record to a file.",
  ].join("\n");
}

/** "instructions 4K 128/8, ...": entries and ways of each array. */
function tlbText(shape: TlbShape): string {
  const parts: readonly (readonly [string, readonly ArrayShape[] | undefined])[] = [
    ["instructions", shape.instruction],
    [shape.store === undefined ? "data" : "loads", shape.load],
    ["stores", shape.store],
    ["second level", shape.second],
    ["second level instructions", shape.secondInstruction],
    ["second level data", shape.secondData],
  ];
  return parts
    .flatMap(([what, arrays]) => (arrays === undefined ? [] : [`${what} ${arrays.map(arrayText).join(" + ")}`]))
    .join(", ");
}

const arrayText = ({ pages, entries, ways }: ArrayShape): string =>
  `${pages.join("/")} ${entries}${ways === "full" ? " full" : `/${ways}`}`;
