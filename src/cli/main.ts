/** The command line: one verb a file in commands/, one place where a run ends and says so. */
import { Command, CommanderError } from "commander";
import { KernelBug, UsageError } from "../base/errors.ts";
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

/** By name: what makes the verb. Only the one asked for is loaded: loading all takes longer than many take to run. */
const verbs: Readonly<Record<string, () => Promise<Command>>> = {
  compare: async () => (await import("./commands/compare.ts")).compareCommand(),
  replay: async () => (await import("./commands/replay.ts")).replayCommand(),
  record: async () => (await import("./commands/record.ts")).recordCommandLine(),
  import: async () => (await import("./commands/import.ts")).importCommand(),
  step: async () => (await import("./commands/step.ts")).stepCommand(),
  trace: async () => (await import("./commands/trace.ts")).traceCommand(),
  check: async () => (await import("./commands/check.ts")).checkCommand(),
  "explore-schedules": async () => (await import("./commands/explore-schedules.ts")).exploreSchedulesCommand(),
  matrix: async () => (await import("./commands/matrix.ts")).matrixCommand(),
  experiment: async () => (await import("./commands/experiment.ts")).experimentCommand(),
  design: async () => (await import("./commands/design.ts")).designCommand(),
  meminfo: async () => (await import("./commands/meminfo.ts")).meminfoCommand(),
  presets: async () => (await import("./commands/presets.ts")).presetsCommand(),
};

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

for (const verb of verbsFor(process.argv[2])) program.addCommand(await verb());
exitInsteadOfThrowing(program);

try {
  await program.parseAsync(process.argv);
} catch (error) {
  process.exitCode = explain(error);
}

/** The verbs that a command line needs: the one that it starts with; all where help may be wanted. */
function verbsFor(first: string | undefined): readonly (() => Promise<Command>)[] {
  if (first === "--version" || first === "-V") return [];
  return first !== undefined && Object.hasOwn(verbs, first) ? [verbs[first]] : Object.values(verbs);
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
  if (error instanceof RangeError && error.message.includes("allocation failed")) {
    process.stderr.write(
      "bigmem: this machine has not enough memory for the run; touch less memory, or use a larger machine\n",
    );
    return USAGE;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(
    `bigmem: this is a bug of bigmem's, not of yours; please report it with the command that shows it.\n${text}\n`,
  );
  if (error instanceof KernelBug && error.state !== undefined) process.stderr.write(`\n${error.state}\n`);
  return BUG;
}
