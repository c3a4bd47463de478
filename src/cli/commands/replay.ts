/** `bigmem replay TRACE`: one trace on one machine. */
import { Command } from "commander";
import { runTrace, TraceStudy } from "../../lab/run.ts";
import { chosenSpec, type MachineOptions, nameOfChosen, withMachine } from "../machines.ts";
import { printReport, type ReportOptions, runOptions, withReport } from "../reports.ts";
import { traceArgument, traceFor } from "../sources.ts";
import { examples } from "../text.ts";

export function replayCommand(): Command {
  const command = new Command("replay")
    .description("run a trace on one machine and report what it cost")
    .argument("<trace>", traceArgument);
  return withReport(withMachine(command))
    .addHelpText(
      "after",
      examples(
        "bigmem replay samples/sort.bmt --machine icelake-1t --kernel linux-6.1",
        'bigmem replay "workload:shared-segment?processes=100" --machine piii-xeon-64g --set reverseMap=pte-chain-e --json',
      ),
    )
    .action(async (trace: string, options: MachineOptions & ReportOptions) => {
      const spec = chosenSpec(options);
      const { end, ...run } = runOptions("records", 0, options);
      const done = await runTrace(
        nameOfChosen(options, spec),
        spec,
        new TraceStudy(traceFor(trace, spec)),
        run,
      ).finally(end);
      printReport({ schema: "bigmem.report/1", runs: [done] }, options);
    });
}
