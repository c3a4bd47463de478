/**
 * One recording on its way into a trace: which threads and processes live, whose records follow, and what each system
 * call means for memory. The back ends tell it what they saw in the order in which the trace shall have it; they name
 * threads and processes by numbers of their own (host's ids), the trace counts them 1, 2, 3...
 */
import { CLONE_VFORK, CLONE_VM, MAP_ANONYMOUS, memoryCallNamed, memoryCalls } from "../../lab/import/calls.ts";
import type { Abi, AccessKind } from "../../lab/trace/format.ts";
import type { TraceWriter } from "../../lab/trace/writer.ts";
import { type CallShape, kernelTouches, type SeenCall } from "./calls.ts";
import type { Image } from "./image.ts";

/** The file that a call is about, as it was when the call returned. */
export interface SeenFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** Where the next read or write would go; -1 if not known. */
  readonly position: number;
}

interface RecordedProcess {
  readonly id: number;
  readonly abi: Abi;
  readonly threads: Map<number, number>;
}

interface RecordedThread {
  readonly id: number;
  readonly process: RecordedProcess;
}

/** What a shell reports of a program that a signal ended, when nobody knows which signal. */
const ENDED_BY_SIGNAL = 128;

export class Recording {
  private readonly writer: TraceWriter;
  private readonly threads = new Map<number, RecordedThread>();
  private readonly openedFiles = new Set<string>();
  private current: RecordedThread | undefined;
  private lastId = 0;

  constructor(writer: TraceWriter) {
    this.writer = writer;
  }

  knows(thread: number): boolean {
    return this.threads.has(thread);
  }

  abiOf(thread: number): Abi {
    return this.threads.get(thread)?.process.abi ?? "x86-64";
  }

  /** A program begins: in a new process, or in place of what its process ran before. */
  start(thread: number, parent: number, image: Image, atMicros: number | undefined): void {
    const { abi, name, regions, brk } = image;
    const before = this.threads.get(thread);
    if (before !== undefined) {
      this.turnTo(thread);
      for (const other of [...before.process.threads.keys()]) {
        if (other !== thread) this.exit(other, 0, "thread", atMicros);
      }
      this.turnTo(thread);
      this.writer.event({ op: "exec", abi, name, regions, brk, atMicros });
      this.adopt(thread, before.id, { ...before.process, abi });
      this.current = this.threads.get(thread);
      return;
    }
    const id = ++this.lastId;
    const started = { id, abi, threads: new Map<number, number>() };
    this.adopt(thread, id, started);
    const parentId = this.threads.get(parent)?.process.id;
    this.writer.event({
      op: "start",
      thread: id,
      process: id,
      ...(parentId === undefined ? {} : { parent: parentId }),
      abi,
      name,
      regions,
      brk,
      atMicros,
    });
    this.current = this.threads.get(thread);
  }

  /** The recorder calls a thread by another number from now on. */
  rename(from: number, to: number): void {
    const thread = this.threads.get(from);
    if (thread === undefined || from === to) return;
    thread.process.threads.delete(from);
    this.threads.delete(from);
    this.adopt(to, thread.id, thread.process);
  }

  /** What follows is this thread's. */
  turnTo(thread: number): void {
    const next = this.threads.get(thread);
    if (next === this.current || next === undefined) return;
    this.current = next;
    this.writer.event({ op: "switch", thread: next.id });
  }

  /** One access that no recorder has absorbed yet. */
  access(kind: AccessKind, page: number): void {
    this.writer.access(kind, page);
  }

  /** The runs of a packet from `from` on, until something else comes; returns where. */
  runs(items: Uint32Array, from: number): number {
    return this.writer.runs(items, from);
  }

