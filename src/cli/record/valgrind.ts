/**
 * The back end that records with valgrind's lackey: every process (and every program that one execs) writes a text log,
 * the logs are read as they grow, and what was read is given back to the file system.
 *
 * The order between processes: a child comes after its fork, and all of it before the wait that reports its end; else
 * as the logs grow.
 */
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryCallNamed, traceArguments } from "../../lab/import/calls.ts";
import { type LackeyCall, type LackeyHandler, LackeyParser } from "../../lab/import/lackey-parser.ts";
import { type Abi, type AccessKind, FETCH } from "../../lab/trace/format.ts";
import type { TraceWriter } from "../../lab/trace/writer.ts";
import { type CallShape, shapeNamed } from "./calls.ts";
import { findTool, type Program, readElf } from "./elf.ts";
import { DescriptorTable } from "./files.ts";
import { imageOf, type MapsLine, parseMaps } from "./image.ts";
import type { RecorderStatus } from "./record.ts";
import { Recording, sharesMemory } from "./recording.ts";

export interface ValgrindTools {
  readonly path: string;
  readonly version: string;
}

export function findValgrind(): ValgrindTools | { missing: string } {
  const path = findTool("valgrind");
  if (path === undefined) return { missing: "valgrind (package valgrind)" };
  const version = execFileSync(path, ["--version"], { encoding: "utf8" })
    .replace(/^valgrind-/, "")
    .trim();
  return { path, version };
}

const POLL_MILLIS = 10;
const READ_BYTES = 1 << 20;
/** Consumed parts of a log are freed in pieces of this size. */
const FREE_BYTES = 64 << 20;

/** Runs the program to its end, and all that it started; everything goes to `writer`. */
export async function recordWithValgrind(
  tools: ValgrindTools,
  program: Program,
  writer: TraceWriter,
): Promise<RecorderStatus> {
  const folder = mkdtempSync(join(tmpdir(), "bigmem-"));
  // Programs that change their user write logs too.
  chmodSync(folder, 0o733);
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once("exit", remove);
  const options = [
    "--tool=lackey",
    "--trace-mem=yes",
    "--trace-syscalls=yes",
    "--basic-counts=no",
    "--trace-children=yes",
    // Its optimiser would drop loads whose value the program does not use.
    "--vex-iropt-level=0",
  ];
  const log = `--log-file=${join(folder, "log.%p.%n")}`;
  const [, ...args] = program.argv;
  const child = spawn(tools.path, ["-q", ...options, log, program.path, ...args], { stdio: "inherit" });
  const stop = (): boolean => child.kill();
  process.once("exit", stop);
  const status = new Promise<RecorderStatus>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  let ended = false;
  const watched = status.finally(() => {
    ended = true;
  });
  watched.catch(() => {});
  try {
    const logs = new Logs(folder, writer, child.pid ?? 0);
    for (;;) {
      const last = ended;
      const read = logs.read();
      await writer.settled();
      if (last && read === 0 && logs.allEnded()) break;
      // Logs that grow slowly are read in pieces worth a look.
      await new Promise((resolve) => setTimeout(resolve, read < READ_BYTES / 4 ? POLL_MILLIS : 0));
    }
    return await status;
  } finally {
    if (!ended) stop();
    process.removeListener("exit", stop);
    process.removeListener("exit", remove);
    remove();
  }
}

/** What a process takes over at its fork, or a program from the one before it. */
interface Fork {
  readonly descriptors: DescriptorTable;
  /** Valgrind's number of the thread that goes on. */
  readonly thread: number;
}

const FIRST: Fork = { descriptors: new DescriptorTable(), thread: 1 };

/** All the logs of one recording. */
class Logs {
  readonly recording: Recording;
  private readonly folder: string;
  private readonly root: number;
  /** By process: its logs in order; all but the last are of programs that it ran before an exec. */
  private readonly byProcess = new Map<number, Log[]>();
  /** By process that was forked. */
  private readonly forks = new Map<number, Fork>();
  private found = 0;

  constructor(folder: string, writer: TraceWriter, root: number) {
    this.folder = folder;
    this.root = root;
    this.recording = new Recording(writer);
  }

  /** Reads a part of each log; returns how many bytes there were. */
  read(): number {
    this.discover();
    let bytes = 0;
    for (const process of [...this.byProcess.keys()]) bytes += this.readProcess(process);
    return bytes;
  }

  allEnded(): boolean {
    const reads = (process: number): boolean => process === this.root || this.forks.has(process);
    return [...this.byProcess.keys()].every((process) => !reads(process) && !lives(process));
  }

  /** Everything of a process that has ended. */
  drain(process: number): void {
    this.discover();
    while (this.readProcess(process));
    this.endIfGone(process);
  }

  /** A log's process has forked: the child's own log may be read now. */
  announce(process: number, fork: Fork): void {
    this.forks.set(process, fork);
  }

