/**
 * The text of `valgrind --tool=lackey --trace-mem=yes --trace-syscalls=yes`, a line at a time, from bytes as they come:
 *
 *     I  04002030,3                 a fetch:  address, bytes
 *      L 1ffeffe7e0,8               a load; S a store, M a load and a store
 *     SYSCALL[9792,1](9) sys_mmap ( 0x0, 8192, 3, 34, 4294967295, 0 ) --> [pre-success] Success(0x4835000)
 *     SYSCALL[9792,1](0) sys_read ( 4, 0x1ffeffedf8, 832 ) --> [async] ...      the result comes later:
 *     SYSCALL[9792,1](0) ... [async] --> Success(0x340)
 *     ==9792== what valgrind says
 *
 * Anything else is a damaged line, and a UsageError with its number.
 */
import { UsageError } from "../../base/errors.ts";
import { asciiText } from "../trace/ascii.ts";
import { type AccessKind, FETCH, LOAD, STORE } from "../trace/format.ts";

export interface LackeyCall {
  readonly process: number;
  /** Valgrind's own number of the thread: 1, 2, ... */
  readonly thread: number;
  /** As valgrind spells it: "sys_mmap". */
  readonly name: string;
  readonly args: readonly number[];
  /** The first string among the arguments: an open's path. */
  readonly text: string | undefined;
  /** `>= 0` or `-errno`; undefined if the call never returned (exit, or cut short by a signal). */
  readonly result: number | undefined;
}

export interface LackeyHandler {
  access(kind: AccessKind, address: number, bytes: number): void;
  call(call: LackeyCall): void;
}

const NEWLINE = 10;
const COMMA = 44;
const SPACE = 32;
const LETTER_I = 73;
const LETTER_L = 76;
const LETTER_M = 77;
const LETTER_S = 83;
/** Longer lines are damaged: a call's strings are shortened by the kernel's own limits. */
const MAX_LINE = 64 * 1024;

