/**
 * One line of strace's output, taken apart:
 *
 *     9830  mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f1867378000
 *     9831  close(3<pipe:[33342]> <unfinished ...>
 *     9831  <... close resumed>)              = 0
 *     9831  +++ exited with 0 +++
 *
 * A process number is there with -f, a time with -t, -tt, -ttt or -r.
 */
import { flagValues } from "./calls.ts";

export type StraceLine =
  | { readonly is: "call"; readonly name: string; readonly args: string; readonly result: number | undefined }
  | { readonly is: "unfinished"; readonly name: string; readonly args: string }
  | { readonly is: "resumed"; readonly name: string; readonly args: string; readonly result: number | undefined }
  | { readonly is: "exited"; readonly status: number }
  | { readonly is: "nothing" };

export interface PlacedLine {
  /** 0 without -f. */
  readonly process: number;
  readonly line: StraceLine;
}

/** Error numbers by name, for results. */
const errnos: ReadonlyMap<string, number> = new Map(
  Object.entries({
    EPERM: 1,
    ENOENT: 2,
    ESRCH: 3,
    EINTR: 4,
    EIO: 5,
    ENXIO: 6,
    E2BIG: 7,
    ENOEXEC: 8,
    EBADF: 9,
    ECHILD: 10,
    EAGAIN: 11,
    ENOMEM: 12,
    EACCES: 13,
    EFAULT: 14,
    ENOTBLK: 15,
    EBUSY: 16,
    EEXIST: 17,
    EXDEV: 18,
    ENODEV: 19,
    ENOTDIR: 20,
    EISDIR: 21,
    EINVAL: 22,
    ENFILE: 23,
    EMFILE: 24,
    ENOTTY: 25,
    ETXTBSY: 26,
    EFBIG: 27,
    ENOSPC: 28,
    ESPIPE: 29,
    EROFS: 30,
    ENOSYS: 38,
    EOVERFLOW: 75,
    EOPNOTSUPP: 95,
  }),
);

/** The line's parts; undefined if it is no line of strace's. */
export function parseStraceLine(text: string): PlacedLine | undefined {
  if (text.trim() === "") return { process: 0, line: { is: "nothing" } };
  const head = /^(?:\[pid +(\d+)\] +|(\d+) +)?(?:\d\d:\d\d:\d\d(?:\.\d+)? +|\d+\.\d+ +)?(.*)$/.exec(text);
  if (head === null) return undefined;
  const line = lineOf(head[3]);
  return line === undefined ? undefined : { process: Number(head[1] ?? head[2] ?? 0), line };
}

function lineOf(body: string): StraceLine | undefined {
  const exited = /^\+\+\+ exited with (\d+) \+\+\+$/.exec(body);
  if (exited !== null) return { is: "exited", status: Number(exited[1]) };
  if (/^\+\+\+ killed by \w+.*\+\+\+$/.test(body)) return { is: "exited", status: 128 };
  if (/^(\+\+\+|---) .* (\+\+\+|---)$/.test(body)) return { is: "nothing" };
  const unfinished = /^(\w+)\((.*?),? *<unfinished \.\.\.>$/.exec(body);
  if (unfinished !== null) return { is: "unfinished", name: unfinished[1], args: unfinished[2] };
  const resumed = /^<\.\.\. (\w+) resumed> ?(.*?)\) += +(.+)$/.exec(body);
  if (resumed !== null) return { is: "resumed", name: resumed[1], args: resumed[2], result: resultOf(resumed[3]) };
  const call = /^(\w+)\((.*)\) += +(.+)$/.exec(body);
  if (call !== null) return { is: "call", name: call[1], args: call[2], result: resultOf(call[3]) };
  return undefined;
}

/** "0x7f00", "3</lib/x.so>", "-1 ENOENT (No such file or directory)"; "?" is undefined. */
function resultOf(text: string): number | undefined {
  const error = /^-1 (E[A-Z0-9]+)/.exec(text);
  if (error !== null) return -(errnos.get(error[1]) ?? 22);
  const found = /^(0x[0-9a-f]+|-?\d+)/.exec(text);
  return found === null ? undefined : Number(found[1]);
}

const closers: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}", "<": ">" };

/** The arguments, split at the commas that stand in no string and no bracket. */
export function splitArguments(text: string): string[] {
  const parts: string[] = [];
  const open: string[] = [];
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const letter = text[i];
    if (letter === '"') i = endOfString(text, i);
    else if (letter === open.at(-1)) open.pop();
    else if (closers[letter] !== undefined && text.slice(i, i + 2) !== "<<") open.push(closers[letter]);
    else if (letter === "," && open.length === 0) {
      parts.push(text.slice(start, i).trim());
      start = i + 1;
    }
  }
  const last = text.slice(start).trim();
  return last === "" && parts.length === 0 ? [] : [...parts, last];
}

function endOfString(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === '"') return i;
  }
  return text.length;
}

/** An argument's number: "0x10", "PROT_READ|PROT_WRITE", "3</lib/x.so>", "21<<MAP_HUGE_SHIFT"; undefined for others. */
export function numberOf(argument: string): number | undefined {
  const plain = argument
    .replace(/<.*$/, "")
    .replace(/ \/\*.*\*\/$/, "")
    .replace(/^\w+=/, "");
  let sum = 0;
  for (const part of plain.split("|")) {
    const value = flagValues.get(part) ?? (/^(-?\d+|0x[0-9a-f]+)$/i.test(part) ? octalOrNumber(part) : undefined);
    if (value === undefined) return undefined;
    sum = plain.includes("|") ? sum | value : value;
  }
  return sum;
}

const octalOrNumber = (text: string): number => (/^0[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number(text));

/** The path behind a descriptor that strace -y shows: "3</lib/x.so>". */
export const pathOf = (argument: string): string | undefined => /^-?\w+<(.+)>$/.exec(argument)?.[1];
