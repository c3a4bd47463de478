/**
 * Turns the output of `strace -f -y -e trace=memory,process,desc` into a trace of address spaces alone: which areas
 * exist when, in which process, without accesses. Calls of several threads stand in the order in which they returned.
 */
import { UsageError } from "../../base/errors.ts";
import { PAGE_SIZE } from "../../base/units.ts";
import type { Abi, TraceHeader } from "../trace/format.ts";
import type { TraceWriter } from "../trace/writer.ts";
import { type FileReference, LoggedSpace } from "./address-space-log.ts";
import {
  CLONE_THREAD,
  CLONE_VM,
  MAP_ANONYMOUS,
  type MemoryCall,
  memoryCallNamed,
  memoryCalls,
  traceArguments,
} from "./calls.ts";
import { Ranges } from "./ranges.ts";
import { numberOf, parseStraceLine, pathOf, type StraceLine, splitArguments } from "./strace-line.ts";

export function straceHeader(abi: Abi, command: readonly string[]): TraceHeader {
  return {
    schema: "bigmem.trace/1",
    recorder: "strace",
    command: [...command],
    abi,
    sets: 0,
    accesses: "none",
    ordering: "calls",
    notes: [
      "address spaces only: no accesses were recorded",
      "areas that the log uses and does not show being mapped are taken for private anonymous memory",
    ],
  };
}

/** A thread, by strace's number of it. */
interface Traced {
  readonly id: number;
  readonly process: number;
  space: LoggedSpace;
}

const MAX_LINE = 1 << 20;

export class StraceImporter {
  private readonly writer: TraceWriter;
  private readonly name: string;
  private readonly abi: Abi;
  private readonly threads = new Map<number, Traced>();
  /** By thread: what the first half of a call said. */
  private readonly unfinished = new Map<number, { name: string; args: string }>();
  /** By path: the size that a stat showed. */
  private readonly sizes = new Map<string, number>();
  private readonly segments = new Map<number, number>();
  private current = -1;
  private lines = 0;

  /** The writer's header is `straceHeader`'s. `name` is the log's, for messages. */
  constructor(writer: TraceWriter, name: string, abi: Abi = "x86-64") {
    this.writer = writer;
    this.name = name;
    this.abi = abi;
  }

  /** The next line, without its end. */
  line(text: string): void {
    this.lines++;
    const placed = text.length > MAX_LINE ? undefined : parseStraceLine(text);
    if (placed === undefined) this.damaged(text);
    const { process, line } = placed;
    if (line.is === "nothing") return;
    const thread = this.threadOf(process);
    if (line.is === "unfinished") this.unfinished.set(thread.id, line);
    else if (line.is === "exited") this.exited(thread, line.status);
    else this.returned(thread, line, text);
  }

  /** The log is at its end. The caller finishes the writer. */
  finish(): void {
    if (this.lines === 0)
      throw new UsageError(`${this.name}: line 1: expected strace output, found the end of the file`);
  }

  private returned(thread: Traced, line: Extract<StraceLine, { is: "call" | "resumed" }>, text: string): void {
    let { args } = line;
    if (line.is === "resumed") {
      const before = this.unfinished.get(thread.id);
      if (before === undefined || before.name !== line.name) this.damaged(text);
      this.unfinished.delete(thread.id);
      args = before.args === "" || line.args === "" ? before.args + line.args : `${before.args}, ${line.args}`;
    }
    this.call(thread, line.name, args, line.result, text);
  }

  private call(thread: Traced, name: string, argText: string, result: number | undefined, text: string): void {
    if (result === undefined) return;
    const memoryCall = memoryCallNamed(name);
    if (memoryCall !== undefined) this.memoryCall(thread, memoryCall, name, argText, result, text);
    else if (/^(clone|clone3|fork|vfork)$/.test(name) && result > 0) this.forked(thread, name, argText, result);
    else if (name === "execve" && result === 0) this.executed(thread, argText);
    else this.followFiles(thread, name, argText, result);
  }

  private memoryCall(
    thread: Traced,
    call: MemoryCall,
    name: string,
    argText: string,
    result: number,
    text: string,
  ): void {
    const parts = splitArguments(argText);
    const numbers = parts
      .slice(0, memoryCalls[call].length)
      .map((part) => (call === "mincore" ? (numberOf(part) ?? 0) : numberOf(part)));
    if (numbers.some((value) => value === undefined)) this.damaged(text);
    const args = traceArguments(name, call, numbers as number[]);
    this.turnTo(thread);
    thread.space.call(this.writer, call, args, result, this.fileOf(call, parts, args));
  }

