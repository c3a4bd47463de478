/**
 * The process that runs a program on the real kernel, as the kernel sees it: an image, a break, a stack, a window of
 * 64 MiB between two guards, and mappings without rights over everything else but 4 MiB after the break. So an area
 * without a fixed place can land only in the window or, when that is full, above the break.
 *
 *     image  data heap|break hole|guard  filler  guard|window            |guard  filler  stack
 *     0x400000        0x600000    0xa00000       0x40000000    0x44000000
 *
 * Of its image, only what a program's outcome can show is here: enough pages for the same page tables, and the pages
 * whose absence in a fork's child costs a fault.
 */
import { bug } from "../base/errors.ts";
import { addressOf, PAGE_SIZE, type Vaddr } from "../base/units.ts";
import { FETCH, STORE } from "../hw/access.ts";
import type { Machine } from "../machine.ts";
import { FAULT_OOM } from "../mm/fault.ts";
import { OpenFile } from "../mm/file.ts";
import type { Process, Thread } from "../mm/process.ts";
import type { Argument } from "../mm/syscalls.ts";
import { alignDown, alignUp } from "../mm/words.ts";

export const WINDOW = 0x4000_0000;
export const WINDOW_BYTES = 0x400_0000;
/** What is free above the break, usually. */
export const BREAK_HOLE_BYTES = 0x40_0000;

const PROT_NONE = 0;
const PROT_READ = 1;
const PROT_WRITE = 2;
const PROT_EXEC = 4;
const MAP_SHARED = 0x1;
const MAP_PRIVATE = 0x2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_GROWSDOWN = 0x100;
const MAP_NORESERVE = 0x4000;

const SIGKILL = 9;
/** vm.mmap_min_addr. */
const LOWEST = 0x1_0000;
const STACK_BYTES = 132 * 1024;
const TEXT_BYTES = 0x4_0000;
const DATA_BYTES = 0x4000;

/** Where the image lies: a 64-bit and a 32-bit static program's first address. */
const imageBase = { "x86-64": 0x40_0000, i386: 0x804_8000 } as const;

export interface Executor {
  readonly process: Process;
  /** Where the break starts: 2 MiB aligned. */
  readonly breakStart: Vaddr;
  readonly windowBytes: number;
  /** What is free above the break. */
  readonly holeBytes: number;
  /** Touches what its main loop uses, as it does after start and after a fork. */
  warm(process: Process): void;
  /** Calls memset, which lies far from the rest of its text. */
  callMemset(process: Process): void;
}

/** Starts the executor as its own start-up code leaves it; its window is `scale` times as large as usual. */
export function startExecutor(machine: Machine, scale = 1): Executor {
  const process = machine.spawn("executor");
  const thread = process.threads[0]!;
  const { layout } = machine.kernel;
  // It is linked for the pages of its machine.
  const text = alignDown(layout, imageBase[layout.abi]);
  const data = text + alignUp(layout, TEXT_BYTES);
  const heap = data + alignUp(layout, DATA_BYTES);
  const breakStart = Math.ceil((heap + PAGE_SIZE) / 0x20_0000) * 0x20_0000;
  const taskEnd = addressOf(layout.taskEnd);
  const stack = addressOf(layout.stackTop) - alignUp(layout, STACK_BYTES);
  const hole = { first: breakStart, end: breakStart + BREAK_HOLE_BYTES * scale };
  const window = { first: WINDOW, end: WINDOW + WINDOW_BYTES * scale };

  const image = machine.kernel.files.create({ name: "executor", kind: "shmem", sizeBytes: TEXT_BYTES });
  const setUp = new SetUp(machine, thread);
  setUp.map(text, data, PROT_READ | PROT_EXEC, MAP_PRIVATE, new OpenFile(image, "read"));
  setUp.map(data, heap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  setUp.map(stack, addressOf(layout.stackTop), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN);
  process.mm.startBrk = heap;
  process.mm.brk = heap;
  setUp.call("brk", [breakStart]);

  const guards = MAP_SHARED | MAP_ANONYMOUS;
  const guard = layout.pageBytes;
  setUp.map(window.first - guard, window.first, PROT_NONE, guards);
  setUp.map(window.end, window.end + guard, PROT_NONE, guards);
  setUp.fill(alignUp(layout, LOWEST), text);
  setUp.fill(hole.end, window.first - guard);
  setUp.fill(window.end + guard, stack);
  setUp.fill(addressOf(layout.stackTop), taskEnd);
  setUp.map(hole.end, hole.end + guard, PROT_NONE, guards);

  const touch = (toucher: Process, address: Vaddr, kind: number) => {
    if (toucher.state !== "alive") return;
    const verdict = machine.access(toucher.threads[0]!, address, kind);
    // As a kernel ends a program whose page it has no memory for.
    if (verdict === FAULT_OOM) machine.kill(toucher, SIGKILL);
    else if (verdict !== 0) bug(`the executor cannot touch ${address.toString(16)}`);
  };
  const executor: Executor = {
    process,
    breakStart,
    windowBytes: window.end - window.first,
    holeBytes: hole.end - hole.first,
    warm: (toucher) => {
      touch(toucher, text, FETCH);
      touch(toucher, addressOf(layout.stackTop) - 1, STORE);
      touch(toucher, data, STORE);
      touch(toucher, heap, STORE);
    },
    callMemset: (toucher) => touch(toucher, text + TEXT_BYTES - PAGE_SIZE, FETCH),
  };
  executor.warm(process);
  executor.callMemset(process);
  return executor;
}

class SetUp {
  private readonly machine: Machine;
  private readonly thread: Thread;

  constructor(machine: Machine, thread: Thread) {
    this.machine = machine;
    this.thread = thread;
  }

  map(start: Vaddr, end: Vaddr, rights: number, flags: number, file: OpenFile | null = null): void {
    this.call("mmap", [start, end - start, rights, flags | MAP_FIXED, file, 0]);
  }

  fill(start: Vaddr, end: Vaddr): void {
    if (start < end) this.map(start, end, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  }

  call(name: string, args: readonly Argument[]): void {
    // There may be so little memory that it is killed before it has begun.
    if (this.thread.process.state !== "alive") return;
    const result = this.machine.call(this.thread, name, args);
    if (result < 0) bug(`the executor's own ${name} fails: ${result}`);
  }
}
