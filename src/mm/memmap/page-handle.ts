/**
 * What kernel code has in its hands when it says "page". A pointer is enough while every struct page has an address. When
 * they lie in highmem it is a word that looks like one: a cookie, which is right as a name and wrong as an address, or the
 * frame's number, which nobody takes for an address.
 *
 *     handed out by     the allocator, page-table entries, lists of pages, page caches
 *     dereferenced by   whoever reads or writes a field of the struct page
 *
 * Contract: `frameOf(of(frame)) === frame`. What is done with a handle that was found in another struct page - the next one
 * on a list - is where the options differ: code that knows it has a number looks the window up; code that thinks it has a
 * pointer follows it, and finds what happens to be there.
 */
import type { Pfn } from "../../base/units.ts";
import type { MemMap } from "./mem-map.ts";

/** What code does that goes from one struct page to the next: asks for its window, or follows a pointer. */
export type LinkUse = "looked-up" | "followed";

export interface PageHandle {
  /** The handle of the frame's struct page; null: it has none. */
  of(frame: Pfn): number | null;
  /** The frame whose handle it is. */
  frameOf(handle: number): Pfn;
  readonly links: LinkUse;
}

const pointers = (map: MemMap): PageHandle => ({
  of: (frame) => map.pageOf(frame),
  frameOf: (handle) => map.pfnOf(handle),
  links: "followed",
});

/** As if the struct pages began where the kernel does: lowmem, page tables, modules are really there. */
const cookies = ({ structBytes, softPageShift }: MemMap, kernelStart: number): PageHandle => ({
  of: (frame) => kernelStart + Math.floor(frame / 2 ** softPageShift) * structBytes,
  frameOf: (handle) => ((handle - kernelStart) / structBytes) * 2 ** softPageShift,
  links: "followed",
});

const numbers = (): PageHandle => ({ of: (frame) => frame, frameOf: (handle) => handle, links: "looked-up" });

export const pageHandles = {
  pointer: pointers,
  cookie: cookies,
  pfn: numbers,
} as const satisfies Readonly<Record<string, (map: MemMap, kernelStart: number) => PageHandle>>;

export type PageHandleName = keyof typeof pageHandles;
