/**
 * What an ELF file says about its place in memory: its segments, its break, its interpreter; and how a command becomes
 * the ELF program that runs it (through PATH and `#!` lines).
 */
import { accessSync, closeSync, constants, openSync, readSync, statSync } from "node:fs";
import { basename, delimiter, join } from "node:path";
import { UsageError } from "../../base/errors.ts";
import type { Abi } from "../../lab/trace/format.ts";

export interface Segment {
  readonly address: number;
  readonly memoryBytes: number;
  readonly fileBytes: number;
  readonly offset: number;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
}

export interface ElfFile {
  readonly abi: Abi;
  readonly segments: readonly Segment[];
  /** The dynamic linker that starts it, if one does. */
  readonly interpreter: string | undefined;
}

const ELF_MAGIC = 0x464c457f;
const CLASS_64 = 2;
const MACHINE_I386 = 3;
const MACHINE_X86_64 = 62;
const PT_LOAD = 1;
const PT_INTERP = 3;
const PF_X = 1;
const PF_W = 2;
const PF_R = 4;
const MAX_HEADERS = 4096;

/** `undefined` for what is not a program of one of the two ABIs. */
export function readElf(path: string): ElfFile | undefined {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    return undefined;
  }
  try {
    const head = readAt(file, 0, 64);
    if (head.byteLength < 52 || head.getUint32(0, true) !== ELF_MAGIC) return undefined;
    const wide = head.getUint8(4) === CLASS_64;
    const machine = head.getUint16(18, true);
    if (machine !== (wide ? MACHINE_X86_64 : MACHINE_I386) || (wide && head.byteLength < 64)) return undefined;
    return readSegments(file, head, wide);
  } finally {
    closeSync(file);
  }
}

function readSegments(file: number, head: DataView, wide: boolean): ElfFile {
  const offset = wide ? Number(head.getBigUint64(32, true)) : head.getUint32(28, true);
  const size = head.getUint16(wide ? 54 : 42, true);
  const count = Math.min(head.getUint16(wide ? 56 : 44, true), MAX_HEADERS);
  const table = readAt(file, offset, size * count);
  const segments: Segment[] = [];
  let interpreter: string | undefined;
  for (let at = 0; at + size <= table.byteLength && size > 0; at += size) {
    const word = (at64: number, at32: number): number =>
      wide ? Number(table.getBigUint64(at + at64, true)) : table.getUint32(at + at32, true);
    const type = table.getUint32(at, true);
    const flags = table.getUint32(at + (wide ? 4 : 24), true);
    const fileBytes = word(32, 16);
    if (type === PT_INTERP) interpreter = readText(file, word(8, 4), fileBytes);
    if (type !== PT_LOAD) continue;
    segments.push({
      address: word(16, 8),
      memoryBytes: word(40, 20),
      fileBytes,
      offset: word(8, 4),
      readable: (flags & PF_R) !== 0,
      writable: (flags & PF_W) !== 0,
      executable: (flags & PF_X) !== 0,
    });
  }
  return { abi: wide ? "x86-64" : "i386", segments, interpreter };
}

function readAt(file: number, offset: number, bytes: number): DataView {
  const buffer = new Uint8Array(bytes);
  const got = readSync(file, buffer, 0, bytes, offset);
  return new DataView(buffer.buffer, 0, got);
}

function readText(file: number, offset: number, bytes: number): string {
  const view = readAt(file, offset, Math.min(bytes, 4096));
  return Buffer.from(view.buffer, 0, view.byteLength).toString("latin1").split("\0")[0];
}

export interface Program {
  readonly path: string;
  readonly abi: Abi;
  /** What it finds as argv. */
  readonly argv: readonly string[];
}

const MAX_SCRIPTS = 4;

/** The ELF program that runs `command args`, as execvp would find it. */
export function resolveProgram(command: string, args: readonly string[]): Program {
  let path = findExecutable(command);
  let argv = [command, ...args];
  for (let depth = 0; depth <= MAX_SCRIPTS; depth++) {
    const elf = readElf(path);
    if (elf !== undefined) return { path, abi: elf.abi, argv };
    const line = firstLine(path);
    if (!line.startsWith("#!")) break;
    const [, interpreter, argument] = /^#!\s*(\S+)\s*(.*?)\s*$/.exec(line) ?? [];
    if (interpreter === undefined) break;
    argv = [interpreter, ...(argument === "" ? [] : [argument]), path, ...argv.slice(1)];
    path = interpreter;
  }
  throw new UsageError(
    `${command}: ${path} is no x86-64 or i386 program; only such programs (and scripts for them) can be recorded`,
  );
}

function findExecutable(command: string): string {
  const places = command.includes("/")
    ? [command]
    : (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, command));
  const found = places.find(isExecutable);
  if (found === undefined) throw new UsageError(`${command}: no such program`);
  return found;
}

/** Where a tool lies on PATH; `undefined` when it is not installed. */
export function findTool(name: string): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function firstLine(path: string): string {
  const file = openSync(path, "r");
  try {
    const view = readAt(file, 0, 256);
    return Buffer.from(view.buffer, 0, view.byteLength).toString("utf8").split("\n")[0];
  } finally {
    closeSync(file);
  }
}

export const programName = (path: string): string => basename(path);
