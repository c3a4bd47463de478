/**
 * The units that numbers carry, as flavoured types: arithmetic and typed-array reads need no cast, but a virtual page
 * number does not flow into a physical frame number.
 *
 * Virtual page numbers reach 2^45 (five-level paging), so they are exact doubles: divide and multiply them, never shift.
 */
export type Unit<N extends string> = number & { readonly unit?: N };

/** A virtual address, in bytes. */
export type Vaddr = Unit<"Vaddr">;
/** A virtual page number: `Vaddr / 4096`. */
export type Vpn = Unit<"Vpn">;
/** A physical frame number, below 2^31. */
export type Pfn = Unit<"Pfn">;
/** Consecutive frames, `end` not among them. */
export interface FrameRun {
  readonly first: Pfn;
  readonly end: Pfn;
}
/** The place of a page-table entry: `tableFrame * entriesPerTable + index`; an exact double. */
export type PteSlot = Unit<"PteSlot">;
/** A page's index in a file (Linux's pgoff). */
export type FileIndex = Unit<"FileIndex">;
/** A slot of a swap area. */
export type SwapSlot = Unit<"SwapSlot">;
/** Estimated CPU cycles. */
export type Cycles = Unit<"Cycles">;

export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 1 << PAGE_SHIFT;

/** The page that holds `address`. */
export const pageOf = (address: Vaddr): Vpn => Math.floor(address / PAGE_SIZE);
/** The first byte of `page`. */
export const addressOf = (page: Vpn): Vaddr => page * PAGE_SIZE;
/** How many pages hold `lengthBytes` bytes that start on a page boundary. */
export const pagesFor = (lengthBytes: number): number => Math.ceil(lengthBytes / PAGE_SIZE);
export const isPageAligned = (bytes: number): boolean => bytes % PAGE_SIZE === 0;
