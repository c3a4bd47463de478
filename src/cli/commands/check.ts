/** `bigmem check`: is what the engine does right? */
import { Command } from "commander";
import { UsageError } from "../../base/errors.ts";
import { laws } from "../../check/audit/audit.ts";
import { describe } from "../../check/describe.ts";
import { AuditedReplay } from "../../lab/audited.ts";
import { runTrace, TraceStudy } from "../../lab/run.ts";
import type { Machine } from "../../machine.ts";
import { chosenSpec, type MachineOptions, withMachine } from "../machines.ts";
import { traceArgument, traceInput } from "../sources.ts";
import { examples, print } from "../text.ts";
import { version } from "../version.ts";
import { checkFidelity } from "./check-fidelity.ts";
import { checkKernel } from "./check-kernel.ts";
import { checkPrograms } from "./check-programs.ts";
import { checkRandom } from "./check-random.ts";

/** The run found what it was asked to find. */
const FOUND = 1;

export function checkCommand(): Command {
  return new Command("check")
    .description("check the engine against its own laws and against real kernels")
    .addCommand(checkTrace())
    .addCommand(checkPrograms())
    .addCommand(checkRandom())
    .addCommand(checkKernel())
    .addCommand(checkFidelity())
    .addHelpText(
      "after",
      examples(
        "bigmem check trace samples/sort.bmt --audit 1",
        "bigmem check trace workload:fork-storm --audit 100 --set reverseMap=pte-chain-e",
        "bigmem check fidelity samples/sort.bmt",
        "bigmem check programs mine.txt --kernel linux-6.18 --expect outcomes.txt",
        "bigmem check random --programs 10000",
        "bigmem check kernel",
      ),
    );
}

interface CheckTraceOptions extends MachineOptions {
  audit: string;
}

function checkTrace(): Command {
  return withMachine(
    new Command("trace")
      .description("replay a trace and audit every law of the machine on the way")
      .argument("<trace>", traceArgument),
  )
    .option("--audit <N>", "audit after every N-th operation (fault, call, fork, ...)", "1")
    .addHelpText(
      "after",
      examples(
        "bigmem check trace samples/sort.bmt --audit 1",
        "bigmem check trace samples/postgres-shared.bmt --audit 500 --machine piii-4g",
      ),
    )
    .action(async (trace: string, options: CheckTraceOptions) => {
      const every = Number(options.audit);
      if (!Number.isInteger(every) || every < 1)
        throw new UsageError(`--audit ${options.audit}: expected a whole number from 1`);
      await auditTrace(trace, options, every);
    });
}

async function auditTrace(trace: string, options: MachineOptions, every: number): Promise<void> {
  let audited: AuditedReplay | undefined;
  let seen: Machine | undefined;
  const run = await runTrace("check", chosenSpec(options), new TraceStudy(traceInput(trace)), {
    version,
    observe: (machine) => {
      seen = machine;
      audited = new AuditedReplay(machine, every);
      return audited;
    },
  });
  if (audited === undefined || seen === undefined) throw new UsageError(`${trace}: nothing was replayed`);
  const { finding, operations, audits } = audited;
  if (finding === undefined) {
    print(
      `${trace}: ${operations} operations on ${run.spec.kernel}, ${audits} audits of ${laws.length} laws: none is broken`,
    );
    return;
  }
  print(`${trace}: after operation ${finding.operation} (${finding.name}, record ${finding.record}):`);
  for (const { law, what } of finding.violations) print(`  ${law}: ${what}`);
  print(`\nThe state at the end:\n${describe(seen)}`);
  process.exitCode = FOUND;
}
