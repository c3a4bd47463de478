/**
 * What a kmap_atomic slot is for: one slot of each type on each CPU. A type serves one level of nesting, so that code
 * which holds one may call code that uses another.
 *
 * @models linux-2.6.11 include/asm-i386/kmap_types.h; linux-2.6.0 for PTE2
 */
export const atomicTypeNames = [
  "BOUNCE_READ",
  "SKB_SUNRPC_DATA",
  "SKB_DATA_SOFTIRQ",
  "USER0",
  "USER1",
  "BIO_SRC_IRQ",
  "BIO_DST_IRQ",
  "PTE0",
  "PTE1",
  "PTE2",
  "IRQ0",
  "IRQ1",
  "SOFTIRQ0",
  "SOFTIRQ1",
] as const;

/** KM_TYPE_NR. */
export const ATOMIC_TYPES = atomicTypeNames.length;

/** An index of `atomicTypeNames`. */
export type AtomicType = number;
export const KM_USER0 = 3; // a page that is zeroed, or copied to
export const KM_USER1 = 4; // the page that is copied from
export const KM_PTE0 = 7; // the page table of an operation
export const KM_PTE1 = 8; // the second table of one that uses two: fork's source, mremap's source
export const KM_PTE2 = 9; // the table that a reverse map looks into
