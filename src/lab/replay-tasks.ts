/** The processes and threads of a trace on a machine: what its events make of them. */
import { addressOf, PAGE_SIZE, type Vpn } from "../base/units.ts";
import { type Access, LOAD, STORE } from "../hw/access.ts";
import type { Machine } from "../machine.ts";
import type { AddressSpace } from "../mm/address-space.ts";
import { handleFaultAlone, isRepaired } from "../mm/fault.ts";
import { Process, type Thread } from "../mm/process.ts";
import { noteAccess } from "../mm/thp/touched-parts.ts";
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_GROWSDOWN,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
} from "./import/calls.ts";
import type { AddressMap } from "./rebase.ts";
import type { Difference } from "./report.ts";
import type { EventOf, Region, TraceEvent } from "./trace/event.ts";
import { type CallContext, replayCall, resultText } from "./trace-calls.ts";
import { TraceFiles } from "./trace-files.ts";

/** A thread of the trace. */
export interface TracedThread {
  readonly id: number;
  /** The trace's number of its process. */
  readonly process: number;
  /** Undefined once it has ended, or if it never came to be. */
  thread: Thread | undefined;
}

/** A kernel access is no longer than this: a larger length in a trace is not believed. */
const MOST_KERNEL_PAGES = 1 << 20;

export class ReplayedTasks {
  readonly differences: Difference[] = [];
  differenceCount = 0;
  calls = 0;
  kernelAccesses = 0;
  current: TracedThread = { id: 0, process: 0, thread: undefined };
  private readonly machine: Machine;
  private readonly map: AddressMap;
  private readonly context: CallContext;
  private readonly described: number;
  private readonly threads = new Map<number, TracedThread>();

  /** `described`: so many differences are kept one by one. */
  constructor(machine: Machine, map: AddressMap, described: number) {
    this.machine = machine;
    this.map = map;
    this.described = described;
    this.context = { machine, map, files: new TraceFiles(machine), segments: new Map() };
  }

  /** The current thread; undefined if it has ended. */
  get thread(): Thread | undefined {
    const { thread } = this.current;
    return thread?.process.state === "alive" ? thread : undefined;
  }

  /** A thread of the trace that ran in this process; the current one, if none is known any more. */
  tracedAs(process: Process): TracedThread {
    return [...this.threads.values()].find(({ thread }) => thread?.process === process) ?? this.current;
  }

  /** The records that follow are this thread's. */
  enter(id: number): void {
    if (this.current.id !== id) this.current = this.threads.get(id) ?? { id, process: id, thread: undefined };
  }

  /** A signal ends the thread's process. */
  kill(thread: Thread, signal: number): void {
    this.machine.kill(thread.process, signal);
    this.forgetProcessOf(thread);
  }

  event(event: TraceEvent, record: number): void {
    const { thread } = this;
    if (event.op === "start") this.start(event, record);
    else if (event.op === "switch") this.enter(event.thread);
    else if (event.op === "exit") this.exit(event);
    else if (thread === undefined) return;
    else if (event.op === "call") this.call(thread, event, record);
    else if (event.op === "kernel-access") this.kernelAccess(thread, event);
    else if (event.op === "fork") this.fork(thread, event, record);
    else if (event.op === "exec") this.exec(thread, event, record);
    else this.file(thread, event);
  }

  private start(event: EventOf<"start">, record: number): void {
    const process = this.machine.spawn(event.name ?? `process ${event.process}`);
    this.current = this.adopt(event.thread, event.process, process.threads[0]);
    this.load(process.threads[0], event.regions, event.brk, record);
  }

  private adopt(id: number, process: number, thread: Thread | undefined): TracedThread {
    const traced = { id, process, thread };
    this.threads.set(id, traced);
    return traced;
  }

  /** Maps a program's first areas. */
  private load(thread: Thread, regions: readonly Region[], brk: number, record: number): void {
    const { mm } = thread;
    const taskEnd = this.machine.kernel.layout.taskEnd * PAGE_SIZE;
    const heap = regions.find(({ what }) => what === "heap" || what === "[heap]");
    const start = this.map.address(heap?.start ?? brk);
    mm.startBrk = start;
    mm.brk = start;
    this.noteCode(mm, regions, start);
    if (heap !== undefined) {
      const end = this.map.address(Math.max(brk, heap.end) - 1) + 1;
      this.expect(record, "brk", end, this.machine.call(thread, "brk", [end]));
    }
    for (const region of regions) {
      if (region === heap || region.start >= region.end) continue;
      const address = this.map.address(region.start);
      if (address + (region.end - region.start) > taskEnd) continue;
      this.mapRegion(thread, region, address, record);
    }
  }

  /** Where the program's text lies: kernels of old let no break go below its end. */
  private noteCode(mm: AddressSpace, regions: readonly Region[], brk: number): void {
    const text = regions.find(({ rights, file }) => rights[2] === "x" && file !== undefined);
    const isBelow = text !== undefined && this.map.address(text.end - 1) < brk;
    mm.startCode = isBelow ? this.map.address(text.start) : 0;
    mm.endCode = isBelow ? this.map.address(text.end - 1) + 1 : brk;
  }

