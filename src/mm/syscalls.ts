/**
 * The system calls on address spaces, as a program makes them: byte addresses in, `>= 0` or `-ERRNO` out. Here numbers
 * become unsigned longs; the checks of arguments are each call's own, in the order in which its kernel makes them.
 */
import { EFAULT } from "../base/errno.ts";
import type { Vaddr } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import { OpenFile } from "./file.ts";
import { fileCalls } from "./file-calls.ts";
import type { Kernel } from "./kernel.ts";
import { RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, RLIMIT_STACK } from "./limits.ts";
import type { MapRequest } from "./map.ts";
import type { Thread } from "./process.ts";
import type { RemapArguments } from "./remap.ts";
import { lacksMemory, retried } from "./retried.ts";
import { type MapHeld, shmat, shmctl, shmdt, shmget } from "./shm/shm-calls.ts";
import { unsigned } from "./words.ts";

/** A number, a file that is open (null: a descriptor that is not), or where mincore leaves its answer. */
export type Argument = number | OpenFile | Uint8Array | null;

export interface SystemCall {
  /** What its arguments are called, in order. */
  readonly arguments: readonly string[];
  readonly path: (kernel: Kernel, thread: Thread, args: readonly Argument[]) => Path<number>;
}

export type SystemCalls = Readonly<Record<string, SystemCall>>;

type RangeCall = (kernel: Kernel, thread: Thread, address: Vaddr, lengthBytes: number) => Path<number>;
type RangeCallWith = (
  kernel: Kernel,
  thread: Thread,
  address: Vaddr,
  lengthBytes: number,
  bits: number,
) => Path<number>;

/** A kernel's own version of each call. */
export interface AddressSpaceCalls {
  readonly mmap: (kernel: Kernel, thread: Thread, request: MapRequest) => Path<number>;
  readonly munmap: RangeCall;
  readonly mprotect: RangeCallWith;
  readonly mremap: (kernel: Kernel, thread: Thread, args: RemapArguments) => Path<number>;
  readonly brk: (kernel: Kernel, thread: Thread, address: Vaddr) => Path<number>;
  readonly msync: RangeCallWith;
  readonly madvise: RangeCallWith;
  readonly mincore: (
    kernel: Kernel,
    thread: Thread,
    address: Vaddr,
    lengthBytes: number,
    vector: Uint8Array,
  ) => Path<number>;
  readonly mlock: RangeCall;
  /** Null: the kernel has no such call. */
  readonly mlock2: RangeCallWith | null;
  readonly munlock: RangeCall;
  readonly mlockall: (kernel: Kernel, thread: Thread, flags: number) => Path<number>;
  readonly munlockall: (kernel: Kernel, thread: Thread) => Path<number>;
  /** What shmat does once it knows what to map where. */
  readonly mapHeld: MapHeld;
}

/** The table of a kernel's calls, those on files too. */
export function systemCalls(calls: AddressSpaceCalls): SystemCalls {
  const ranges = { munmap: calls.munmap, mlock: calls.mlock, munlock: calls.munlock };
  const withBits = { mprotect: calls.mprotect, madvise: calls.madvise, msync: calls.msync, mlock2: calls.mlock2 };
  return withRetries({
    ...fileCalls,
    mmap: call("address length prot flags file offset", (kernel, thread, args) =>
      calls.mmap(kernel, thread, mapRequest(kernel, args)),
    ),
    mremap: call("address oldLength newLength flags newAddress", (kernel, thread, args) =>
      calls.mremap(kernel, thread, remapArguments(kernel, args)),
    ),
    brk: call("address", (kernel, thread, args) => calls.brk(kernel, thread, word(kernel, args[0]))),
    mincore: call("address length vector", (kernel, thread, args) => {
      const vector = args[2];
      if (!(vector instanceof Uint8Array)) return failing(-EFAULT);
      return calls.mincore(kernel, thread, word(kernel, args[0]), word(kernel, args[1]), vector);
    }),
    shmget: call("key size flags", (kernel, thread, args) =>
      shmget(kernel, thread, int(args[0]), word(kernel, args[1]), int(args[2])),
    ),
    shmat: call("id address flags", (kernel, thread, args) =>
      shmat(kernel, thread, [int(args[0]), word(kernel, args[1]), int(args[2])], calls.mapHeld),
    ),
    shmdt: call("address", (kernel, thread, args) => shmdt(kernel, thread, word(kernel, args[0]))),
    shmctl: call("id command", (kernel, _thread, args) => shmctl(kernel, int(args[0]), int(args[1]))),
    mlockall: call("flags", (kernel, thread, args) => calls.mlockall(kernel, thread, int(args[0]))),
    munlockall: call("", (kernel, thread) => calls.munlockall(kernel, thread)),
    setrlimit: call("resource bytes", (kernel, thread, args) => setLimit(thread, int(args[0]), word(kernel, args[1]))),
    ...Object.fromEntries(Object.entries(ranges).map(([name, path]) => [name, rangeCall(path)])),
    ...Object.fromEntries(
      Object.entries(withBits).flatMap(([name, path]) => (path === null ? [] : [[name, rangeCallWith(path)]])),
    ),
  });
}

