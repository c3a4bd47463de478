/**
 * Programs of memory operations in the language that runs on real kernels too: a few files, then one operation a line
 * over up to eight processes. This is its parser and its printer; `run-program.ts` runs it.
 *
 *     prog NAME
 *     file F BYTES [WHERE]                  a file whose page i holds 0x40 + (i & 15) at byte 0x10: in memory, or (only on the
 *                                           model) on a disk, or frames of a segment: xip, xip-scattered, remap, nopfn
 *     P mmap ADDR|- LENGTH PROT FLAGS F OFFSET
 *     P munmap ADDR LENGTH | P mprotect ADDR LENGTH PROT | P mremap ADDR OLD NEW FLAGS [NEWADDR]
 *     P r ADDR | P w ADDR VALUE | P x ADDR  load, store or execute one byte
 *     P fill ADDR LENGTH VALUE              store at byte 0x10 of page after page, one more each time (only on the model)
 *     P scan ADDR LENGTH                    load that byte of page after page (only on the model)
 *     P shmget S KEY LENGTH FLAGS           a segment of System V shared memory, which the program calls S from now on
 *     P shmat S ADDR|- FLAGS | P shmdt ADDR | P shmrm S
 *     P fork Q | P exit | P stat ...
 *     P fail N [M]                          the next operation's Nth allocation of a page fails, and its Mth of a small
 *                                           object (only on the model; 0: none)
 *     end
 *
 * An address is hexadecimal: an offset in the window, `B` and an offset from the break, `@` and an absolute address,
 * or `-` for none. Other operands are decimal or `0x` hexadecimal.
 */
import { UsageError } from "../base/errors.ts";
import { nearest } from "../base/nearest.ts";

/** How many processes, files and segments a program may use. */
export const PROCESSES = 8;
export const FILES = 8;

/** What an operand counts from. */
export type Base = "number" | "window" | "break";

export interface Operand {
  readonly base: Base;
  readonly value: number;
}

export interface Operation {
  /** The line of the text that it was read from, or 0. */
  readonly line: number;
  readonly process: number;
  readonly name: OperationName;
  readonly operands: readonly Operand[];
}

/**
 * Where a file is, if not in memory: on a disk; or it is frames of a segment, executed in place, in one piece or
 * scattered; or the memory of a device that maps it at once (remap) or page by page (nopfn).
 */
export const filePlaces = ["disk", "xip", "xip-scattered", "remap", "nopfn"] as const;
export type FilePlace = (typeof filePlaces)[number];

export interface ProgramFile {
  readonly file: number;
  readonly bytes: number;
  /** Left out: in memory. */
  readonly on?: FilePlace;
}

export interface Program {
  readonly name: string;
  /** How many times 4 KiB its pages have; left out: it was written for 4 KiB. */
  readonly scale?: number;
  readonly files: readonly ProgramFile[];
  readonly operations: readonly Operation[];
}

/** Each operation's operands: `a` an address, `n` a number, `?` the rest may be left out (and is 0). */
const grammar = {
  mmap: "annnnn",
  munmap: "an",
  mprotect: "ann",
  mremap: "annn?a",
  madvise: "ann",
  mlock: "an",
  mlock2: "ann",
  munlock: "an",
  mlockall: "n",
  munlockall: "",
  mincore: "an",
  msync: "ann",
  rfp: "annn",
  brk: "n",
  r: "a",
  w: "an",
  x: "a",
  ftrunc: "nn",
  fread: "nn",
  fwrite: "nnn",
  falloc: "nnnn",
  fadv: "nnnn",
  fsync: "n",
  shmget: "nnnn",
  shmat: "nan",
  shmdt: "a",
  shmrm: "n",
  fork: "n",
  exit: "",
  rlimit: "nn",
  stat: "",
  fail: "n?n",
  fill: "ann",
  scan: "an",
} as const satisfies Record<string, string>;

export type OperationName = keyof typeof grammar;

export const operationNames = Object.keys(grammar) as OperationName[];

/** Which operand of an operation names a file. */
const fileOperand: Partial<Record<OperationName, number>> = {
  mmap: 4,
  ftrunc: 0,
  fread: 0,
  fwrite: 0,
  falloc: 0,
  fadv: 0,
  fsync: 0,
};

/** Operations whose first operand names a segment. */
const segmentOperations: ReadonlySet<OperationName> = new Set(["shmget", "shmat", "shmrm"]);

/** Reads every program of a text; `source` is its name in messages. */
export function parsePrograms(text: string, source: string): Program[] {
  return new Parser(text, source).programs();
}

class Parser {
  private readonly lines: string[];
  private readonly source: string;
  private at = 0;

  constructor(text: string, source: string) {
    this.lines = text.split("\n");
    this.source = source;
  }

  programs(): Program[] {
    const programs: Program[] = [];
    for (let words = this.next(); words !== undefined; words = this.next()) {
      if (words[0] !== "prog") this.fail(`found "${words[0]}", expected "prog NAME"`);
      if (words.length !== 2) this.fail('expected one name after "prog"');
      programs.push(this.program(words[1]!));
    }
    return programs;
  }

  private program(name: string): Program {
    const first = this.at;
    const files: ProgramFile[] = [];
    const operations: Operation[] = [];
    for (let words = this.next(); words !== undefined; words = this.next()) {
      if (words[0] === "end") return { name, files, operations };
      if (words[0] === "file") {
        if (operations.length > 0) this.fail("files come before the first operation");
        files.push(this.file(words));
      } else {
        operations.push(this.operation(words));
      }
    }
    this.at = first;
    return this.fail(`program "${name}" has no "end"`);
  }

