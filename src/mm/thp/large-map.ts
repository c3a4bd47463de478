/**
 * Which large entries map a transparent huge page: what a reverse map must answer beside the entries of leaf tables, so
 * that such a page can be split, or asked whether it is used. Only reverse maps that search for entries can: a chain names
 * an entry of a leaf table.
 */
import type { Pfn, Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";

/** Shown the address space of a large entry, and the first page that it maps; false: it has seen enough. */
export type LargeVisit = (mm: AddressSpace, page: Vpn) => boolean;

export interface LargeMap {
  /** A large entry for the pages from `page` on maps the frames `[head, end)`: each is mapped once more. */
  addLarge(head: Pfn, end: Pfn, mm: AddressSpace, page: Vpn): void;
  /** A large entry maps them no longer. */
  removeLarge(head: Pfn, end: Pfn): void;
  /** The large entry of `mm` that maps them is for the pages from `page` on now. */
  moveLarge(head: Pfn, end: Pfn, page: Vpn): void;
  /** Visits every large entry that maps the page; the visitor may take away the entry it is shown. */
  forEachLarge(head: Pfn, visit: LargeVisit): void;
}