/** The same calls, made again where memory was short and could be freed. */
function withRetries(calls: SystemCalls): SystemCalls {
  const retrying = ({ arguments: names, path }: SystemCall): SystemCall => ({
    arguments: names,
    path: (kernel, thread, args) => retried(kernel, () => path(kernel, thread, args), lacksMemory),
  });
  return Object.fromEntries(Object.entries(calls).map(([name, call]) => [name, retrying(call)]));
}

function call(names: string, path: SystemCall["path"]): SystemCall {
  return { arguments: names === "" ? [] : names.split(" "), path };
}

const rangeCall = (path: RangeCall): SystemCall =>
  call("address length", (kernel, thread, args) => path(kernel, thread, word(kernel, args[0]), word(kernel, args[1])));

const rangeCallWith = (path: RangeCallWith): SystemCall =>
  call("address length bits", (kernel, thread, args) =>
    path(kernel, thread, word(kernel, args[0]), word(kernel, args[1]), int(args[2])),
  );

/** An unsigned long; what is left out is 0, as garbage in a register might be. */
const word = (kernel: Kernel, argument: Argument | undefined): number =>
  unsigned(kernel.layout, typeof argument === "number" ? argument : 0);

/** Bits: all that is known lies in the low 32. */
const int = (argument: Argument | undefined): number => (typeof argument === "number" ? argument | 0 : 0);

function mapRequest(kernel: Kernel, args: readonly Argument[]): MapRequest {
  const file = args[4];
  return {
    address: word(kernel, args[0]),
    lengthBytes: word(kernel, args[1]),
    prot: int(args[2]),
    flags: int(args[3]),
    file: file instanceof OpenFile ? file : null,
    offsetBytes: word(kernel, args[5]),
  };
}

const remapArguments = (kernel: Kernel, args: readonly Argument[]): RemapArguments => ({
  address: word(kernel, args[0]),
  oldBytes: word(kernel, args[1]),
  newBytes: word(kernel, args[2]),
  flags: int(args[3]),
  newAddress: word(kernel, args[4]),
});

// biome-ignore lint/correctness/useYield: a path that never waits
function* failing(result: number): Path<number> {
  return result;
}

/** Limits that memory is not held against are accepted and forgotten. */
// biome-ignore lint/correctness/useYield: a path that never waits
function* setLimit(thread: Thread, resource: number, bytes: number): Path<number> {
  const { limits } = thread.process;
  // RLIM_INFINITY is the greatest unsigned long.
  const value = bytes >= 2 ** 63 || bytes === 2 ** 32 - 1 ? Number.POSITIVE_INFINITY : bytes;
  if (resource === RLIMIT_AS) limits.addressSpaceBytes = value;
  else if (resource === RLIMIT_DATA) limits.dataBytes = value;
  else if (resource === RLIMIT_STACK) limits.stackBytes = value;
  else if (resource === RLIMIT_MEMLOCK) limits.lockedBytes = value;
  return 0;
}
