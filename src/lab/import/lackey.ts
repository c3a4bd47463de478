/**
 * Turns the log of one process under valgrind's lackey into a trace. Fork children have logs of their own; whoever has
 * several puts them together by the calls in them.
 *
 * Valgrind runs one thread at a time and says which only at system calls: an access is its thread's that made the last
 * call before it.
 */
import { PAGE_SIZE } from "../../base/units.ts";
import type { Region } from "../trace/event.ts";
import { type Abi, type AccessKind, FETCH, type TraceHeader } from "../trace/format.ts";
import type { TraceWriter } from "../trace/writer.ts";
import { LoggedSpace } from "./address-space-log.ts";
import { CLONE_THREAD, CLONE_VM, MAP_ANONYMOUS, memoryCallNamed, traceArguments } from "./calls.ts";
import { kernelAccesses } from "./kernel-accesses.ts";
import { type LackeyCall, LackeyParser } from "./lackey-parser.ts";

export interface LackeyOptions {
  /** The log's name, for messages. */
  readonly name: string;
  readonly abi: Abi;
  /** The address space before the first instruction, if whoever recorded it knows. */
  readonly regions?: readonly Region[];
  readonly brk?: number;
}

export function lackeyHeader(abi: Abi, command: readonly string[]): TraceHeader {
  return {
    schema: "bigmem.trace/1",
    recorder: "valgrind lackey",
    command: [...command],
    abi,
    sets: 1,
    accesses: "recorded",
    ordering: "exact",
    notes: ["areas that the log uses and does not show being mapped are taken for private anonymous memory"],
  };
}

const FIRST_THREAD = 1;

export class LackeyImporter {
  private readonly writer: TraceWriter;
  private readonly parser: LackeyParser;
  private readonly space: LoggedSpace;
  private readonly files = new Map<number, string>();
  private readonly threads = new Set([FIRST_THREAD]);
  private readonly segments = new Map<number, number>();
  private process = FIRST_THREAD;
  private thread = FIRST_THREAD;
  private lastFetch = -1;
  private lastData = -1;

  /** The writer's header is `lackeyHeader`'s, or like it. */
  constructor(writer: TraceWriter, options: LackeyOptions) {
    const regions = [...(options.regions ?? [])];
    const brk = options.brk ?? 0;
    this.writer = writer;
    this.space = LoggedSpace.of(options.abi, regions, brk);
    this.parser = new LackeyParser(options.name, this);
    writer.event({ op: "start", thread: FIRST_THREAD, process: FIRST_THREAD, abi: options.abi, regions, brk });
  }

  /** The next bytes of the log. */
  feed(bytes: Uint8Array): void {
    this.parser.feed(bytes);
  }

  /** The log is at its end. The caller finishes the writer. */
  finish(): void {
    this.parser.finish();
  }

  access(kind: AccessKind, address: number, bytes: number): void {
    const page = Math.floor(address / PAGE_SIZE);
    const lastPage = Math.floor((address + bytes - 1) / PAGE_SIZE);
    this.touch(kind, page);
    if (lastPage !== page) this.touch(kind, lastPage);
  }

  call(call: LackeyCall): void {
    this.process = call.process;
    this.turnTo(call.thread);
    const { result } = call;
    const name = call.name.replace(/^sys_/, "");
    if (name === "exit_group" || name === "exit") this.exit(name, call.args[0] ?? 0);
    if (result === undefined) return;
    this.followFiles(name, call, result);
    const memoryCall = memoryCallNamed(call.name);
    if (memoryCall !== undefined) {
      const args = traceArguments(call.name, memoryCall, call.args);
      this.lastFetch = this.lastData = -1;
      this.space.call(this.writer, memoryCall, args, result, this.fileOf(memoryCall, args));
    } else if ((name === "clone" || name === "clone3") && result > 0) {
      this.clone(call.args[0], result);
    }
    for (const access of kernelAccesses(name, call.args, result)) {
      this.space.assume(
        this.writer,
        Math.floor(access.address / PAGE_SIZE),
        Math.floor((access.address + access.lengthBytes - 1) / PAGE_SIZE) + 1,
      );
      this.writer.event({ op: "kernel-access", ...access });
    }
  }

  private touch(kind: AccessKind, page: number): void {
    if (page !== (kind === FETCH ? this.lastFetch : this.lastData)) {
      if (!this.space.mapped.has(page)) this.space.assume(this.writer, page, page + 1);
      if (kind === FETCH) this.lastFetch = page;
      else this.lastData = page;
    }
    this.writer.access(kind, page);
  }

  private turnTo(thread: number): void {
    if (thread === this.thread) return;
    if (!this.threads.has(thread)) {
      this.threads.add(thread);
      this.writer.event({ op: "fork", child: thread, process: FIRST_THREAD, shares: "memory" });
    }
    this.thread = thread;
    this.writer.event({ op: "switch", thread });
  }

  private exit(name: "exit" | "exit_group", status: number): void {
    const alone = this.threads.size === 1;
    const scope = name === "exit_group" || alone ? "process" : "thread";
    this.writer.event({ op: "exit", thread: this.thread, status, scope });
    this.threads.delete(this.thread);
  }

  /** A forked child: what it does is in its own log, so here it ends at once after having cost its fork. */
  private clone(flags: number, child: number): void {
    if ((flags & CLONE_THREAD) !== 0) return;
    const shares = (flags & CLONE_VM) !== 0 ? "memory" : "nothing";
    const back = this.thread;
    this.writer.event({ op: "fork", child, process: child, shares });
    this.writer.event({ op: "switch", thread: child });
    this.writer.event({ op: "exit", thread: child, status: 0, scope: "process" });
    this.writer.event({ op: "switch", thread: back });
  }

  private followFiles(name: string, call: LackeyCall, result: number): void {
    if (result < 0) return;
    if (/^(open|openat|openat2|creat)$/.test(name)) this.files.set(result, call.text ?? `descriptor ${result}`);
    else if (name === "close") this.files.delete(call.args[0]);
    else if (name === "shmget") this.segments.set(result, call.args[1]);
    else if (name === "ftruncate" || name === "ftruncate64") {
      const path = this.files.get(call.args[0]);
      if (path !== undefined) this.writer.event({ op: "ftruncate", path, sizeBytes: call.args[1] });
    } else if (/^dup[23]?$/.test(name)) {
      const path = this.files.get(call.args[0]);
      if (path !== undefined) this.files.set(result, path);
    }
  }

  private fileOf(name: string, args: readonly number[]): { path: string; sizeBytes?: number } | undefined {
    if (name === "shmat") return { path: `sysv:${args[0]}`, sizeBytes: this.segments.get(args[0]) ?? PAGE_SIZE };
    if (name !== "mmap" || (args[3] & MAP_ANONYMOUS) !== 0 || args[4] < 0) return undefined;
    return { path: this.files.get(args[4]) ?? `process ${this.process} descriptor ${args[4]}` };
  }
}