  /** Logs are renamed as they are found: a second exec of a process would write over the first one's. */
  private discover(): void {
    const names = readdirSync(this.folder).filter((name) => name.startsWith("log."));
    // A forked child's log has a number above 1; what it execs starts with 1 again.
    const parsed = names.map((name) => ({ name, pid: Number(name.split(".")[1]), number: Number(name.split(".")[2]) }));
    for (const { name, pid } of parsed.sort((a, b) => b.number - a.number)) {
      const path = join(this.folder, `seen.${++this.found}`);
      renameSync(join(this.folder, name), path);
      const logs = this.byProcess.get(pid) ?? [];
      const forked = pid !== this.root && logs.length === 0;
      logs.push(new Log(this, pid, path, forked ? "forked" : "started"));
      this.byProcess.set(pid, logs);
    }
  }

  private readProcess(process: number): number {
    const logs = this.byProcess.get(process) ?? [];
    if (logs.length === 0) return 0;
    // Not before the parent's log has told of the fork.
    const fork = process === this.root ? FIRST : this.forks.get(process);
    if (fork === undefined) return 0;
    const [log, next] = logs;
    log.begin(fork);
    const bytes = log.read();
    if (bytes > 0) return bytes;
    if (next !== undefined) {
      next.begin(log.handOver());
      logs.shift();
      return this.readProcess(process);
    }
    this.endIfGone(process);
    return 0;
  }

  private endIfGone(process: number): void {
    const log = this.byProcess.get(process)?.[0];
    if (log === undefined || lives(process) || log.read() > 0) return;
    if (this.byProcess.get(process)?.length !== 1) return;
    log.end();
    log.close();
    this.byProcess.delete(process);
    this.forks.delete(process);
  }
}

