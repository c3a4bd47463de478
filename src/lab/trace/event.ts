/**
 * What happens in a trace besides accesses: starts, switches between threads, memory system calls with their results,
 * accesses that the kernel itself makes to user pages, forks, exits and what is done to files that are mapped.
 *
 * Addresses and lengths are bytes. A call's arguments are numbers as C passes them, with -1 for all ones.
 */
import { z } from "zod";
import { abiNames } from "./format.ts";

const MAX_ARGUMENT = 2 ** 64;
const address = z.int().min(0);
const bytes = z.int().min(0);
const id = z.int().min(0).max(0x7fff_ffff);
const path = z.string().max(4096);
const argument = z
  .number()
  .min(-MAX_ARGUMENT)
  .max(MAX_ARGUMENT)
  .refine((value) => Number.isInteger(value), "a whole number");
/** Microseconds since the recording began. */
const atMicros = z.number().min(0).optional();

/** One line of /proc/PID/maps. */
export const regionSchema = z.strictObject({
  start: address,
  end: address,
  /** As in /proc/PID/maps: "r-xp", "rw-s". */
  rights: z.string().regex(/^[r-][w-][x-][ps]$/),
  /** "image", "heap", "stack", "vdso", "vvar", "file", "anonymous", or the kernel's own name for it. */
  what: z.string().max(256),
  /** Offset in the file, in bytes. */
  offset: bytes,
  file: path.optional(),
  /** The file's size, where known: pages beyond it give SIGBUS. */
  fileBytes: bytes.optional(),
});

/** The address space as a program finds it before its first instruction. */
const image = {
  abi: z.enum(abiNames),
  /** The program's name. */
  name: z.string().max(4096).optional(),
  regions: z.array(regionSchema).max(100_000),
  /** The program break; it starts where a region "heap" starts, or here. */
  brk: address,
};

const fileReference = z.strictObject({
  path,
  /** The file's size at that time, where known. */
  sizeBytes: bytes.optional(),
});

export const eventSchema = z.discriminatedUnion("op", [
  /** A process that was not forked by another one in the trace. Its thread becomes the current one. */
  z.strictObject({ op: z.literal("start"), thread: id, process: id, parent: id.optional(), ...image, atMicros }),
  /** What follows is this thread's. */
  z.strictObject({ op: z.literal("switch"), thread: id, atMicros }),
  /** A memory system call and its result: `>= 0`, or `-errno`. */
  z.strictObject({
    op: z.literal("call"),
    name: z.string().regex(/^[a-z][a-z0-9_]{0,31}$/),
    args: z.array(argument).max(8),
    result: argument,
    /** The file behind the descriptor, or the System V segment ("sysv:ID"). */
    file: fileReference.optional(),
    atMicros,
  }),
  /** The kernel reads or writes the task's memory in a system call: a read's buffer, a stat's result. */
  z.strictObject({
    op: z.literal("kernel-access"),
    address,
    lengthBytes: bytes,
    kind: z.enum(["load", "store"]),
    atMicros,
  }),
  /** The current thread makes another one: with its own copy of the memory, or in the same address space. */
  z.strictObject({
    op: z.literal("fork"),
    child: id,
    process: id,
    shares: z.enum(["nothing", "memory"]),
    atMicros,
  }),
  /** The current thread's process gets a new address space. */
  z.strictObject({ op: z.literal("exec"), ...image, atMicros }),
  /** A thread ends, or with it its whole process. */
  z.strictObject({
    op: z.literal("exit"),
    thread: id,
    status: z.int(),
    scope: z.enum(["thread", "process"]).default("process"),
    atMicros,
  }),
  // Files that are mapped at some time: so that a replay knows their sizes and their cached pages.
  z.strictObject({ op: z.literal("open"), path, sizeBytes: bytes, atMicros }),
  z.strictObject({ op: z.literal("close"), path, atMicros }),
  z.strictObject({ op: z.literal("read"), path, offset: bytes, lengthBytes: bytes, atMicros }),
  z.strictObject({ op: z.literal("write"), path, offset: bytes, lengthBytes: bytes, atMicros }),
  z.strictObject({ op: z.literal("ftruncate"), path, sizeBytes: bytes, atMicros }),
]);

export type Region = z.infer<typeof regionSchema>;
/** As it is in memory: every default filled in. */
export type TraceEvent = z.infer<typeof eventSchema>;
/** As it may be written: what has a default may be left out. */
export type TraceEventInput = z.input<typeof eventSchema>;
export type EventOp = TraceEvent["op"];
export type EventOf<Op extends EventOp> = Extract<TraceEvent, { op: Op }>;
