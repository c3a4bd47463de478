/** `bigmem meminfo`: /proc/meminfo of a machine that has just started, or has replayed a trace. */
import { Command } from "commander";
import { meminfoReport } from "../../lab/meminfo-report.ts";
import { runTrace, TraceStudy } from "../../lab/run.ts";
import { Machine } from "../../machine.ts";
import { meminfoText } from "../../mm/meminfo.ts";
import { chosenSpec, type MachineOptions, withMachine } from "../machines.ts";
import { traceArgument, traceInput } from "../sources.ts";
import { examples, print } from "../text.ts";
import { version } from "../version.ts";

interface MeminfoOptions extends MachineOptions {
  after?: string;
  json?: true;
}

export function meminfoCommand(): Command {
  const command = new Command("meminfo").description(
    "boot a machine and print what its memory is used for, as /proc/meminfo does",
  );
  return withMachine(command)
    .option("--after <TRACE>", `print it at the end of a trace: ${traceArgument}`)
    .option("--json", "as JSON, in bytes")
    .addHelpText(
      "after",
      examples(
        "bigmem meminfo --machine pae-8g --set geometry.memory=16G",
        'bigmem meminfo --machine amd64-8g --after "workload:shared-segment?processes=100" --json',
      ),
    )
    .action(async (options: MeminfoOptions) => {
      const spec = chosenSpec(options);
      const machine = options.after === undefined ? new Machine(spec) : await machineAfter(options.after, spec);
      if (options.json === true) print(JSON.stringify(meminfoReport(machine, version, options.after ?? null), null, 2));
      else print(meminfoText(machine.kernel));
    });
}

/** The machine as a trace leaves it. */
async function machineAfter(trace: string, spec: Machine["spec"]): Promise<Machine> {
  const machines: Machine[] = [];
  const observe = (machine: Machine) => {
    machines.push(machine);
    return { before() {}, after() {} };
  };
  await runTrace("meminfo", spec, new TraceStudy(traceInput(trace)), { version, observe });
  return machines[0]!;
}
