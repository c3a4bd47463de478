/** The command line: one verb a file in commands/, one place where a run ends and says so. */
import { Command, CommanderError } from "commander";
import { KernelBug, UsageError } from "../base/errors.ts";
import { checkCommand } from "./commands/check.ts";
import { compareCommand } from "./commands/compare.ts";
import { designCommand } from "./commands/design.ts";
import { experimentCommand } from "./commands/experiment.ts";
import { exploreSchedulesCommand } from "./commands/explore-schedules.ts";
import { importCommand } from "./commands/import.ts";
import { matrixCommand } from "./commands/matrix.ts";
import { meminfoCommand } from "./commands/meminfo.ts";
import { presetsCommand } from "./commands/presets.ts";
import { recordCommandLine } from "./commands/record.ts";
import { replayCommand } from "./commands/replay.ts";
import { stepCommand } from "./commands/step.ts";
import { traceCommand } from "./commands/trace.ts";
import { abandonUnfinished } from "./files.ts";
import { version } from "./version.ts";

/** Done. */
const DONE = 0;
/** Bad usage or bad input. */
const USAGE = 2;
/** A bug of bigmem's. */
const BUG = 70;
/** Interrupted, as a shell counts it: 128 + SIGINT. */
const INTERRUPTED = 130;

process.on("SIGINT", () => {
  const dropped = abandonUnfinished();
  const kept = dropped.length === 0 ? "nothing was written" : `${dropped.join(", ")} not written`;
  process.stderr.write(`\nbigmem: interrupted; ${kept}\n`);
  process.exit(INTERRUPTED);
});
// A reader that stops early (head, less) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(DONE);
  throw error;
});

const program = new Command("bigmem")
  .description(
    "The Linux memory manager for big machines: replay programs on any design and any machine size, and compare what it costs.",
  )
  .version(version)
  .enablePositionalOptions()
  .showHelpAfterError("(--help shows what it takes)")
  .addHelpText(
    "after",
    `
Examples:
  bigmem compare samples/sort.bmt                      designs side by side on a recording of sort
  bigmem record -o mine.bmt -- sort big.txt            record a program of yours
  bigmem step samples/sort.bmt --only mmap --to 5      watch what each call does to the page tables

bigmem counts events exactly and estimates cycles from a cost table; it cannot answer questions of latency.`,
  );

for (const command of [
  compareCommand(),
  replayCommand(),
  recordCommandLine(),
  importCommand(),
  stepCommand(),
  traceCommand(),
  checkCommand(),
  exploreSchedulesCommand(),
  matrixCommand(),
  designCommand(),
  experimentCommand(),
  meminfoCommand(),
  presetsCommand(),
]) {
  program.addCommand(command);
}
exitInsteadOfThrowing(program);

try {
  await program.parseAsync(process.argv);
} catch (error) {
  process.exitCode = explain(error);
}

/** Lets commander report its own errors, and lets this file choose the exit status. */
function exitInsteadOfThrowing(command: Command): void {
  command.exitOverride();
  for (const child of command.commands) exitInsteadOfThrowing(child);
}

function explain(error: unknown): number {
  abandonUnfinished();
  if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : USAGE;
  if (error instanceof UsageError) {
    process.stderr.write(`bigmem: ${error.message}\n`);
    return USAGE;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(
    `bigmem: this is a bug of bigmem's, not of yours; please report it with the command that shows it.\n${text}\n`,
  );
  if (error instanceof KernelBug && error.state !== undefined) process.stderr.write(`\n${error.state}\n`);
  return BUG;
}
