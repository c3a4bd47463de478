/** `bigmem compare TRACE`: designs side by side. */
import { Command } from "commander";
import { cellsOf, compareCells, parseVariation, tellingCells } from "../../lab/compare.ts";
import { chosenSpec, collect, type MachineOptions, withMachine } from "../machines.ts";
import { printReport, type ReportOptions, runOptions, withReport } from "../reports.ts";
import { traceArgument, traceInput } from "../sources.ts";
import { examples } from "../text.ts";

interface CompareOptions extends MachineOptions, ReportOptions {
  vary?: string[];
}

export function compareCommand(): Command {
  const command = new Command("compare")
    .description(
      "run a trace on several designs and put them side by side; with no flags, on a telling set of kernels and machines",
    )
    .argument("<trace>", traceArgument)
    .option(
      "--vary <KEY=A,B,...>",
      "options of an axis, or values of a geometry or tunables key; several make the product",
      collect,
    );
  return withReport(withMachine(command))
    .addHelpText(
      "after",
      examples(
        "bigmem compare samples/sort.bmt",
        "bigmem compare samples/sort.bmt --machine piii-xeon-64g --vary reverseMap=pte-chain-e,object-anon --vary geometry.paging=i386,pae,x86-64 --set geometry.memory=3G",
      ),
    )
    .action(async (trace: string, options: CompareOptions) => {
      const input = traceInput(trace);
      const named =
        options.machine !== undefined ||
        options.kernel !== undefined ||
        options.set !== undefined ||
        options.vary !== undefined;
      const cells = named
        ? cellsOf(chosenSpec(options), (options.vary ?? []).map(parseVariation))
        : tellingCells(await input.open().header());
      const { end, ...run } = runOptions(`${cells.length} runs, records of this one`, 0, options);
      printReport(await compareCells(input, cells, run).finally(end), options);
    });
}
