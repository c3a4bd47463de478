/**
 * The flat reference model: what a program must see, whatever the design. It follows a program operation by operation
 * and judges each outcome: errno, signal, bytes. Where a kernel is free (which gap a new area gets; whether two
 * neighbouring areas are one, which mremap depends on) the model takes the outcome if it is one of those allowed, and
 * goes on from there.
 */

import { PAGE_SIZE, pageOf, type Vaddr, type Vpn } from "../../base/units.ts";
import type { Design } from "../../design.ts";
import type { PersonalityName } from "../../mm/personality.ts";
import { type Executor, WINDOW } from "../executor.ts";
import { filling, type Operand, type Operation, type Program } from "../program.ts";
import { advise } from "./advise.ts";
import {
  type Arena,
  FlatFile,
  type FlatPage,
  FlatProcess,
  forkProcess,
  isBeyondEnd,
  PROT_EXEC,
  PROT_WRITE,
  type RawPlace,
  readByte,
  writeByte,
} from "./flat-memory.ts";
import { type FlatHuge, mayLackPage } from "./huge.ts";
import { allocateFile, lock, lockAll, readFile, truncate, unlock, unlockAll, writeFile } from "./locks-and-files.ts";
import { changeBreak, map, protect, remap, unmap } from "./mappings.ts";
import { remapFilePages } from "./remap-file-pages.ts";
import { attach, createSegment, detach, type FlatSegment, removeSegment } from "./segments.ts";

/** What differs between kernels, as a program sees it. */
export interface FlatRules {
  /** Whether fetching from a page without PROT_EXEC is a fault. */
  readonly noExecute: boolean;
  readonly personality: PersonalityName;
  /** What remap_file_pages does. */
  readonly nonlinear: Design["nonlinear"];
  /** How copies of memory without struct pages are known. */
  readonly pfnMappings: Design["pfnMappings"];
  /** Pages of 4 KiB in a page as programs know it. */
  readonly userPages: number;
  /** Pages of 4 KiB in the huge pages that MAP_HUGETLB asks for, whether there are any or not. */
  readonly hugePages: number;
}

/** Whether the kernel is one of today's: they differ from each other in little that a program sees. */
export const isModern = ({ personality }: FlatRules): boolean => personality !== "linux-2.6.11";
/** mremap checks its arguments before it looks for an area, and moves several; populating stops at a hole. */
export const isSince617 = ({ personality }: FlatRules): boolean => personality === "linux-6.18";

/** Whether it is a whole number of pages. */
export const isAligned = ({ userPages }: FlatRules, bytes: number): boolean => bytes % (userPages * PAGE_SIZE) === 0;
/** Whole pages that hold so many bytes, in pages of 4 KiB. */
export const pagesIn = ({ userPages }: FlatRules, bytes: number): number =>
  Math.ceil(bytes / (userPages * PAGE_SIZE)) * userPages;

/** What an operation printed, taken apart. */
export type Result =
  | { readonly kind: "errno"; readonly errno: string }
  | { readonly kind: "signal"; readonly signal: "SEGV" | "BUS"; readonly code: number }
  | { readonly kind: "address"; readonly address: Vaddr }
  | { readonly kind: "text"; readonly text: string };

/** What is wrong with an outcome; undefined if it is right. */
export type Verdict = string | undefined;

/** Where a program's memory is. */
export type FlatWorld = Pick<Executor, "breakStart" | "windowBytes" | "holeBytes">;

export class FlatModel {
  readonly rules: FlatRules;
  readonly files: FlatFile[] = [];
  /** By the program's number. */
  readonly segments: (FlatSegment | undefined)[] = [];
  /** Those that can be found, whether the program still has a number for them or not. */
  readonly segmentsByKey = new Map<number, FlatSegment>();
  readonly processes: (FlatProcess | undefined)[] = [];
  readonly breakStart: Vaddr;
  private readonly arena: Arena;
  private readonly windowEnd: Vpn;