  private fileOf(call: MemoryCall, parts: readonly string[], args: readonly number[]): FileReference | undefined {
    if (call === "shmat") return { path: `sysv:${args[0]}`, sizeBytes: this.segments.get(args[0]) ?? PAGE_SIZE };
    if (call !== "mmap" || (args[3] & MAP_ANONYMOUS) !== 0 || args[4] < 0) return undefined;
    const path = pathOf(parts[4]) ?? `descriptor ${args[4]}`;
    const sizeBytes = this.sizes.get(path);
    return sizeBytes === undefined ? { path } : { path, sizeBytes };
  }

  private followFiles(thread: Traced, name: string, argText: string, result: number): void {
    if (result < 0) return;
    const parts = splitArguments(argText);
    const path = pathOf(parts[0] ?? "");
    const size = /\bst_size=(\d+)/.exec(argText);
    if (size !== null && path !== undefined) this.sizes.set(path, Number(size[1]));
    if (name === "shmget") this.segments.set(result, numberOf(parts[1]) ?? PAGE_SIZE);
    if ((name === "ftruncate" || name === "ftruncate64") && path !== undefined) {
      const sizeBytes = numberOf(parts[1]) ?? 0;
      this.sizes.set(path, sizeBytes);
      this.turnTo(thread);
      this.writer.event({ op: "ftruncate", path, sizeBytes });
    }
  }

  private forked(thread: Traced, name: string, argText: string, child: number): void {
    if (this.threads.has(child)) return;
    const flags = /flags=([A-Z_|0-9a-fx]+)/.exec(argText)?.[1] ?? "";
    const has = (flag: string): boolean => flags.split("|").includes(flag);
    const sharesMemory = name === "vfork" || has("CLONE_VM") || (Number(flags) & CLONE_VM) !== 0;
    const isThread = has("CLONE_THREAD") || (Number(flags) & CLONE_THREAD) !== 0;
    this.turnTo(thread);
    this.writer.event({
      op: "fork",
      child,
      process: isThread ? thread.process : child,
      shares: sharesMemory ? "memory" : "nothing",
    });
    this.threads.set(child, {
      id: child,
      process: isThread ? thread.process : child,
      space: sharesMemory ? thread.space : thread.space.copy(),
    });
  }

  private executed(thread: Traced, argText: string): void {
    const path = /^"((?:[^"\\]|\\.)*)"/.exec(argText)?.[1];
    thread.space = new LoggedSpace(this.abi, new Ranges(), 0);
    this.turnTo(thread);
    this.writer.event({
      op: "exec",
      abi: this.abi,
      regions: [],
      brk: 0,
      ...(path === undefined ? {} : { name: path }),
    });
  }

  private exited(thread: Traced, status: number): void {
    this.turnTo(thread);
    const shared = [...this.threads.values()].some((other) => other !== thread && other.process === thread.process);
    this.writer.event({ op: "exit", thread: thread.id, status, scope: shared ? "thread" : "process" });
    this.threads.delete(thread.id);
    this.unfinished.delete(thread.id);
    this.current = -1;
  }

  /** The thread with strace's number; one that appears before its fork returned is that fork's child. */
  private threadOf(id: number): Traced {
    const known = this.threads.get(id);
    if (known !== undefined) return known;
    for (const [parent, { name, args }] of this.unfinished) {
      if (!/^(clone|clone3|fork|vfork)$/.test(name)) continue;
      this.forked(this.threadOf(parent), name, args, id);
      return this.threadOf(id);
    }
    const started: Traced = { id, process: id, space: new LoggedSpace(this.abi, new Ranges(), 0) };
    this.threads.set(id, started);
    this.writer.event({ op: "start", thread: id, process: id, abi: this.abi, regions: [], brk: 0 });
    this.current = id;
    return started;
  }

  private turnTo(thread: Traced): void {
    if (thread.id === this.current) return;
    this.current = thread.id;
    this.writer.event({ op: "switch", thread: thread.id });
  }

  private damaged(text: string): never {
    throw new UsageError(
      `${this.name}: line ${this.lines}: expected a line of strace -f -y, found ${JSON.stringify(text.slice(0, 100))}`,
    );
  }
}
