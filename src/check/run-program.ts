/**
 * Runs a program on a machine and prints every outcome in the language in which real kernels' outcomes are recorded:
 * one line an operation, then what is left of each process, area by area, and of each file.
 *
 *     12 P0 mmap W+3fe0000 mf=2,0          result; minor and major faults that it took
 *     13 P0 w SEGV code=1 addr=W+10 err=6  signal, its code, the address, the page fault's error code
 */
import { ENOSYS, errnoName } from "../base/errno.ts";
import { bug, UsageError } from "../base/errors.ts";
import { PAGE_SIZE, pageOf, type Vaddr } from "../base/units.ts";
import { FETCH, LOAD, STORE } from "../hw/access.ts";
import type { Machine } from "../machine.ts";
import { BUS_ADRERR, FAULT_OOM, SEGV_ACCERR, SEGV_MAPERR } from "../mm/fault.ts";
import { OpenFile } from "../mm/file.ts";
import { unlinkFile } from "../mm/file-lifetime.ts";
import { createSegmentFile } from "../mm/pfnmap/segment-files.ts";
import type { Process } from "../mm/process.ts";
import type { Argument } from "../mm/syscalls.ts";
import type { Outcome } from "./compare-outcomes.ts";
import { type DumpWorld, dumpFile, dumpProcess } from "./dump.ts";
import { BREAK_HOLE_BYTES, type Executor, startExecutor, WINDOW, WINDOW_BYTES } from "./executor.ts";
import {
  FILES,
  type FilePlace,
  filling,
  type Operand,
  type Operation,
  type OperationName,
  type Program,
  type ProgramFile,
} from "./program.ts";
import { pageTableKib } from "./smaps.ts";

/** The most pages that one mincore of the executor asks for. */
const MOST_VECTOR = 1024;
/** A number that no segment has. */
const NO_SEGMENT = -1;
/** The byte of each page of a new file that says which page it is. */
const MARK_OFFSET = 0x10;
const MARK_FIRST = 0x40;
/** Bit 0 of a page fault's error code. */
const PROTECTION = 1;

/** Called after each operation, with its line: an auditor, a trace of states. */
export type Observer = (operation: Operation, line: string, run: ProgramRun) => void;

/** What the runner needs to know of one running program. */
export class ProgramRun {
  readonly machine: Machine;
  readonly program: Program;
  readonly executor: Executor;
  readonly files: (OpenFile | null)[] = [];
  /** By the program's number: what the kernel calls the segment. */
  readonly segments: number[] = new Array<number>(FILES).fill(NO_SEGMENT);
  /** By the program's number: the process, or null once it is gone. */
  readonly processes: (Process | null)[] = [];
  private readonly baseTablesKib: number;
  /** The operation before said that allocations of this one fail. */
  private failing: Operation | undefined;

  constructor(machine: Machine, program: Program) {
    this.machine = machine;
    this.program = program;
    machine.spawn("controller");
    for (const file of program.files) this.files[file.file] = makeFile(machine, file);
    this.executor = startExecutor(machine);
    this.processes[0] = this.executor.process.state === "alive" ? this.executor.process : null;
    this.baseTablesKib = pageTableKib(machine.kernel, this.executor.process.mm);
  }

  /** Runs every operation, then dumps. */
  run(observe?: Observer): Outcome {
    const lines = this.program.operations.map((operation, at) => {
      const line = `${at} P${operation.process} ${operation.name}${this.operate(operation)}`;
      observe?.(operation, line, this);
      return line;
    });
    lines.push(...this.dump());
    return { name: this.program.name, lines };
  }

  /** What an operation prints after its name. */
  operate(operation: Operation): string {
    const printed = this.failing === undefined ? this.operateNormally(operation) : this.operateFailing(operation);
    const killed = this.processes.flatMap((process, number) => (process?.state === "killed" ? [number] : []));
    for (const number of killed) this.processes[number] = null;
    return killed.length === 0 ? printed : `${printed} killed=${killed.join(",")}`;
  }

  /** The operation after one that says which of its allocations fail. */
  private operateFailing(operation: Operation): string {
    const { allocator } = this.machine.kernel;
    const [page, object] = this.failing!.operands;
    if (page!.value > 0) allocator.failAt(page!.value);
    allocator.failObjectAt(object!.value);
    this.failing = undefined;
    const printed = this.operateNormally(operation);
    allocator.neverFail();
    return printed;
  }

