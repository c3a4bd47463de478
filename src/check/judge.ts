/**
 * Runs a program and judges it: every outcome by the flat model, the whole machine by the auditor after each operation.
 * What is wrong first is returned as one sentence, with the state of the machine at that time.
 */
import { KernelBug } from "../base/errors.ts";
import type { Machine } from "../machine.ts";
import { audit } from "./audit/audit.ts";
import { describe } from "./describe.ts";
import { unfoundedShortage } from "./huge-shortage.ts";
import { compareContents } from "./model/contents.ts";
import { FlatModel, type FlatRules } from "./model/flat-model.ts";
import { formatOperation, type Operation, type Program } from "./program.ts";
import type { ProgramRunner } from "./program-runner.ts";
import type { ProgramRun } from "./run-program.ts";
import { scaleProgram } from "./scale-program.ts";
import { shortagesOf } from "./shortage.ts";

export interface Failure {
  readonly what: string;
  /** The machine's state, in the notation of describe.ts. */
  readonly state: string;
}

export interface Judging {
  /** Audit after each so many operations; 0: only at the end. */
  readonly auditEvery: number;
}

/** Stops a run at the first thing that is wrong. */
class Wrong extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.what);
    this.failure = failure;
  }
}

/** What is wrong with a program's run on the runner's machine, for whose pages it is scaled; undefined if nothing is. */
export function judge(runner: ProgramRunner, written: Program, { auditEvery }: Judging): Failure | undefined {
  const program = scaleProgram(written, runner.machine.kernel.layout.userPages);
  const judgement = new Judgement(program, auditEvery);
  // From here on it is seen when memory lacks.
  shortagesOf(runner.machine);
  try {
    const outcome = runner.run(program, (operation, line, run) => judgement.observe(operation, line, run));
    return judgement.end(outcome.lines.slice(program.operations.length), runner.machine);
  } catch (error) {
    if (error instanceof Wrong) return error.failure;
    if (error instanceof KernelBug)
      return { what: `KernelBug: ${error.message}\n${error.stack ?? ""}`, state: error.state ?? "" };
    throw error;
  }
}

class Judgement {
  private readonly program: Program;
  private readonly auditEvery: number;
  private operations = 0;
  private model: FlatModel | undefined;
  /** An allocation of this operation was made to fail. */
  private failing = false;

  constructor(program: Program, auditEvery: number) {
    this.program = program;
    this.auditEvery = auditEvery;
  }

  observe(operation: Operation, line: string, run: ProgramRun): void {
    if (this.operations++ === 0) {
      this.model = new FlatModel(this.program, rulesOf(run), run.executor);
      // Where there is hardly any memory it was killed before it had begun.
      if (line.endsWith(" nosuchproc")) this.model.kill(operation.process);
    }
    const { times, complaint } = shortagesOf(run.machine).take();
    if (complaint !== undefined) throw wrong(operation, line, run, complaint);
    if (operation.name !== "fail") this.follow(operation, line, run, times > 0 || this.failing);
    this.failing = operation.name === "fail";
    if (this.auditEvery > 0 && this.operations % this.auditEvery === 0) requireLaws(operation, line, run);
  }

  /** `short`: memory lacked, or was made to. */
  private follow(operation: Operation, line: string, run: ProgramRun, short: boolean): void {
    const [, result, , killed] = /^(.*?)( mf=\d+,\d+)?( killed=[\d,]+)?$/.exec(line.split(" ").slice(3).join(" "))!;
    const printed = result!;
    if (!short && (/\bOOM\b/.test(printed) || killed !== undefined)) {
      throw wrong(operation, line, run, "out of memory, and reclaim has not given up");
    }
    if (!short && operation.name === "fork" && printed === "ENOMEM")
      throw wrong(operation, line, run, "ENOMEM, and reclaim has not given up");
    const unfounded = this.failing ? undefined : unfoundedShortage(operation, printed, run);
    if (unfounded !== undefined) throw wrong(operation, line, run, unfounded);
    // What huge pages mean the model does not know; the auditor goes on alone.
    if (asksForHugePages(operation)) this.model = undefined;
    const told = this.tell(operation, printed, short);
    if (told !== undefined) throw wrong(operation, line, run, told);
    for (const process of killed?.replace(" killed=", "").split(",") ?? []) this.model?.kill(Number(process));
  }

