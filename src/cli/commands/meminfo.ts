/** `bigmem meminfo`: /proc/meminfo of a machine that has just started, or has replayed a trace. */
import { Command } from "commander";
import { UsageError } from "../../base/errors.ts";
import { type MeminfoReport, meminfoReport } from "../../lab/meminfo-report.ts";
import type { ReplayObserver } from "../../lab/replay.ts";
import { runTrace, TraceStudy } from "../../lab/run.ts";
import { pageTablesBytes } from "../../lab/snapshot.ts";
import { Machine } from "../../machine.ts";
import { type MeminfoLine, meminfo, meminfoText } from "../../mm/meminfo.ts";
import { chosenSpec, type MachineOptions, withMachine } from "../machines.ts";
import { traceArgument, traceInput } from "../sources.ts";
import { examples, print } from "../text.ts";
import { version } from "../version.ts";

interface MeminfoOptions extends MachineOptions {
  after?: string;
  peak?: true;
  json?: true;
}

/** A machine, and the lines that were taken of it: now, or at the peak. */
interface Taken {
  readonly machine: Machine;
  readonly lines: readonly MeminfoLine[];
}

export function meminfoCommand(): Command {
  const command = new Command("meminfo").description(
    "boot a machine and print what its memory is used for, as /proc/meminfo does",
  );
  return withMachine(command)
    .option("--after <TRACE>", `print it at the end of a trace, when most programs have ended: ${traceArgument}`)
    .option("--peak", "with --after: as it was when page tables were at their peak")
    .option("--json", "as JSON, in bytes")
    .addHelpText(
      "after",
      examples(
        "bigmem meminfo --machine pae-8g --set geometry.memory=16G",
        'bigmem meminfo --machine amd64-8g --after "workload:shared-segment?processes=100" --peak --json',
      ),
    )
    .action(async (options: MeminfoOptions) => {
      const { after, peak } = options;
      if (after === undefined && peak === true) throw new UsageError("--peak: of what? It needs --after TRACE");
      const at = peak === true ? "peak" : "end";
      const { machine, lines } = after === undefined ? justStarted(options) : await replayed(options, after, at);
      const trace: MeminfoReport["after"] = after === undefined ? null : { trace: after, at };
      if (options.json === true) print(JSON.stringify(meminfoReport(machine.spec, version, lines, trace), null, 2));
      else print(meminfoText(machine.kernel, lines));
    });
}

function justStarted(options: MeminfoOptions): Taken {
  const machine = new Machine(chosenSpec(options));
  return { machine, lines: meminfo(machine.kernel) };
}

async function replayed(options: MeminfoOptions, trace: string, at: "end" | "peak"): Promise<Taken> {
  let watcher: PeakWatcher | undefined;
  await runTrace("meminfo", chosenSpec(options), new TraceStudy(traceInput(trace)), {
    version,
    observe: (machine) => {
      watcher = new PeakWatcher(machine);
      return watcher;
    },
  });
  const { machine, lines } = watcher!;
  return { machine, lines: at === "peak" ? lines : meminfo(machine.kernel) };
}

/** Takes the lines before each event that finds more page tables than any before. */
class PeakWatcher implements ReplayObserver {
  readonly machine: Machine;
  lines: readonly MeminfoLine[];
  private peakBytes = 0;

  constructor(machine: Machine) {
    this.machine = machine;
    this.lines = meminfo(machine.kernel);
  }

  before({ what }: Parameters<ReplayObserver["before"]>[0]): void {
    const { kernel } = this.machine;
    const bytes = pageTablesBytes(kernel);
    if (what.op === "fault" || bytes <= this.peakBytes) return;
    this.peakBytes = bytes;
    this.lines = meminfo(kernel);
  }

  after(): void {}
}
