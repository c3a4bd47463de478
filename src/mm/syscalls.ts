/**
 * The system calls on address spaces, as a program makes them: byte addresses in, `>= 0` or `-ERRNO` out. The checks
 * of arguments are each call's own, in the order in which its kernel makes them.
 */
import type { Path } from "../sync/path.ts";
import type { OpenFile } from "./file.ts";
import type { Kernel } from "./kernel.ts";
import type { Thread } from "./process.ts";

/** A number, a file that is open (null: a descriptor that is not), or where mincore leaves its answer. */
export type Argument = number | OpenFile | Uint8Array | null;

export interface SystemCall {
  /** What its arguments are called, in order. */
  readonly arguments: readonly string[];
  readonly path: (kernel: Kernel, thread: Thread, args: readonly Argument[]) => Path<number>;
}

export type SystemCalls = Readonly<Record<string, SystemCall>>;