  private mapRegion(thread: Thread, region: Region, address: number, record: number): void {
    const { rights, what, offset } = region;
    const lengthBytes = region.end - region.start;
    const prot =
      (rights[0] === "r" ? PROT_READ : 0) | (rights[1] === "w" ? PROT_WRITE : 0) | (rights[2] === "x" ? PROT_EXEC : 0);
    const isStack = what === "stack" || what === "[stack]";
    const named = region.file === undefined ? undefined : { path: region.file, sizeBytes: region.fileBytes };
    const file = named === undefined ? null : this.context.files.open(thread, named, offset + lengthBytes);
    const flags =
      (rights[3] === "s" ? MAP_SHARED : MAP_PRIVATE) |
      MAP_FIXED |
      (file === null ? MAP_ANONYMOUS : 0) |
      (isStack ? MAP_GROWSDOWN : 0);
    if (isStack) thread.mm.stackStart = address + lengthBytes - 1;
    const result = this.machine.call(thread, "mmap", [
      address,
      lengthBytes,
      prot,
      flags,
      file,
      file === null ? 0 : offset,
    ]);
    this.expect(record, `mapping ${what}`, address, result);
  }

  private call(thread: Thread, call: EventOf<"call">, record: number): void {
    this.calls++;
    const { expected, result } = replayCall(this.context, thread, call);
    this.expect(record, call.name, expected, result);
  }

  private expect(record: number, call: string, expected: number, result: number): void {
    if (expected === result) return;
    this.differenceCount++;
    if (this.differences.length >= this.described) return;
    this.differences.push({ record, call, recorded: resultText(expected), here: resultText(result) });
  }

  /** The kernel fills or reads a buffer: page by page, as copy_to_user and copy_from_user do. */
  private kernelAccess(thread: Thread, event: EventOf<"kernel-access">): void {
    const first = Math.floor(event.address / PAGE_SIZE);
    const end = Math.min(Math.ceil((event.address + event.lengthBytes) / PAGE_SIZE), first + MOST_KERNEL_PAGES);
    const kind = event.kind === "load" ? LOAD : STORE;
    for (let page: Vpn = first; page < end; page++) {
      this.kernelAccesses++;
      if (!kernelTouch(this.machine, thread, this.map.page(page), kind)) return;
    }
  }

  private fork(thread: Thread, event: EventOf<"fork">, record: number): void {
    const { machine } = this;
    if (event.shares === "memory") {
      const isThread = event.process === this.current.process;
      const child = isThread ? machine.spawnThread(thread.process) : machine.share(thread);
      if (typeof child === "number") this.expect(record, "clone", 0, child);
      this.adopt(event.child, event.process, threadOf(child));
      return;
    }
    const child = machine.fork(thread);
    if (typeof child !== "number") child.name = `${thread.process.name.replace(/\/\d+$/, "")}/${event.process}`;
    if (typeof child === "number") this.expect(record, "fork", 0, child);
    this.adopt(event.child, event.process, threadOf(child));
  }

  private exec(thread: Thread, event: EventOf<"exec">, record: number): void {
    const result = this.machine.exec(thread);
    if (result < 0) this.expect(record, "execve", 0, result);
    else this.load(thread, event.regions, event.brk, record);
  }

  private exit(event: EventOf<"exit">): void {
    const traced = this.threads.get(event.thread);
    if (traced?.thread?.process.state !== "alive") return;
    const { thread } = traced;
    if (event.scope === "thread") {
      this.machine.exitThread(thread);
      traced.thread = undefined;
      return;
    }
    this.machine.exit(thread.process, event.status);
    this.forgetProcessOf(thread);
  }

  private forgetProcessOf(thread: Thread): void {
    for (const traced of this.threads.values()) {
      if (traced.thread?.process === thread.process) traced.thread = undefined;
    }
    this.current.thread = this.current.thread?.process === thread.process ? undefined : this.current.thread;
  }

  /** What is done to a file that is mapped at some time. */
  private file(thread: Thread, event: EventOf<"open" | "close" | "read" | "write" | "ftruncate">): void {
    const { files } = this.context;
    if (event.op === "open" || event.op === "ftruncate") {
      files.open(thread, { path: event.path, sizeBytes: event.sizeBytes }, event.sizeBytes);
    } else if (event.op === "read" || event.op === "write") {
      const file = files.find(event.path);
      const name = event.op === "read" ? "pread" : "pwrite";
      if (file !== undefined) this.machine.call(thread, name, [file, event.lengthBytes, event.offset]);
    }
  }
}

/** The thread that runs after a fork or a clone; undefined if that failed. */
function threadOf(child: Process | Thread | number): Thread | undefined {
  if (typeof child === "number") return undefined;
  return child instanceof Process ? child.threads[0] : child;
}

/** The kernel's own access to a user page; false if no fault handler can make it possible. */
function kernelTouch(machine: Machine, thread: Thread, page: Vpn, kind: Access): boolean {
  machine.switchTo(thread);
  const { mmu } = machine.cpus[thread.cpu];
  while (!mmu.supervisorTouch(page, kind)) {
    const verdict = handleFaultAlone(machine.kernel, thread, addressOf(page), mmu.faultError);
    if (!isRepaired(verdict)) return false;
  }
  noteAccess(machine.kernel, thread.mm, page);
  machine.attend(thread);
  return true;
}
