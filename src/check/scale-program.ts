/**
 * Programs for larger pages: what a program did with pages of 4 KiB it does with those of its machine, in a window that is as
 * many times larger. What was not a whole page is not one afterwards; what was touched is touched in parts that take turns.
 *
 *     mmap 3000 1800   ->  mmap c000 4800     pages of 16 KiB: page 3, and a length that is rounded up to two pages
 *     w 3010           ->  w f010             the fourth part of it
 */
import { PAGE_SIZE } from "../base/units.ts";
import type { Operand, Operation, OperationName, Program } from "./program.ts";

/** Where executors of programs for larger pages have room: from 64 KiB on, the window is a GiB. */
const MOST_TIMES = 16;
/** Whether programs are scaled to pages of so many times 4 KiB. */
export const mayScale = (userPages: number): boolean => userPages <= MOST_TIMES;
/** What is greater is no place or length, but the end of all addresses. */
const GREATEST = 2 ** 30;

/** Which operands are places and lengths of memory and of files, and which say what byte is touched. */
const scaled: Partial<Record<OperationName, { readonly bytes?: readonly number[]; readonly touches?: number }>> = {
  mmap: { bytes: [0, 1, 5] },
  munmap: { bytes: [0, 1] },
  mprotect: { bytes: [0, 1] },
  mremap: { bytes: [0, 1, 2, 4] },
  rfp: { bytes: [0, 1] },
  brk: { bytes: [0] },
  madvise: { bytes: [0, 1] },
  mlock: { bytes: [0, 1] },
  mlock2: { bytes: [0, 1] },
  munlock: { bytes: [0, 1] },
  mincore: { bytes: [0, 1] },
  msync: { bytes: [0, 1] },
  fill: { bytes: [0, 1] },
  scan: { bytes: [0, 1] },
  ftrunc: { bytes: [1] },
  falloc: { bytes: [2, 3] },
  fadv: { bytes: [1, 2] },
  shmget: { bytes: [2] },
  shmat: { bytes: [1] },
  shmdt: { bytes: [0] },
  rlimit: { bytes: [1] },
  r: { touches: 0 },
  w: { touches: 0 },
  x: { touches: 0 },
  fread: { touches: 1 },
  fwrite: { touches: 1 },
};

/** The program for pages of `userPages` times 4 KiB; as it is where such pages are so large that it would have no room. */
export function scaleProgram(program: Program, userPages: number): Program {
  if (program.scale !== undefined || userPages === 1 || !mayScale(userPages)) return program;
  return {
    ...program,
    scale: userPages,
    // Segments are as large as they are.
    files: program.files.map((file) =>
      file.on === undefined || file.on === "disk" ? { ...file, bytes: scaleBytes(file.bytes, userPages) } : file,
    ),
    operations: program.operations.map((operation) => scaleOperation(operation, userPages)),
  };
}

function scaleOperation(operation: Operation, times: number): Operation {
  const { bytes = [], touches } = scaled[operation.name] ?? {};
  const scale = (operand: Operand, at: number): Operand => {
    if (bytes.includes(at)) return { ...operand, value: scaleBytes(operand.value, times) };
    return at === touches ? { ...operand, value: scalePlace(operand.value, times) } : operand;
  };
  return { ...operation, operands: operation.operands.map(scale) };
}

/** So many pages more, and the rest as it is. */
function scaleBytes(bytes: number, times: number): number {
  if (bytes < 0 || bytes > GREATEST) return bytes;
  const rest = bytes % PAGE_SIZE;
  return (bytes - rest) * times + rest;
}

/** The same, in one of the parts of the page. */
function scalePlace(place: number, times: number): number {
  if (place < 0 || place > GREATEST) return place;
  return scaleBytes(place, times) + (Math.floor(place / PAGE_SIZE) % times) * PAGE_SIZE;
}
