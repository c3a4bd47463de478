/** `bigmem record`: the verb's words; the work is in ../record/. */
import { Command } from "commander";
import { recordCommand, recorderNames } from "../record/record.ts";
import { examples } from "../text.ts";

export function recordCommandLine(): Command {
  return new Command("record")
    .description(
      "record a native x86-64 or i386 program with its fork children: accesses, memory calls, kernel accesses",
    )
    .argument("<command...>", "the program and its arguments, after --")
    .option("-o, --output <FILE>", "the trace; by default the program's name with .bmt")
    .option("--recorder <NAME>", `${recorderNames.join(", ")}: what the machine has; qemu is ten times faster`, "auto")
    .option("-q, --quiet", "no summary at the end")
    .passThroughOptions()
    .addHelpText(
      "after",
      `
The program keeps its standard streams and its exit status; bigmem's own failures exit with 125.
${examples("bigmem record -o sort.bmt -- sort big.txt", 'bigmem record --recorder valgrind -- python3 -c "print(1)"')}`,
    )
    .action(async (command: string[], options: { output?: string; recorder: string; quiet?: true }) => {
      process.exitCode = await recordCommand(command, options);
    });
}
