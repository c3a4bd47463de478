/** How faults end, and what they are asked for: the words that the fault handlers share. */

/** What became of a fault. */
export type Verdict = number;
/** Repaired without a disk. */
export const FAULT_MINOR = 0;
/** Repaired, and a page had to be read. */
export const FAULT_MAJOR = 1;
/** Not repaired: no memory. */
export const FAULT_OOM = 2;
/** SIGSEGV: no area there. */
export const SEGV_MAPERR = 3;
/** SIGSEGV: the area does not allow it. */
export const SEGV_ACCERR = 4;
/** SIGBUS: beyond the end of the file. */
export const BUS_ADRERR = 5;

/** Not an end: nothing has been done for want of memory. Whoever can wait does, and tries again. */
export const NEEDS_MEMORY = -1;
/** Not an end: the page is a file's, which may have to be waited for. */
export const NEEDS_FILE = -2;
/** Not an end: the page must be copied, and other CPUs be waited for in between (only while tasks are interleaved). */
export const NEEDS_COPY = -3;
/** Not an end: the entry names a swap slot, whose page may have to be waited for. */
export const NEEDS_SWAP = -4;
/** Not an end: the entry names a page of the file that is not at its place. */
export const NEEDS_FILE_ENTRY = -5;
/** Not an end: others have the leaf table too, and the page must change for this address space alone. */
export const NEEDS_OWN_TABLE = -6;
/** Not an end: others have the leaf table too, and one of them is at it now. */
export const NEEDS_TURN = -7;
/** Not an end: the leaf table is the file's own, and must be hung here, or the page be brought into it. */
export const NEEDS_HOST = -8;

/** Not an end: there may be a huge page for who waits for it. */
export const NEEDS_BLOCK = -9;

/** Not an end: the page needs an area of its own, which takes mmap_sem for writing. */
export const NEEDS_AREA = -10;

/** Whether the verdict says that the access may be tried again. */
export const isRepaired = (verdict: Verdict): boolean => verdict <= FAULT_MAJOR;

/** What an access wants of a page. */
export type Intent = "read" | "write";

// The error code that the MMU leaves.
export const ERROR_PRESENT = 1 << 0;
export const ERROR_WRITE = 1 << 1;
export const ERROR_USER = 1 << 2;
export const ERROR_RESERVED = 1 << 3;
export const ERROR_FETCH = 1 << 4;
