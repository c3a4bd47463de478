/**
 * The memory system calls of a trace, made again on a machine. Where the recorded kernel chose a place, the same place
 * is asked for here, so that later addresses are right; what ends otherwise than recorded is a difference.
 */
import { errnoName } from "../base/errno.ts";
import { PAGE_SIZE } from "../base/units.ts";
import type { Machine } from "../machine.ts";
import type { Thread } from "../mm/process.ts";
import { IPC_PRIVATE } from "../mm/shm/segments.ts";
import { createUnlimited } from "../mm/shm/shm-calls.ts";
import type { Argument } from "../mm/syscalls.ts";
import { MAP_ANONYMOUS, MAP_FIXED, MAP_FIXED_NOREPLACE, MREMAP_FIXED, MREMAP_MAYMOVE } from "./import/calls.ts";
import type { AddressMap } from "./rebase.ts";
import type { EventOf } from "./trace/event.ts";
import type { TraceFiles } from "./trace-files.ts";

export type Call = EventOf<"call">;

/** What the calls of one replay work on. */
export interface CallContext {
  readonly machine: Machine;
  readonly map: AddressMap;
  readonly files: TraceFiles;
  /** By the number that a System V segment had when it was recorded: the one that it has on the machine. */
  readonly segments: Map<number, number>;
}

/** What a call came to, in the addresses of the machine. */
export interface CallOutcome {
  readonly expected: number;
  readonly result: number;
}

/** Makes the call; undefined if it is no call of this machine's at all (and none was recorded to succeed). */
export function replayCall(context: CallContext, thread: Thread, call: Call): CallOutcome {
  if (call.name === "mmap") return mmap(context, thread, call);
  if (call.name === "mremap") return mremap(context, thread, call);
  if (call.name === "brk") return brk(context, thread, call);
  if (call.name === "shmat") return shmat(context, thread, call);
  if (call.name === "shmdt") return shmdt(context, thread, call);
  return onRange(context, thread, call);
}

/** -ENOSYS: what a kernel answers to a call that it lacks. */
const NO_SUCH_CALL = -38;

function made(context: CallContext, thread: Thread, name: string, args: readonly Argument[]): number {
  const known = context.machine.kernel.personality.calls[name] !== undefined;
  return known ? context.machine.call(thread, name, args) : NO_SUCH_CALL;
}

/** A length in the addresses of the machine: areas that the range spans may lie closer together there. */
function mappedLength(map: AddressMap, address: number, lengthBytes: number): number {
  const pages = Math.ceil(lengthBytes / PAGE_SIZE);
  if (map.report === null || pages <= 1 || address % PAGE_SIZE !== 0) return lengthBytes;
  const first = address / PAGE_SIZE;
  const spread = map.page(first + pages - 1) - map.page(first) + 1;
  return spread > 0 ? spread * PAGE_SIZE - (pages * PAGE_SIZE - lengthBytes) : lengthBytes;
}

function onRange(context: CallContext, thread: Thread, { name, args, result }: Call): CallOutcome {
  const { map } = context;
  const [address = 0, lengthBytes = 0] = args;
  const takesRange = name !== "mlockall" && name !== "munlockall";
  const mapped: Argument[] = takesRange
    ? [map.address(address), mappedLength(map, address, lengthBytes), ...args.slice(2)]
    : [...args];
  if (name === "mincore")
    mapped[2] = args[2] === 0 ? 0 : new Uint8Array(Math.min(Math.ceil(lengthBytes / PAGE_SIZE), 1 << 24));
  return { expected: result, result: made(context, thread, name, mapped) };
}

function mmap(context: CallContext, thread: Thread, call: Call): CallOutcome {
  const { map, files } = context;
  const [hint, lengthBytes, prot, flags, , offset] = call.args;
  const succeeded = call.result >= 0;
  const expected = succeeded ? map.address(call.result) : call.result;
  const isFixed = (flags & MAP_FIXED) !== 0;
  const place = succeeded ? expected : map.address(hint);
  const how = succeeded && !isFixed ? flags | MAP_FIXED_NOREPLACE : flags;
  const wantsFile = (flags & MAP_ANONYMOUS) === 0;
  const file = wantsFile && call.file !== undefined ? files.open(thread, call.file, offset + lengthBytes) : null;
  const result = made(context, thread, "mmap", [place, lengthBytes, prot, how, file, offset]);
  // What the recorded program did not have must not be in the way of what it mapped later.
  if (!succeeded && result >= 0) made(context, thread, "munmap", [result, lengthBytes]);
  return { expected, result };
}

function mremap(context: CallContext, thread: Thread, call: Call): CallOutcome {
  const { map } = context;
  const [address, oldBytes, newBytes, flags, newAddress = 0] = call.args;
  const from = map.address(address);
  if (call.result < 0) {
    const result = made(context, thread, "mremap", [from, oldBytes, newBytes, flags, map.address(newAddress)]);
    return { expected: call.result, result };
  }
  const expected = map.address(call.result);
  const stays = call.result === address;
  const how = stays ? flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED) : flags | MREMAP_MAYMOVE | MREMAP_FIXED;
  return { expected, result: made(context, thread, "mremap", [from, oldBytes, newBytes, how, stays ? 0 : expected]) };
}

function brk(context: CallContext, thread: Thread, { args, result }: Call): CallOutcome {
  const { mm } = thread;
  const expected = context.map.address(result);
  if (mm.brk === 0) {
    // The first call of a program whose break the recorder did not know.
    mm.startBrk = expected;
    mm.endCode = expected;
    mm.brk = expected;
    return { expected, result: expected };
  }
  return { expected, result: made(context, thread, "brk", [context.map.address(args[0] ?? 0)]) };
}

/**
 * A segment is made when it is first attached, as large as it was: the recorded machine may have had other limits.
 *
 * @differs a recording does not say whether a segment had huge pages, nor when it was removed
 */
function shmat(context: CallContext, thread: Thread, call: Call): CallOutcome {
  const { map, machine, segments } = context;
  if (call.result < 0) return { expected: call.result, result: call.result };
  const expected = map.address(call.result);
  const [recorded = 0, , flags = 0] = call.args;
  let id = segments.get(recorded);
  if (id === undefined) {
    const number = createUnlimited(
      machine.kernel,
      thread,
      IPC_PRIVATE,
      call.file?.sizeBytes || PAGE_SIZE,
      OWNERS_RIGHTS,
    );
    if (number < 0) return { expected, result: number };
    id = number;
    segments.set(recorded, id);
  }
  return { expected, result: made(context, thread, "shmat", [id, expected, flags]) };
}

const OWNERS_RIGHTS = 0o600;

function shmdt(context: CallContext, thread: Thread, { args, result }: Call): CallOutcome {
  return { expected: result, result: made(context, thread, "shmdt", [context.map.address(args[0] ?? 0)]) };
}

/** A result in words: "0x7f12000", "0", "ENOMEM". */
export const resultText = (result: number): string =>
  result < 0 ? errnoName(result) : result < PAGE_SIZE ? String(result) : `0x${result.toString(16)}`;