  /** The current thread made `child`: a process of its own or another thread of its process. */
  fork(child: number, shares: "nothing" | "memory", atMicros: number | undefined): void {
    const { current } = this;
    if (current === undefined) return;
    const id = ++this.lastId;
    const parent = current.process;
    const process = shares === "memory" ? parent : { id, abi: parent.abi, threads: new Map<number, number>() };
    this.adopt(child, id, process);
    this.writer.event({ op: "fork", child: id, process: process.id, shares, atMicros });
  }

  exit(thread: number, status: number, scope: "thread" | "process", atMicros: number | undefined): void {
    const ended = this.threads.get(thread);
    if (ended === undefined) return;
    this.turnTo(thread);
    const { threads } = ended.process;
    const last = scope === "process" || threads.size === 1;
    this.writer.event({ op: "exit", thread: ended.id, status, scope: last ? "process" : "thread", atMicros });
    for (const key of last ? [...threads.keys()] : [thread]) {
      threads.delete(key);
      this.threads.delete(key);
    }
    this.current = undefined;
  }

  /** A process is gone without having said so. */
  killed(thread: number, atMicros: number | undefined): void {
    this.exit(thread, ENDED_BY_SIGNAL, "process", atMicros);
  }

  /** A system call of the current thread. Its `shape` says what it means. */
  call(shape: CallShape, call: SeenCall, file: SeenFile | undefined, atMicros: number | undefined): void {
    const { current } = this;
    if (current === undefined) return;
    if (shape.memory) this.memoryCall(call, file, atMicros);
    else if (file !== undefined && call.result >= 0) this.fileCall(call, file, atMicros);
    for (const touch of kernelTouches(current.process.abi, shape, call)) {
      this.writer.event({ op: "kernel-access", ...touch });
    }
  }

  private adopt(thread: number, id: number, process: RecordedProcess): void {
    process.threads.set(thread, id);
    this.threads.set(thread, { id, process });
  }

  private memoryCall(call: SeenCall, file: SeenFile | undefined, atMicros: number | undefined): void {
    const name = memoryCallNamed(call.name);
    if (name === undefined) return;
    const args = call.args.slice(0, memoryCalls[name].length);
    if (name === "mmap" && args[4] >= 0 && file === undefined) mapAsAnonymous(args);
    const reference = file === undefined ? {} : { file: { path: file.path, sizeBytes: file.sizeBytes } };
    this.writer.event({ op: "call", name, args, result: call.result, ...reference, atMicros });
  }

  private fileCall(call: SeenCall, file: SeenFile, atMicros: number | undefined): void {
    const { path, sizeBytes } = file;
    if (/^(open|openat|openat2|creat|memfd_create)$/.test(call.name) || !this.openedFiles.has(path)) {
      this.openedFiles.add(path);
      this.writer.event({ op: "open", path, sizeBytes, atMicros });
    }
    if (/^(ftruncate|fallocate)/.test(call.name)) this.writer.event({ op: "ftruncate", path, sizeBytes, atMicros });
    const op = /^(p?read)/.test(call.name) ? "read" : /^(p?write)/.test(call.name) ? "write" : undefined;
    const lengthBytes = call.result;
    if (op === undefined || lengthBytes === 0) return;
    // pread and its like take the offset as their fourth argument, the others move the descriptor's.
    const offset = call.name.startsWith("p") ? call.args[3] : file.position - lengthBytes;
    if (offset >= 0) this.writer.event({ op, path, offset, lengthBytes, atMicros });
  }
}

/** A descriptor that is no file with pages, as /dev/zero: its memory is as good as anonymous. */
function mapAsAnonymous(args: number[]): void {
  args[3] |= MAP_ANONYMOUS;
  args[4] = -1;
  args[5] = 0;
}

/** Whether a clone shares its memory. Emulators run vfork as fork, and so it is recorded. */
export function sharesMemory(flags: number): "nothing" | "memory" {
  const shares = Math.floor(flags / CLONE_VM) % 2 === 1 && Math.floor(flags / CLONE_VFORK) % 2 === 0;
  return shares ? "memory" : "nothing";
}