  /** What the model says of what was printed. */
  private tell(operation: Operation, printed: string, short: boolean): string | undefined {
    if (short && /^(E[A-Z]+|OOM)/.test(printed)) {
      // What a call leaves half done is its own business; the auditor goes on alone.
      if (!changesAllOrNothing(operation)) this.model = undefined;
      return undefined;
    }
    if (short && mayHaveDoneLess(operation, this.model)) this.model = undefined;
    return this.model?.step(operation, printed);
  }

  end(dump: readonly string[], machine: Machine): Failure | undefined {
    const state = dump.join("\n");
    const { times, complaint } = shortagesOf(machine).take();
    if (complaint !== undefined) return { what: `at the end, ${complaint}`, state };
    if (this.model === undefined) return undefined;
    const found = compareContents(this.model, dump);
    // What nobody has memory for cannot be shown.
    const first = times > 0 ? found.find((wrong) => !wrong.includes(": --, ")) : found[0];
    return first === undefined ? undefined : { what: `at the end, ${first}`, state };
  }
}

const rulesOf = ({ machine }: ProgramRun): FlatRules => ({
  noExecute: machine.kernel.format.hasNoExecute,
  personality: machine.kernel.personality.name as FlatRules["personality"],
  nonlinear: machine.spec.design.nonlinear,
  pfnMappings: machine.spec.design.pfnMappings,
  userPages: machine.kernel.layout.userPages,
  hugePages: machine.kernel.format.entrySpan(2),
});

function requireLaws(operation: Operation, line: string, run: ProgramRun): void {
  const [first] = audit(run.machine);
  if (first !== undefined) throw wrong(operation, line, run, `${first.law}: ${first.what}`);
}

const wrong = (operation: Operation, line: string, { machine }: ProgramRun, what: string): Wrong =>
  new Wrong({ what: `${formatOperation(operation)} | ${line}: ${what}`, state: describe(machine) });

/** These change nothing that a program sees when they fail. */
const failWhole: ReadonlySet<string> = new Set([
  "r",
  "w",
  "x",
  "munmap",
  "fork",
  "exit",
  "stat",
  "fread",
  "fwrite",
  "brk",
  "mincore",
  "msync",
  "shmget",
  "shmdt",
  "shmrm",
]);
const SHM_REMAP = 0o40000;
const MAP_FIXED = 0x10;
const MAP_HUGETLB = 0x4_0000;
/** MREMAP_FIXED and MREMAP_DONTUNMAP: what was at the target is gone before the move is tried. */
const MREMAP_TO = 6;

const asksForHugePages = ({ name, operands }: Operation): boolean =>
  name === "mmap" && (operands[3]!.value & MAP_HUGETLB) !== 0;

/** Whether a failed operation has left everything as it was. Mapping to a fixed place removes first what was there. */
function changesAllOrNothing({ name, operands }: Operation): boolean {
  if (name === "mmap") return (operands[3]!.value & MAP_FIXED) === 0;
  if (name === "shmat") return (operands[2]!.value & SHM_REMAP) === 0;
  if (name === "mremap") return (operands[3]!.value & MREMAP_TO) === 0;
  return failWhole.has(name);
}

/**
 * Locking and populating go on where memory is short, and say nothing; mremap leaves the old place mapped, and empty, if
 * it cannot split the area there.
 */
const quietlyLess: ReadonlySet<string> = new Set(["mlock", "mlock2", "mlockall", "madvise", "rfp", "falloc", "mremap"]);
/** MAP_LOCKED and MAP_POPULATE. */
const MAP_PRESENT = 0xa000;

function mayHaveDoneLess({ name, operands }: Operation, model: FlatModel | undefined): boolean {
  if (name === "mmap" && (operands[3]!.value & MAP_PRESENT) !== 0) return true;
  return quietlyLess.has(name) || (model?.hasLocks ?? false);
}
