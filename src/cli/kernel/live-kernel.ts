/**
 * The kernel underneath, as something that answers programs: the executor beside this file, compiled on demand, in
 * as many processes as wanted, each on a CPU of its own and fed through its standard input.
 */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { arch, availableParallelism, platform, release } from "node:os";
import { type Outcome, parseOutcomes } from "../../check/compare-outcomes.ts";
import { formatProgram, type Program } from "../../check/program.ts";
import { compiled, findCompiler } from "../compiled.ts";
import { reason } from "../files.ts";

/** Static, so that nothing is loaded at places of its own choice. */
const executor = {
  what: "the executor",
  name: "executor",
  suffix: "",
  flags: ["-std=gnu11", "-O2", "-static", "-no-pie"],
  folder: new URL("./executor/", import.meta.url),
};
/** Programs that one process has been given and not answered. */
const AHEAD = 8;
/** The most that one program may print. */
const MOST_OUTPUT = 64 * 1024 * 1024;

/** What this machine lets the executor see. */
export interface Sight {
  /** Frame numbers, and so which pages are shared. */
  readonly frames: boolean;
  /** No limit on locked memory. */
  readonly locks: boolean;
  /** Pages in its pool of huge pages; null: somebody else uses some of them. */
  readonly hugePages: number | null;
}

export class LiveKernel {
  /** As uname says it. */
  readonly release: string;
  readonly sight: Sight;
  private readonly path: string;

  constructor(path: string) {
    this.path = path;
    this.release = release();
    const said = execFileSync(path, ["-i"], { encoding: "utf8" });
    this.sight = { frames: /frames=1/.test(said), locks: /locks=1/.test(said), hugePages: idleHugePages() };
  }

  /** Runs one program and waits for it. */
  run(program: Program): Outcome {
    const { stdout, stderr, status } = spawnSync(this.path, ["-a", "0"], {
      input: formatProgram(program),
      encoding: "utf8",
      maxBuffer: MOST_OUTPUT,
    });
    const outcome = parseOutcomes(stdout).get(program.name);
    if (status !== 0 || outcome === undefined) throw new Error(`the executor fails: ${stderr.trim() || status}`);
    return outcome;
  }

  /** Runs many programs on several processes; `answered` is called for each as it comes. */
  async runAll(
    programs: Iterable<Program>,
    jobs: number,
    answered: (program: Program, outcome: Outcome) => void,
  ): Promise<void> {
    const left = programs[Symbol.iterator]();
    const executors = Array.from({ length: jobs }, (_, cpu) => new Executor(this.path, cpu % availableParallelism()));
    const lane = async (executor: Executor) => {
      for (let next = left.next(); next.done !== true; next = left.next()) {
        answered(next.value, await executor.run(next.value));
      }
    };
    try {
      await Promise.all(executors.flatMap((executor) => Array.from({ length: AHEAD }, () => lane(executor))));
    } finally {
      for (const executor of executors) executor.end();
    }
  }
}

/** Pages in the kernel's pool of huge pages, if all are free and promised to nobody. */
function idleHugePages(): number | null {
  const text = readFileSync("/proc/meminfo", "utf8");
  const count = (key: string) => Number(new RegExp(`^HugePages_${key}:\\s+(\\d+)$`, "m").exec(text)?.[1] ?? 0);
  return count("Free") === count("Total") && count("Rsvd") === 0 ? count("Total") : null;
}

/** The kernel underneath; or what is missing to ask it. */
export function findLiveKernel(): LiveKernel | { missing: string } {
  if (platform() !== "linux" || arch() !== "x64") return { missing: "Linux on x86-64" };
  const compiler = findCompiler();
  if (compiler === undefined) return { missing: "a C compiler" };
  try {
    return new LiveKernel(compiled(compiler, executor));
  } catch (error) {
    return { missing: `a C compiler that links statically: ${reason(error)}` };
  }
}

/** One process of the executor. It answers in the order in which it is asked. */
class Executor {
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly waiting: { name: string; resolve: (outcome: Outcome) => void; reject: (error: Error) => void }[] =
    [];
  private rest = "";
  private lines: string[] = [];
  private complaint = "";

  constructor(path: string, cpu: number) {
    this.child = spawn(path, ["-a", String(cpu)]);
    this.child.stdout.setEncoding("latin1").on("data", (text: string) => this.take(text));
    this.child.stderr.setEncoding("latin1").on("data", (text: string) => {
      this.complaint += text;
    });
    // That it has died is learnt from its end.
    this.child.stdin.on("error", () => {});
    this.child.on("error", (error) => this.fail(error));
    this.child.on("close", (status) =>
      this.fail(new Error(`the executor ended with ${status}: ${this.complaint.trim()}`)),
    );
  }

  run(program: Program): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ name: program.name, resolve, reject });
      this.child.stdin.write(formatProgram(program));
    });
  }

  end(): void {
    this.child.stdin.end();
    this.child.kill();
  }

  private take(text: string): void {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop()!;
    for (const line of lines) {
      if (line.startsWith("prog ")) this.lines = [];
      else if (line !== "end") this.lines.push(line);
      else {
        const { name, resolve } = this.waiting.shift()!;
        resolve({ name, lines: this.lines });
      }
    }
  }

  private fail(error: Error): void {
    for (const { reject } of this.waiting.splice(0)) reject(error);
  }
}