  constructor(program: Program, rules: FlatRules, { breakStart, windowBytes, holeBytes }: FlatWorld) {
    this.rules = rules;
    this.breakStart = breakStart;
    for (const { file, bytes, on } of program.files) {
      this.files[file] = markedFile(bytes, rules, on === undefined || on === "disk" ? null : on);
    }
    const window = { first: pageOf(WINDOW), end: pageOf(WINDOW + windowBytes) };
    this.windowEnd = window.end;
    const hole = { first: pageOf(breakStart), end: pageOf(breakStart + holeBytes) };
    const within = (page: Vpn, range: { first: Vpn; end: Vpn }) => page >= range.first && page < range.end;
    this.arena = { contains: (page) => within(page, window) || within(page, hole) };
    this.processes[0] = new FlatProcess(this.arena, rules.userPages, breakStart);
  }

  /** Judges what `operation` printed (its line after the name), and follows it. */
  step(operation: Operation, printed: string): Verdict {
    const process = this.processes[operation.process];
    if (process === undefined) return expectText(printed.trim(), "nosuchproc");
    const args = operation.operands.map((operand) => this.resolve(operand));
    const result = this.parse(printed.replace(/ mf=\d+,\d+$/, "").trim());
    switch (operation.name) {
      case "fork":
        return this.fork(process, args[0]!, result);
      case "exit":
        this.processes[operation.process] = undefined;
        return undefined;
      case "stat":
      case "rlimit":
      case "fsync":
      case "fadv":
      case "fail":
        return undefined;
      case "r":
      case "w":
      case "x":
        return this.touch(process, operation.name, args, result);
      case "fill":
      case "scan":
        return this.touchAll(process, operation.name, args, printed);
      default:
        return calls[operation.name](this, process, args, result);
    }
  }

  /** The process is gone. */
  kill(process: number): void {
    this.processes[process] = undefined;
  }

  /** The byte that a dump shows of a page: byte 0x10, read by force; `--` if there is none. */
  contentOf(process: number, page: Vpn): string {
    const flat = this.processes[process]?.pages.get(page);
    if (flat === undefined || isBeyondEnd(flat)) return "--";
    return hexByte(readByte(flat, CONTENT_OFFSET));
  }

  /** Whether the page may be found zero, whatever it held (MADV_FREE). */
  mayBeFreed(process: number, page: Vpn): boolean {
    const flat = this.processes[process]?.pages.get(page);
    return flat?.mayBeFreed === true && !flat.writtenSince.has(CONTENT_OFFSET);
  }

  /** Whether nobody but its owner may look at the page: a device's, of which a dump shows what has been touched. */
  isDevice(process: number, page: Vpn): boolean {
    return this.processes[process]?.pages.get(page)?.file?.isDevice === true;
  }

  /** Whether the page may not be there to be shown: it is a huge one, and the pool may be used up. */
  mayLackPage(process: number, page: Vpn): boolean {
    const flat = this.processes[process]?.pages.get(page);
    return flat !== undefined && mayLackPage(flat);
  }

  /** Whether some process has locked pages, or will. */
  get hasLocks(): boolean {
    return this.processes.some(
      (process) =>
        process !== undefined &&
        (process.lockFuture !== "no" || [...process.pages.values()].some(({ locked }) => locked)),
    );
  }

  private fork(parent: FlatProcess, number: number, result: Result): Verdict {
    const printed = textOf(result);
    if (this.processes[number] !== undefined) return expectText(printed, "badid");
    if (printed === "ENOMEM") return undefined;
    this.processes[number] = forkProcess(parent);
    return expectText(printed, "ok");
  }

  private touch(process: FlatProcess, kind: "r" | "w" | "x", args: readonly number[], result: Result): Verdict {
    const address = args[0]!;
    const page = pageOf(address);
    // A stack grows before its rights are looked at; whether it may is outside this model.
    if (!process.pages.has(page) && textOf(result) !== "SEGV 1") this.growStack(process, page);
    const flat = process.pages.get(page);
    const expected = this.signalFor(process, page, kind);
    if (result.kind === "signal") {
      const printed = `${result.signal} ${result.code}`;
      return expected.includes(printed) ? undefined : `${printed}, expected ${expected.join(" or ") || "no signal"}`;
    }
    if (flat === undefined) return `no signal, and nothing is mapped at ${address.toString(16)}`;
    if (expected.length > 0 && !expected.includes("none")) return `no signal, expected ${expected.join(" or ")}`;
    if (kind === "w") writeByte(process, page, address % PAGE_SIZE, args[1]! & 0xff);
    if (kind !== "r") return undefined;
    return this.checkRead(process, page, address % PAGE_SIZE, textOf(result));
  }

