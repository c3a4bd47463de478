/** `bigmem presets`: kernels, machines, TLBs and cost tables that have a name. */
import { Command } from "commander";
import { formatSize } from "../../base/size-text.ts";
import { parseGeometry } from "../../geometry.ts";
import { tlbPresets } from "../../hw/tlb-presets.ts";
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
    return `  ${name.padEnd(16)}${formatSize(memoryBytes).padEnd(10)}${`${cpus} CPUs`.padEnd(10)}${paging.padEnd(8)}${kernel.padEnd(14)}${summary}`;
  });
  const kernels = Object.entries(kernelPresets).map(([name, { summary }]) => `  ${name.padEnd(16)}${summary}`);
  const tlbs = Object.entries(tlbPresets).map(([name, shape]) => `  ${name.padEnd(16)}${shape.name}`);
  return [
    "Machines (--machine NAME): memory, CPUs, paging, the kernel that they run by default",
    ...machines,
    "",
    "Kernels (--kernel NAME)",
    ...kernels,
    "",
    "TLBs (--set geometry.tlb=NAME)",
    ...tlbs,
    "",
    "A machine that is not here: start from the nearest and change it with --set, or write its record to a file.",
  ].join("\n");
}