/** Whether a process can still write. */
function lives(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** Valgrind numbers the threads of each process from 1. */
const THREADS_A_PROCESS = 1024;
/** A program that makes no call is started after so many accesses. */
const MAX_EARLY = 1 << 18;
const PAGE_BYTES = 4096;
const NO_QUOTE = new DataView(new ArrayBuffer(0));

/** One log: of a program from its start, or of a forked child. */
class Log implements LackeyHandler {
  private readonly logs: Logs;
  private readonly pid: number;
  private readonly path: string;
  private readonly file: number;
  private readonly parser: LackeyParser;
  private readonly buffer = new Uint8Array(READ_BYTES);
  private position = 0;
  private freed = 0;
  private descriptors = FIRST.descriptors;
  private thread = FIRST.thread;
  private begun = false;
  private readonly living = new Set<number>();
  private started: boolean;
  private maps: readonly MapsLine[] | undefined;
  /** Accesses before the first call: kind and address, in turn. */
  private readonly early: number[] = [];

  constructor(logs: Logs, pid: number, path: string, how: "started" | "forked") {
    this.logs = logs;
    this.pid = pid;
    this.path = path;
    this.file = openSync(path, "r");
    this.started = how === "forked";
    this.parser = new LackeyParser(`valgrind's log of process ${pid}`, this);
    if (how === "started") this.maps = mapsOf(pid);
  }

  /** Before the first read: what the log's process takes over. */
  begin({ descriptors, thread }: Fork): void {
    if (this.begun) return;
    this.begun = true;
    this.descriptors = descriptors;
    this.thread = thread;
    this.living.add(thread);
  }

  /** The program ends here because its process runs another one; that one's thread is the first again. */
  handOver(): Fork {
    this.close();
    this.logs.recording.rename(this.key(), this.keyOf(FIRST.thread));
    return { descriptors: this.descriptors, thread: FIRST.thread };
  }

  /** Reads on; 0 at the end of what is written so far. */
  read(): number {
    const got = readSync(this.file, this.buffer, 0, READ_BYTES, this.position);
    if (got === 0) return 0;
    this.position += got;
    if (!this.started && !hasImage(this.maps)) this.maps = mapsOf(this.pid);
    this.turn();
    this.parser.feed(this.buffer.subarray(0, got));
    this.free();
    return got;
  }

  end(): void {
    if (!this.started) this.start(undefined);
    this.turn();
    const { recording } = this.logs;
    if (recording.knows(this.key())) recording.killed(this.key(), undefined);
  }

  close(): void {
    closeSync(this.file);
    rmSync(this.path, { force: true });
  }

  access(kind: AccessKind, address: number, bytes: number): void {
    if (!this.started) {
      this.early.push(kind, address);
      if (this.early.length > 2 * MAX_EARLY) this.start(undefined);
      return;
    }
    const { recording } = this.logs;
    const page = Math.floor(address / PAGE_BYTES);
    const last = Math.floor((address + bytes - 1) / PAGE_BYTES);
    recording.access(kind, page);
    if (last !== page) recording.access(kind, last);
  }

  call(call: LackeyCall): void {
    const name = call.name.replace(/^sys_(new)?(?!fstatat)/, "");
    if (!this.started) this.start(name === "brk" ? call.result : undefined);
    this.enter(call.thread);
    const { recording } = this.logs;
    const { result, args } = call;
    if (name === "exit_group" || name === "exit") {
      recording.exit(this.key(), args[0] % 256, name === "exit" ? "thread" : "process", undefined);
      this.living.delete(this.thread);
    } else if (result !== undefined) {
      this.returned(name, call, result);
    }
    this.turn();
  }

  private returned(name: string, call: LackeyCall, result: number): void {
    const { recording } = this.logs;
    const { args } = call;
    if (/^(clone|fork|vfork)$/.test(name)) {
      // Threads are told apart when they make their first call.
      const shares = name === "clone" ? sharesMemory(args[0]) : "nothing";
      if (shares === "memory" || result <= 0) return;
      recording.fork(result * THREADS_A_PROCESS + this.thread, "nothing", undefined);
      this.logs.announce(result, { descriptors: this.descriptors.copy(), thread: this.thread });
      return;
    }
    this.descriptors.follow(name, args, call.text, result);
    const memoryCall = memoryCallNamed(call.name);
    const traced = memoryCall === undefined ? args : traceArguments(call.name, memoryCall, args);
    const shape: CallShape | undefined = shapeNamed(memoryCall ?? name);
    if (shape !== undefined) {
      const seen = { name: memoryCall ?? name, args: traced, result, quoted: NO_QUOTE };
      recording.call(shape, seen, this.descriptors.fileOf(shape, traced, result), undefined);
    }
    if (name === "wait4" && result > 0) this.logs.drain(result);
  }

  private start(brk: number | undefined): void {
    const { recording } = this.logs;
    this.started = true;
    const data = this.early.findIndex((value, i) => i % 2 === 0 && value !== FETCH);
    const stackAddress = data < 0 ? 0 : this.early[data + 1];
    const maps = this.maps ?? [];
    const image = imageOf(clientMaps(maps, stackAddress), abiOf(maps), stackAddress);
    recording.start(this.key(), 0, brk === undefined ? image : { ...image, brk }, undefined);
    for (let i = 0; i < this.early.length; i += 2) this.access(this.early[i] as AccessKind, this.early[i + 1], 1);
    this.early.length = 0;
  }

  /** Valgrind says which thread runs at its calls only. */
  private enter(thread: number): void {
    const { recording } = this.logs;
    const before = this.key();
    this.thread = thread;
    if (!recording.knows(this.key())) {
      recording.turnTo(recording.knows(before) ? before : this.keyOf(Math.min(...this.living)));
      recording.fork(this.key(), "memory", undefined);
      this.living.add(thread);
    }
    recording.turnTo(this.key());
  }

  private key(): number {
    return this.keyOf(this.thread);
  }

  private keyOf(thread: number): number {
    return this.pid * THREADS_A_PROCESS + thread;
  }

  private turn(): void {
    this.logs.recording.turnTo(this.key());
  }

  private free(): void {
    if (this.position - this.freed < FREE_BYTES) return;
    const length = this.position - this.freed;
    const range = ["--punch-hole", "--offset", `${this.freed}`, "--length", `${length}`, this.path];
    // Where the file system or the tool cannot, the log just stays until its end.
    spawn("fallocate", range, { stdio: "ignore" }).on("error", () => {});
    this.freed = this.position;
  }
}

function mapsOf(pid: number): MapsLine[] {
  try {
    return parseMaps(readFileSync(`/proc/${pid}/maps`, "utf8"));
  } catch {
    return [];
  }
}

const isOwn = (path: string): boolean => /\/valgrind\//.test(path);

/** The program: the lowest image that is not valgrind's. */
const programLine = (maps: readonly MapsLine[]): MapsLine | undefined =>
  maps.find((line) => line.path.startsWith("/") && !isOwn(line.path) && readElf(line.path) !== undefined);

const hasImage = (maps: readonly MapsLine[] | undefined): boolean =>
  maps !== undefined && programLine(maps) !== undefined;

function abiOf(maps: readonly MapsLine[]): Abi {
  const program = programLine(maps);
  return (program && readElf(program.path)?.abi) ?? "x86-64";
}

/** What the program found at its start: its image, its dynamic linker and its stack; the rest is valgrind's own. */
function clientMaps(maps: readonly MapsLine[], stackAddress: number): MapsLine[] {
  const program = programLine(maps);
  const interpreter = program && readElf(program.path)?.interpreter;
  const linker = interpreter === undefined ? undefined : realpathSync(interpreter);
  return maps.filter(
    ({ path, start, end }) =>
      path === program?.path || path === linker || (start <= stackAddress && stackAddress < end),
  );
}