  /** One touch after the other; what is printed ends with the signal that stopped it, if one did. */
  private touchAll(process: FlatProcess, name: "fill" | "scan", args: readonly number[], printed: string): Verdict {
    const [address, lengthBytes, value = 0] = args as [number, number, number?];
    const [, done, end] = /^([0-9a-f ]*?)((?:SEGV|BUS|OOM).*|)$/.exec(printed.replace(/ mf=\d+,\d+$/, "").trim())!;
    const bytes = done!
      .trim()
      .split(" ")
      .filter((byte) => byte !== "");
    const pages = name === "fill" ? Number(done) : bytes.length;
    const place = (page: number) => address + page * PAGE_SIZE + CONTENT_OFFSET;
    for (let page = 0; page < pages; page++) {
      const wrong =
        name === "fill"
          ? this.touch(process, "w", [place(page), filling(value, page)], { kind: "text", text: "ok" })
          : this.touch(process, "r", [place(page)], { kind: "text", text: bytes[page]! });
      if (wrong !== undefined) return `page ${page}: ${wrong}`;
    }
    // Whether memory may be short is not the model's to say.
    if (end!.startsWith("OOM")) return undefined;
    const asked = Math.ceil(lengthBytes / PAGE_SIZE);
    if (end === "") return pages === asked ? undefined : `${pages} pages, expected ${asked}`;
    return this.touch(process, name === "fill" ? "w" : "r", [place(pages), filling(value, pages)], this.parse(end!));
  }

  private checkRead(process: FlatProcess, page: Vpn, offset: number, printed: string): Verdict {
    const flat = process.pages.get(page)!;
    const expected = hexByte(readByte(flat, offset));
    if (printed === expected) return undefined;
    if (flat.mayBeFreed && printed === "00" && !flat.writtenSince.has(offset)) {
      const certain = [...(flat.own ?? [])].filter(([place]) => flat.writtenSince.has(place));
      process.change(page, { own: new Map(certain), mayBeFreed: false });
      return undefined;
    }
    return `reads ${printed}, expected ${expected}`;
  }

  /** The signals that an access may end in; "none" beside them if it may also succeed. */
  private signalFor(
    process: FlatProcess,
    page: Vpn,
    kind: "r" | "w" | "x",
    flat: FlatPage | undefined = process.pages.get(page),
  ): string[] {
    if (flat === undefined) {
      // Around it is filler without rights, or what a program has made of it.
      return this.arena.contains(page) ? ["SEGV 1"] : ["SEGV 2", "SEGV 1", "none"];
    }
    const { rights } = flat;
    if (rights === 0) return ["SEGV 2"];
    if (isUnfillable(this.rules, flat)) return ["SEGV 2", "BUS 2"];
    if (mayLackPage(flat) && this.signalFor(process, page, kind, { ...flat, huge: CERTAIN }).length === 0)
      return ["BUS 2", "none"];
    if (kind === "w") {
      if ((rights & PROT_WRITE) === 0) return ["SEGV 2"];
      return isBeyondEnd(flat) ? ["BUS 2"] : [];
    }
    // Only 2.6.11 looks at the right to read, and only where nothing is present yet.
    const unreadable = this.rules.personality === "linux-2.6.11" && rights === PROT_WRITE;
    const beyond = isBeyondEnd(flat);
    if (unreadable) return ["SEGV 2", beyond ? "BUS 2" : "none"];
    if (kind === "x" && this.rules.noExecute && (rights & PROT_EXEC) === 0) return beyond ? ["BUS 2"] : ["SEGV 2"];
    return beyond ? ["BUS 2"] : [];
  }

  /** An access below an area that grows down may extend it: then every page between is its. */
  private growStack(process: FlatProcess, touched: Vpn): void {
    const page = touched - (touched % process.userPages);
    let above = page;
    while (above < this.windowEnd && !process.pages.has(above)) above++;
    const stack = process.pages.get(above);
    if (stack === undefined || !stack.growsDown) return;
    for (let at = page; at < above; at++)
      process.pages.set(at, {
        ...stack,
        own: null,
        index: stack.index - (above - at),
        linear: stack.linear - (above - at),
      });
  }