  private file(words: string[]): ProgramFile {
    const [, number, size, on] = words;
    if (number === undefined || size === undefined || words.length > 4) this.fail("expected file F BYTES [WHERE]");
    const file = this.number(number);
    if (file >= FILES) this.fail(`file ${file}: files are 0 to ${FILES - 1}`);
    const bytes = this.number(size);
    if (on === undefined) return { file, bytes };
    const place = filePlaces.find((name) => name === on);
    if (place !== undefined) return { file, bytes, on: place };
    return this.fail(`file ${file} is on "${on}", expected nothing or ${filePlaces.join(", ")}`);
  }

  private operation(words: string[]): Operation {
    const process = this.number(words[0]!);
    if (process >= PROCESSES) this.fail(`process ${process}: processes are 0 to ${PROCESSES - 1}`);
    const name = words[1];
    if (name === undefined) this.fail("expected an operation after the process");
    if (!isOperation(name)) {
      const near = nearest(name, operationNames);
      this.fail(`unknown operation "${name}"${near === undefined ? "" : `; did you mean "${near}"?`}`);
    }
    const operation = { line: this.at, process, name, operands: this.operands(name, words.slice(2)) };
    this.checkFile(operation);
    return operation;
  }

  private operands(name: OperationName, words: string[]): Operand[] {
    const [required, optional = ""] = grammar[name].split("?") as [string, string?];
    const kinds = required + optional;
    if (words.length < required.length || words.length > kinds.length) {
      this.fail(
        `${name} takes ${kinds.length === required.length ? "" : `${required.length} to `}${kinds.length} operands, found ${words.length}`,
      );
    }
    return [...kinds].map((kind, at) => {
      const word = words[at];
      if (word === undefined) return { base: "number", value: 0 };
      return kind === "a" ? this.address(word) : { base: "number", value: this.number(word) };
    });
  }

  private checkFile(operation: Operation): void {
    const [first] = operation.operands;
    if (segmentOperations.has(operation.name) && !(first!.value >= 0 && first!.value < FILES))
      this.fail(`${operation.name}: segment ${first!.value}: segments are 0 to ${FILES - 1}`);
    const at = fileOperand[operation.name];
    if (at === undefined) return;
    const { value } = operation.operands[at]!;
    if (value === -1 && operation.name === "mmap") return;
    if (!(value >= 0 && value < FILES)) this.fail(`${operation.name}: file ${value}: files are 0 to ${FILES - 1}`);
  }

  private address(word: string): Operand {
    if (word === "-") return { base: "number", value: 0 };
    if (word.startsWith("B")) return { base: "break", value: this.hexadecimal(word.slice(1)) };
    if (word.startsWith("@")) return { base: "number", value: this.hexadecimal(word.slice(1)) };
    return { base: "window", value: this.hexadecimal(word) };
  }

  private hexadecimal(word: string): number {
    const digits = word.startsWith("0x") ? word.slice(2) : word;
    if (!/^[0-9a-f]{1,16}$/i.test(digits)) this.fail(`"${word}": expected a hexadecimal address`);
    return Number.parseInt(digits, 16);
  }

  private number(word: string): number {
    if (!/^-?(0x[0-9a-f]{1,16}|[0-9]{1,19})$/i.test(word)) this.fail(`"${word}": expected a number, decimal or 0x...`);
    return word.startsWith("-") ? -Number(word.slice(1)) : Number(word);
  }

  /** The words of the next line that has any. */
  private next(): string[] | undefined {
    while (this.at < this.lines.length) {
      const line = this.lines[this.at++]!;
      const comment = line.indexOf("#");
      const words = (comment < 0 ? line : line.slice(0, comment)).split(/\s+/).filter((word) => word !== "");
      if (words.length > 0) return words;
    }
    return undefined;
  }

  private fail(message: string): never {
    throw new UsageError(`${this.source}:${this.at}: ${message}`);
  }
}

/** What `fill` stores in its n-th page. */
export const filling = (value: number, page: number): number => (value + page) & 0xff;

const isOperation = (name: string): name is OperationName => Object.hasOwn(grammar, name);

/** The text of a program, as `parsePrograms` reads it. */
export function formatProgram(program: Program): string {
  const lines = [`prog ${program.name}`];
  for (const { file, bytes, on } of program.files) {
    lines.push(`file ${file} ${bytes}${on === undefined ? "" : ` ${on}`}`);
  }
  for (const operation of program.operations) lines.push(formatOperation(operation));
  lines.push("end");
  return `${lines.join("\n")}\n`;
}

export function formatOperation({ process, name, operands }: Operation): string {
  const kinds = grammar[name].replace("?", "");
  const words = operands.map((operand, at) =>
    kinds[at] === "a" ? formatAddress(operand) : formatNumber(operand.value),
  );
  return [process, name, ...words].join(" ");
}

function formatAddress({ base, value }: Operand): string {
  if (base === "window") return value.toString(16);
  if (base === "break") return `B${value.toString(16)}`;
  return value === 0 ? "-" : `@${value.toString(16)}`;
}

const formatNumber = (value: number): string => (value < 10 ? String(value) : `0x${value.toString(16)}`);
