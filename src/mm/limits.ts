/**
 * What one process may have (setrlimit), in bytes, and what it may do. `Infinity` is RLIM_INFINITY. Processes that
 * share an address space share its limits here.
 *
 * @models linux-6.1 include/uapi/asm-generic/resource.h
 */
export const RLIMIT_DATA = 2;
export const RLIMIT_STACK = 3;
export const RLIMIT_MEMLOCK = 8;
export const RLIMIT_AS = 9;

/** CAP_IPC_LOCK and CAP_SYS_ADMIN: locking beyond RLIMIT_MEMLOCK, the last of the memory. */
export type Privilege = "root" | "user";

export class Limits {
  addressSpaceBytes = Number.POSITIVE_INFINITY;
  dataBytes = Number.POSITIVE_INFINITY;
  stackBytes = 8 * 1024 * 1024;
  lockedBytes = 8 * 1024 * 1024;
  privilege: Privilege = "root";

  /** A copy, as a forked child has it. */
  copy(): Limits {
    return Object.assign(new Limits(), this);
  }
}