  private resolve({ base, value }: Operand): number {
    if (base === "window") return WINDOW + value;
    if (base === "break") return this.breakStart + value;
    return value < 0 ? 2 ** 64 + value : value;
  }

  private parse(printed: string): Result {
    const signal = /^(SEGV|BUS) code=(\d)/.exec(printed);
    if (signal !== null) return { kind: "signal", signal: signal[1] as "SEGV" | "BUS", code: Number(signal[2]) };
    if (/^E[A-Z0-9]+$/.test(printed)) return { kind: "errno", errno: printed };
    const address = /^([WB])([+-])([0-9a-f]+)$/.exec(printed);
    if (address !== null) {
      const base = address[1] === "W" ? WINDOW : this.breakStart;
      const offset = Number.parseInt(address[3]!, 16);
      return { kind: "address", address: address[2] === "-" ? base - offset : base + offset };
    }
    return { kind: "text", text: printed };
  }
}

/**
 * Whether a private page is one that a driver would be asked for, and the design could not tell it from a copy: a declared
 * deviation of these options (do_no_pfn is for shared mappings alone).
 */
const isUnfillable = ({ pfnMappings }: FlatRules, { file, shared }: FlatPage): boolean =>
  file?.segment === "nopfn" && !shared && (pfnMappings === "refuse-cow" || pfnMappings === "linear-rule");

/** As if there were pages enough. */
const CERTAIN: FlatHuge = { area: {}, isCertain: true };
const CONTENT_OFFSET = 0x10;
const MARK_FIRST = 0x40;

function markedFile(bytes: number, { userPages }: FlatRules, segment: RawPlace | null): FlatFile {
  const file = new FlatFile(bytes, userPages, segment);
  for (let at = CONTENT_OFFSET, mark = 0; at < bytes; at += PAGE_SIZE, mark++) file.write(at, MARK_FIRST + (mark & 15));
  return file;
}

/** How the model follows one kind of call. */
export type FlatCall = (model: FlatModel, process: FlatProcess, args: readonly number[], result: Result) => Verdict;

const calls = {
  mmap: map,
  munmap: unmap,
  mprotect: protect,
  mremap: remap,
  rfp: remapFilePages,
  brk: changeBreak,
  madvise: advise,
  mlock: lock,
  mlock2: lock,
  munlock: unlock,
  mlockall: lockAll,
  munlockall: unlockAll,
  mincore: holes,
  msync: holes,
  ftrunc: truncate,
  fread: readFile,
  fwrite: writeFile,
  falloc: allocateFile,
  shmget: createSegment,
  shmat: attach,
  shmdt: detach,
  shmrm: removeSegment,
} as const;

/** Calls that change nothing a program sees: their errors depend on their arguments and on holes. */
function holes(_model: FlatModel, process: FlatProcess, args: readonly number[], result: Result): Verdict {
  const [address, lengthBytes] = args as [number, number];
  if (!isAligned(_model.rules, address)) return expectErrno(result, "EINVAL");
  if (result.kind === "errno") {
    const pages = pagesIn(_model.rules, lengthBytes);
    const hole = process.firstHole(pageOf(address), pageOf(address) + pages) < pageOf(address) + pages;
    if (result.errno === "ENOMEM" && !hole && isModern(_model.rules)) return "ENOMEM without a hole";
  }
  return undefined;
}

// What the parts of the model share.

export const textOf = (result: Result): string => {
  if (result.kind === "text") return result.text;
  if (result.kind === "errno") return result.errno;
  return result.kind === "signal" ? `${result.signal} ${result.code}` : `address ${result.address.toString(16)}`;
};

export const expectText = (printed: string, expected: string): Verdict =>
  printed === expected ? undefined : `${printed}, expected ${expected}`;

export const expectErrno = (result: Result, ...errnos: string[]): Verdict =>
  result.kind === "errno" && errnos.includes(result.errno)
    ? undefined
    : `${textOf(result)}, expected ${errnos.join(" or ")}`;

const hexByte = (byte: number): string => byte.toString(16).padStart(2, "0");