  private operateNormally(operation: Operation): string {
    const process = this.processes[operation.process] ?? null;
    if (process === null) return " nosuchproc";
    switch (operation.name) {
      case "stat":
        return ` pte=${this.tablesKib(process)}`;
      case "fork":
        return this.fork(process, operation.operands[0]!.value);
      case "fail":
        this.failing = operation;
        return " ok";
      case "exit":
        this.machine.exit(process, 0);
        this.processes[operation.process] = null;
        return " ok";
      default:
        return this.counted(process, operation);
    }
  }

  private counted(process: Process, operation: Operation): string {
    const minor = process.minorFaults;
    const major = process.majorFaults;
    const result = this.perform(process, operation);
    const minorTaken = process.minorFaults - minor;
    const majorTaken = process.majorFaults - major;
    if ((minorTaken === 0 && majorTaken === 0) || operation.name === "mlockall") return result;
    return `${result} mf=${minorTaken},${majorTaken}`;
  }

  private perform(process: Process, operation: Operation): string {
    const args = operation.operands.map((operand) => this.resolve(operand));
    for (const at of signedOperands[operation.name] ?? []) args[at] = operation.operands[at]!.value;
    switch (operation.name) {
      case "r":
        return (
          this.touch(process, args[0]!, LOAD) ?? ` ${hexByte(this.machine.readByte(process.threads[0]!, args[0]!))}`
        );
      case "w":
        return this.touch(process, args[0]!, STORE) ?? this.store(process, args[0]!, args[1]!);
      case "x":
        return this.touch(process, args[0]!, FETCH) ?? " exec-ok";
      case "fill":
        return this.fill(process, args[0]!, args[1]!, args[2]!);
      case "scan":
        return this.scan(process, args[0]!, args[1]!);
      case "mincore":
        return this.mincore(process, args[0]!, args[1]!);
      case "fread":
        return this.fileRead(process, args[0]!, args[1]!);
      case "shmget":
        return this.createSegment(process, args);
      default: {
        const { name, args: callArgs } = this.systemCall(operation, args);
        return this.resultText(operation, this.call(process, name, callArgs));
      }
    }
  }

  private resultText(operation: Operation, result: number): string {
    if (operation.name === "brk") return ` ${this.address(result)}`;
    if (result < 0) return ` ${errnoName(result)}`;
    if (givesAddress.has(operation.name)) return ` ${this.address(result)}`;
    return ` ${result}`;
  }

  /** The arguments of the system call behind an operation. */
  private systemCall({ name }: Operation, args: number[]): { name: string; args: Argument[] } {
    const file = () => this.files[args[0]!] ?? null;
    switch (name) {
      case "mmap":
        return { name, args: [args[0]!, args[1]!, args[2]!, args[3]!, this.files[args[4]!] ?? null, args[5]!] };
      case "rfp":
        return { name: "remap_file_pages", args: [args[0]!, args[1]!, 0, args[2]!, args[3]!] };
      case "brk":
        return { name, args: [this.executor.breakStart + signed(args[0]!)] };
      case "ftrunc":
        return { name: "ftruncate", args: [file(), args[1]!] };
      case "fwrite":
        return { name: "pwrite", args: [file(), Uint8Array.of(args[2]! & 0xff), args[1]!] };
      case "falloc":
        return { name: "fallocate", args: [file(), args[1]!, args[2]!, args[3]!] };
      case "fadv":
        return { name: "fadvise", args: [file(), args[1]!, args[2]!, args[3]!] };
      case "fsync":
        return { name, args: [file()] };
      case "rlimit":
        return { name: "setrlimit", args };
      case "shmat":
        return { name, args: [this.segments[args[0]!]!, args[1]!, args[2]!] };
      case "shmrm":
        return { name: "shmctl", args: [this.segments[args[0]!]!, IPC_RMID] };
      default:
        return { name, args };
    }
  }

  /** A call that the kernel does not have is what a program sees it as. */
  private call(process: Process, name: string, args: readonly Argument[]): number {
    if (this.machine.kernel.personality.calls[name] === undefined) return -ENOSYS;
    return this.machine.call(process.threads[0]!, name, args);
  }

  /** Numbers of segments are the kernel's own business: what is printed is whether there is one. */
  private createSegment(process: Process, [segment, key, bytes, flags]: readonly number[]): string {
    const result = this.call(process, "shmget", [key!, bytes!, flags!]);
    if (result < 0) return ` ${errnoName(result)}`;
    this.segments[segment!] = result;
    return " ok";
  }

