/**
 * `bigmem record`: runs a program under a recorder and writes what it did to memory as a trace. The program keeps its
 * standard streams and its exit status; whatever goes wrong on bigmem's side ends with status 125.
 */
import { constants } from "node:os";
import { UsageError } from "../../base/errors.ts";
import type { TraceHeader, TraceTotals } from "../../lab/trace/format.ts";
import { TraceWriter } from "../../lab/trace/writer.ts";
import { zstdCodec } from "../codec.ts";
import { abandonUnfinished, ReplacedFile } from "../files.ts";
import { version } from "../version.ts";
import { type Program, resolveProgram } from "./elf.ts";
import { recordWithQemu } from "./qemu.ts";
import { findQemu, type QemuTools } from "./qemu-tools.ts";
import { findValgrind, recordWithValgrind, type ValgrindTools } from "./valgrind.ts";

export const recorderNames = ["auto", "qemu", "valgrind"] as const;
export type RecorderName = (typeof recorderNames)[number];

export interface RecordRequest {
  readonly command: string;
  readonly args: readonly string[];
  readonly output: string;
  readonly recorder: RecorderName;
}

/** How the recorded program ended. */
export interface RecorderStatus {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface RecordResult {
  readonly recorder: "qemu" | "valgrind";
  readonly status: RecorderStatus;
  readonly totals: TraceTotals;
  readonly outputBytes: number;
}

/** bigmem's own failures, as env and nohup count theirs. */
export const OWN_FAILURE = 125;

const COMPRESSION_LEVEL = 1;

/** Runs the program to its end; the trace appears under its name when it is whole. */
export async function record(request: RecordRequest): Promise<RecordResult> {
  const program = resolveProgram(request.command, request.args);
  const tools = chooseRecorder(request.recorder, program);
  const file = new ReplacedFile(request.output);
  try {
    const writer = new TraceWriter(
      (bytes) => file.write(bytes),
      zstdCodec(COMPRESSION_LEVEL),
      headerFor(request, program, tools),
    );
    const status =
      tools.name === "qemu"
        ? await recordWithQemu(tools.tools, program, writer)
        : await recordWithValgrind(tools.tools, program, writer);
    const totals = await writer.finish();
    if (totals.events === 0) throw new Error(`${program.path}: the recorder could not start it`);
    file.commit();
    return { recorder: tools.name, status, totals, outputBytes: file.bytes };
  } catch (error) {
    file.abandon();
    throw error;
  }
}

export interface RecordOptions {
  readonly output?: string;
  readonly recorder?: string;
  readonly quiet?: boolean;
}

/** As a shell counts it: 128 + SIGTERM. */
const TERMINATED = 143;

/** The verb: returns the exit status, the program's own or 125. */
export async function recordCommand(command: readonly string[], options: RecordOptions): Promise<number> {
  // Ctrl-C is every verb's; a recorder is often stopped by others, too.
  process.once("SIGTERM", () => {
    abandonUnfinished();
    process.exit(TERMINATED);
  });
  try {
    const [name, ...args] = command;
    if (name === undefined) throw new UsageError("record: which command? bigmem record [-o FILE] -- COMMAND [ARGS]");
    const recorder = recorderNames.find((each) => each === (options.recorder ?? "auto"));
    if (recorder === undefined) {
      throw new UsageError(`--recorder ${options.recorder}: there is ${recorderNames.join(", ")}`);
    }
    const output = options.output ?? `${name.split("/").at(-1)}.bmt`;
    const began = performance.now();
    const result = await record({ command: name, args, output, recorder });
    if (options.quiet !== true) process.stderr.write(`bigmem: ${summary(output, result, performance.now() - began)}\n`);
    return exitStatus(result.status);
  } catch (error) {
    const said =
      error instanceof UsageError ? error.message : error instanceof Error ? (error.stack ?? error.message) : error;
    process.stderr.write(`bigmem: ${said}\n`);
    return OWN_FAILURE;
  }
}

/** As a shell reports it. */
export const exitStatus = ({ code, signal }: RecorderStatus): number =>
  code ?? 128 + (signal === null ? 0 : constants.signals[signal]);

function summary(output: string, { recorder, totals, outputBytes }: RecordResult, millis: number): string {
  const accesses = `${(totals.accesses / 1e6).toFixed(2)} M accesses`;
  const size = `${(outputBytes / 1048576).toPrecision(3)} MiB`;
  return `${output}: ${accesses} in ${totals.records} records, ${totals.events} events, ${size}; ${(millis / 1000).toFixed(1)} s with ${recorder}`;
}

type Chosen = { name: "qemu"; tools: QemuTools } | { name: "valgrind"; tools: ValgrindTools };

function chooseRecorder(wanted: RecorderName, program: Program): Chosen {
  const missing: string[] = [];
  if (wanted !== "valgrind") {
    const tools = findQemu(program.abi);
    if (!("missing" in tools)) return { name: "qemu", tools };
    missing.push(`the recorder qemu needs ${tools.missing}`);
  }
  if (wanted !== "qemu") {
    const tools = findValgrind();
    if (!("missing" in tools)) return { name: "valgrind", tools };
    missing.push(`the recorder valgrind needs ${tools.missing}`);
  }
  throw new UsageError(
    `${missing.join("; ")}; on Debian and Ubuntu: apt install ${wanted === "valgrind" ? "valgrind" : "qemu-user gcc"}` +
      (wanted === "auto" ? ", or apt install valgrind (slower)" : ""),
  );
}

function headerFor(request: RecordRequest, program: Program, chosen: Chosen): TraceHeader {
  const common = {
    schema: "bigmem.trace/1" as const,
    command: [request.command, ...request.args],
    abi: program.abi,
    sets: 1,
    accesses: "recorded" as const,
    writtenBy: `bigmem ${version}`,
  };
  if (chosen.name === "qemu") {
    return {
      ...common,
      recorder: `qemu-user ${chosen.tools.version} with bigmem's plugin`,
      ordering: "calls",
      notes: [
        "addresses are those of the emulator, not of a native run; vfork runs as fork; a read-modify-write counts as a store",
        "signal frames that are put on a stack are not seen",
      ],
    };
  }
  return {
    ...common,
    recorder: `valgrind ${chosen.tools.version} lackey`,
    ordering: "none",
    notes: [
      "addresses are those under valgrind, not of a native run; vfork runs as fork; threads run one at a time",
      "several processes are put in order by fork, wait and the time at which their records came",
    ],
  };
}
