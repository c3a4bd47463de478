/**
 * Runs a program and judges it: every outcome by the flat model, the whole machine by the auditor after each operation.
 * What is wrong first is returned as one sentence, with the state of the machine at that time.
 */
import { KernelBug } from "../base/errors.ts";
import { audit } from "./audit/audit.ts";
import { describe } from "./describe.ts";
import { compareContents } from "./model/contents.ts";
import { FlatModel, type FlatRules } from "./model/flat-model.ts";
import { formatOperation, type Operation, type Program } from "./program.ts";
import type { ProgramRunner } from "./program-runner.ts";
import type { ProgramRun } from "./run-program.ts";

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

/** What is wrong with a program's run on the runner's machine; undefined if nothing is. */
export function judge(runner: ProgramRunner, program: Program, { auditEvery }: Judging): Failure | undefined {
  const judgement = new Judgement(program, auditEvery);
  try {
    const outcome = runner.run(program, (operation, line, run) => judgement.observe(operation, line, run));
    return judgement.end(outcome.lines.slice(program.operations.length));
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
    if (this.operations++ === 0) this.model = new FlatModel(this.program, rulesOf(run), run.executor.breakStart);
    if (operation.name !== "fail") this.follow(operation, line, run);
    this.failing = operation.name === "fail";
    if (this.auditEvery > 0 && this.operations % this.auditEvery === 0) requireLaws(operation, line, run);
  }

  private follow(operation: Operation, line: string, run: ProgramRun): void {
    const printed = line.split(" ").slice(3).join(" ");
    if (this.failing && mayBeLess(operation, printed)) {
      // What is left half done is the call's own business; the auditor goes on alone.
      if (!failsWhole(operation)) this.model = undefined;
      return;
    }
    const wrong = this.model?.step(operation, printed);
    if (wrong !== undefined)
      throw new Wrong({ what: `${formatOperation(operation)} | ${line}: ${wrong}`, state: describe(run.machine) });
  }

  end(dump: readonly string[]): Failure | undefined {
    if (this.model === undefined) return undefined;
    const [wrong] = compareContents(this.model, dump);
    return wrong === undefined ? undefined : { what: `at the end, ${wrong}`, state: dump.join("\n") };
  }
}

const rulesOf = ({ machine }: ProgramRun): FlatRules => ({
  noExecute: machine.kernel.format.hasNoExecute,
  personality: machine.kernel.personality.name as FlatRules["personality"],
});

function requireLaws(operation: Operation, line: string, run: ProgramRun): void {
  const [first] = audit(run.machine);
  if (first === undefined) return;
  throw new Wrong({
    what: `${formatOperation(operation)} | ${line}: ${first.law}: ${first.what}`,
    state: describe(run.machine),
  });
}

/** Whether an operation that lacked memory may have done less than it should. */
function mayBeLess(operation: Operation, printed: string): boolean {
  return /^(E[A-Z]+|OOM)/.test(printed) || !leavesNothingOut.has(operation.name);
}

/** These either succeed as a whole or say that they did not. */
const leavesNothingOut: ReadonlySet<string> = new Set([
  "r",
  "w",
  "x",
  "munmap",
  "fork",
  "exit",
  "stat",
  "fread",
  "mincore",
  "msync",
]);

/** These change nothing that a program sees when they fail. */
const failsWhole = ({ name }: Operation): boolean => leavesNothingOut.has(name);