  private mincore(process: Process, address: Vaddr, lengthBytes: number): string {
    this.executor.callMemset(process);
    // It may be killed for that, where memory is short.
    if (process.state !== "alive") return " OOM";
    const pages = Math.ceil(lengthBytes / PAGE_SIZE);
    const length = pages > MOST_VECTOR ? MOST_VECTOR * PAGE_SIZE : lengthBytes;
    const vector = new Uint8Array(Math.min(pages, MOST_VECTOR));
    const result = this.call(process, "mincore", [address, length, vector]);
    if (result < 0) return ` ${errnoName(result)}`;
    return ` ${Array.from(vector, (byte) => byte & 1).join("")}`;
  }

  private fileRead(process: Process, file: number, offset: number): string {
    const buffer = new Uint8Array(1);
    const result = this.call(process, "pread", [this.files[file] ?? null, buffer, offset]);
    if (result < 0) return ` ${errnoName(result)}`;
    return result === 0 ? " eof" : ` ${hexByte(buffer[0]!)}`;
  }

  private store(process: Process, address: Vaddr, value: number): string {
    this.machine.writeByte(process.threads[0]!, address, value & 0xff);
    return " ok";
  }

  /** ` 3 SEGV ...`: the pages that were written, and the signal that ended it if one did. */
  private fill(process: Process, address: Vaddr, lengthBytes: number, value: number): string {
    const pages = Math.ceil(lengthBytes / PAGE_SIZE);
    for (let page = 0; page < pages; page++) {
      const place = address + page * PAGE_SIZE + MARK_OFFSET;
      const signal = this.touch(process, place, STORE);
      if (signal !== undefined) return ` ${page}${signal}`;
      this.store(process, place, filling(value, page));
    }
    return ` ${pages}`;
  }

  /** ` 51 52 SEGV ...`: the bytes that were read, and the signal that ended it if one did. */
  private scan(process: Process, address: Vaddr, lengthBytes: number): string {
    const pages = Math.ceil(lengthBytes / PAGE_SIZE);
    let bytes = "";
    for (let page = 0; page < pages; page++) {
      const place = address + page * PAGE_SIZE + MARK_OFFSET;
      const signal = this.touch(process, place, LOAD);
      if (signal !== undefined) return `${bytes}${signal}`;
      bytes += ` ${hexByte(this.machine.readByte(process.threads[0]!, place))}`;
    }
    return bytes;
  }

  /** What a touch prints if it ends in a signal. */
  private touch(process: Process, address: Vaddr, kind: number): string | undefined {
    const thread = process.threads[0]!;
    // The CPU refuses these itself, without a page fault.
    if (!isCanonical(address)) return " SEGV code=128 addr=X err=0";
    const verdict = this.machine.access(thread, address, kind);
    if (verdict === 0) return undefined;
    const signal = signals.get(verdict) ?? bug(`an access ends with verdict ${verdict}`);
    const { cpus, layout } = this.machine.kernel;
    // Whether there is something at a kernel's address is not told.
    const hidden = pageOf(address) >= layout.taskEnd ? PROTECTION : 0;
    const error = cpus[thread.cpu]!.mmu.faultError | hidden;
    return ` ${signal} addr=${this.address(address)} err=${error.toString(16)}`;
  }

  private fork(process: Process, number: number): string {
    if (this.processes[number] != null) return " badid";
    const child = this.machine.fork(process.threads[0]!);
    if (typeof child === "number") return ` ${errnoName(child)}`;
    this.processes[number] = child;
    this.machine.kernel.allocator.neverFail();
    this.executor.warm(process);
    this.executor.warm(child);
    return " ok";
  }

  /** Ends every process and removes every file, so that the machine is as it was. */
  cleanUp(): void {
    for (const process of this.machine.processes) if (process.state === "alive") this.machine.exit(process, 0);
    for (const file of [...this.machine.kernel.files.all()]) unlinkFile(this.machine.kernel, file);
  }

  private dump(): string[] {
    const world: DumpWorld = {
      machine: this.machine,
      files: this.files,
      breakStart: this.executor.breakStart,
      frameNames: new Map(),
      address: (address) => this.address(address),
      tablesKib: (process) => this.tablesKib(process),
    };
    const lines: string[] = [];
    this.processes.forEach((process, number) => {
      if (process !== null) lines.push(...dumpProcess(world, process, number));
    });
    this.files.forEach((opened, number) => {
      if (opened !== null) lines.push(dumpFile(world, opened.file, number));
    });
    return lines;
  }