/** By byte: the hexadecimal digit, or -1. */
const hexDigit = new Int8Array(256).fill(-1);
for (let digit = 0; digit < 16; digit++) {
  hexDigit[digit.toString(16).charCodeAt(0)] = digit;
  hexDigit[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}

export class LackeyParser {
  lines = 0;
  private readonly name: string;
  private readonly handler: LackeyHandler;
  private rest: Uint8Array = new Uint8Array(0);
  /** A call line whose result stands on the next line. */
  private open: string | undefined;
  /** By thread: the call whose result comes later. */
  private readonly waiting = new Map<number, Omit<LackeyCall, "result">>();

  /** `name` is the log's, for messages. */
  constructor(name: string, handler: LackeyHandler) {
    this.name = name;
    this.handler = handler;
  }

  /** The next bytes of the log. */
  feed(bytes: Uint8Array): void {
    const block = this.rest.length === 0 ? bytes : joined(this.rest, bytes);
    let at = 0;
    while (at < block.length) {
      const end = this.accessLine(block, at);
      if (end > 0) {
        at = end;
        continue;
      }
      const newline = block.indexOf(NEWLINE, at);
      if (newline < 0) break;
      this.lines++;
      this.textLine(asciiText(block.subarray(at, newline)));
      at = newline + 1;
    }
    this.rest = block.slice(at);
    if (this.rest.length > MAX_LINE) this.damaged(asciiText(this.rest.subarray(0, 80)));
  }

  /** The log is at its end. */
  finish(): void {
    if (this.rest.length > 0) {
      throw new UsageError(
        `${this.name}: line ${this.lines + 1}: expected a whole line, found ${JSON.stringify(asciiText(this.rest.subarray(0, 80)))} and the end of the file: it was cut off`,
      );
    }
    for (const call of this.waiting.values()) this.handler.call({ ...call, result: undefined });
  }

  /** Reads a line of an access at `start`; returns where the next line starts, or 0 if it is no whole such line. */
  private accessLine(block: Uint8Array, start: number): number {
    const first = block[start];
    const letter = first === LETTER_I ? LETTER_I : block[start + 1];
    if (first === LETTER_I ? block[start + 1] !== SPACE : first !== SPACE) return 0;
    if (block[start + 2] !== SPACE) return 0;
    let at = start + 3;
    let address = 0;
    for (let digit = hexDigit[block[at]]; digit >= 0; digit = hexDigit[block[++at]]) address = address * 16 + digit;
    if (block[at] !== COMMA || at === start + 3) return 0;
    const sizeAt = ++at;
    let bytes = 0;
    for (let byte = block[at] - 48; byte >= 0 && byte <= 9; byte = block[++at] - 48) bytes = bytes * 10 + byte;
    if (block[at] !== NEWLINE || at === sizeAt || bytes === 0 || bytes > 4096) return 0;
    const { handler } = this;
    if (letter === LETTER_I) handler.access(FETCH, address, bytes);
    else if (letter === LETTER_L) handler.access(LOAD, address, bytes);
    else if (letter === LETTER_S) handler.access(STORE, address, bytes);
    else if (letter === LETTER_M) {
      handler.access(LOAD, address, bytes);
      handler.access(STORE, address, bytes);
    } else return 0;
    this.lines++;
    return at + 1;
  }

  private textLine(line: string): void {
    if (line === "" || line.startsWith("==") || line.startsWith("--")) return;
    if (line.startsWith("SYSCALL[")) {
      if (line.includes(" --> ")) this.callLine(line);
      else this.open = line;
      return;
    }
    if (line.startsWith(" --> ")) {
      // A child's log starts with the result of the fork that made it.
      if (this.open !== undefined) this.callLine(this.open + line);
      this.open = undefined;
      return;
    }
    this.damaged(line);
  }

  private callLine(line: string): void {
    const head = /^SYSCALL\[(\d+),(\d+)\]\( *(\d+)\) (.*?) *(\[sync\])? --> (.*)$/.exec(line);
    if (head === null) this.damaged(line);
    const [, process, threadText, , body, , outcome] = head;
    const thread = Number(threadText);
    const result = this.resultOf(outcome, line);
    if (body.startsWith("...")) {
      const waiting = this.waiting.get(thread);
      this.waiting.delete(thread);
      if (waiting !== undefined) this.handler.call({ ...waiting, result });
      return;
    }
    const spelled = /^(\w+) ?\((.*)\)?/.exec(body);
    const name = spelled?.[1] ?? "unknown";
    const inside = spelled?.[2] ?? "";
    const text = /0x[0-9a-f]+\((.*?)\)(?:,| \))/.exec(`${inside},`)?.[1];
    const call = { process: Number(process), thread, name, args: numbersIn(name, inside), text };
    if (outcome.startsWith("[async]")) this.waiting.set(thread, call);
    else this.handler.call({ ...call, result });
  }

  /** The number in "Success(0x..)" or "Failure(0x..)". */
  private resultOf(outcome: string, line: string): number | undefined {
    const found = /(Success|Failure)\((0x[0-9a-fA-F]+)\)/.exec(outcome);
    if (found !== null) return found[1] === "Success" ? Number(found[2]) : -Number(found[2]);
    if (/\.\.\.|NoWriteResult|SuccessNoWrite/.test(outcome)) return undefined;
    return this.damaged(line);
  }

  private damaged(line: string): never {
    const shown = JSON.stringify(line.slice(0, 80));
    throw new UsageError(
      `${this.name}: line ${this.lines}: expected an access ("I  ADDRESS,SIZE", " L ...", " S ...", " M ...") or SYSCALL[...], found ${shown}`,
    );
  }
}

/** The arguments that are numbers. Valgrind prints clone's flags in hexadecimal without a prefix. */
function numbersIn(name: string, inside: string): number[] {
  const found = inside.replace(/\([^)]*\)/g, "").split(",");
  return found
    .map((text, i) =>
      i === 0 && name === "sys_clone" ? Number(`0x${text.trim()}`) : Number(text.trim().split(/[ )]/)[0]),
    )
    .map((value) => (Number.isNaN(value) ? 0 : value));
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}