  private tablesKib(process: Process): number {
    return pageTableKib(this.machine.kernel, process.mm) - this.baseTablesKib;
  }

  private resolve({ base, value }: Operand): number {
    if (base === "window") return WINDOW + value;
    if (base === "break") return this.executor.breakStart + value;
    // The call takes an unsigned long.
    return value < 0 ? 2 ** 64 + value : value;
  }

  /** `W+1000`, `B+0`, or `X` for anywhere else. */
  private address(address: Vaddr): string {
    const { breakStart } = this.executor;
    const near = 0x10_0000;
    if (address >= WINDOW && address <= WINDOW + WINDOW_BYTES) return `W+${(address - WINDOW).toString(16)}`;
    if (address >= breakStart && address <= breakStart + BREAK_HOLE_BYTES)
      return `B+${(address - breakStart).toString(16)}`;
    if (address >= WINDOW - near && address < WINDOW) return `W-${(WINDOW - address).toString(16)}`;
    if (address > WINDOW + WINDOW_BYTES && address <= WINDOW + WINDOW_BYTES + near)
      return `W+${(address - WINDOW).toString(16)}`;
    return "X";
  }
}

/** Operations that print where something is mapped. */
const givesAddress: ReadonlySet<OperationName> = new Set(["mmap", "mremap", "shmat"]);
const IPC_RMID = 0;

/** Which operands are signed: advice and offsets in files. The others are unsigned longs. */
const signedOperands: Partial<Record<OperationName, readonly number[]>> = {
  madvise: [2],
  ftrunc: [1],
  fread: [1],
  fwrite: [1],
  falloc: [2, 3],
  fadv: [1, 2, 3],
  brk: [0],
};

/** What an unsigned long adds to an address, which wraps. */
const signed = (value: number): number => (value >= 2 ** 63 ? value - 2 ** 64 : value);

/** Addresses between the halves of what 48 bits reach, sign extended. */
const isCanonical = (address: Vaddr): boolean => address < 2 ** 47 || address >= 2 ** 64 - 2 ** 47;

const signals: ReadonlyMap<number, string> = new Map([
  [FAULT_OOM, "OOM"],
  [SEGV_MAPERR, "SEGV code=1"],
  [SEGV_ACCERR, "SEGV code=2"],
  [BUS_ADRERR, "BUS code=2"],
]);

const hexByte = (byte: number): string => byte.toString(16).padStart(2, "0");

/** A file whose pages are marked, as the controller makes it: each mark is a write. */
function makeFile(machine: Machine, { file: number, bytes, on }: ProgramFile): OpenFile {
  if (on !== undefined && on !== "disk") return makeSegmentFile(machine, number, bytes, on);
  const kind = on === "disk" ? "regular" : "shmem";
  const file = machine.kernel.files.create({ name: `f${number}`, kind, sizeBytes: bytes });
  const opened = new OpenFile(file, "read-write");
  for (let page = 0; page * PAGE_SIZE + MARK_OFFSET < bytes; page++) {
    machine.writeFile(opened, page * PAGE_SIZE + MARK_OFFSET, Uint8Array.of(MARK_FIRST + (page & 15)));
  }
  return opened;
}

/** The same as frames of a segment, whose marks were there before. */
function makeSegmentFile({ kernel }: Machine, number: number, bytes: number, on: Exclude<FilePlace, "disk">): OpenFile {
  const file = createSegmentFile(kernel, {
    name: `f${number}`,
    sizeBytes: bytes,
    way: on === "xip-scattered" ? "xip" : on,
    layout: on === "xip-scattered" ? "scattered" : "in one piece",
    content: (memory, frame, page) => {
      if (page * PAGE_SIZE + MARK_OFFSET < bytes) memory.writeByte(frame, MARK_OFFSET, MARK_FIRST + (page & 15));
    },
  });
  if (file === null) throw new UsageError(`file ${number}: the machine's segments have no room for ${bytes} bytes`);
  return new OpenFile(file, "read-write");
}

/** Runs one program on a fresh machine. */
export const runProgram = (machine: Machine, program: Program, observe?: Observer): Outcome =>
  new ProgramRun(machine, program).run(observe);
