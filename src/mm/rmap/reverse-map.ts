/**
 * Which page-table entries map this frame?
 *
 * Every strategy gives the same answer; they differ in who pays. Chaining entries charges each fault and each fork,
 * searching areas charges each reclaim, and keeping nothing charges whoever asks with a scan of all page tables.
 *
 * All strategies keep `frames.mapCount`, the number of entries that map a frame. Frames that are never mapped by an
 * owner (the zero page, reserved frames) are not told to the reverse map.
 */
import type { Pfn, PteSlot } from "../../base/units.ts";
import type { Entries } from "../../hw/pte.ts";
import type { AddressSpace } from "../address-space.ts";
import type { AnonVmas } from "../anon-vma.ts";
import type { Files } from "../file.ts";
import type { Frames } from "../frames.ts";
import type { PageTables } from "../page-table.ts";
import type { Vma } from "../vma.ts";

export interface ReverseMap {
  /** What answering and keeping has cost so far. */
  readonly costs: ReverseMapCosts;
  /** Memory that the kept data takes now. */
  readonly bytes: number;

  /**
   * Draws the memory that the next `add` may need, so that it cannot fail: for callers that will hold a spinlock. 0, or
   * -ENOMEM. What is not used stays in hand.
   */
  reserve(): number;
  /** The entry at `slot`, inside `vma`, will map `frame`. 0, or -ENOMEM with nothing changed. */
  add(frame: Pfn, slot: PteSlot, vma: Vma): number;
  /** That entry maps `frame` no longer. It must have been added. */
  remove(frame: Pfn, slot: PteSlot, vma: Vma): void;
  /** The entry at `from` that mapped `frame` has moved to `to`. Never fails. */
  move(frame: Pfn, from: PteSlot, to: PteSlot): void;
  /**
   * Visits each entry that maps `frame` until `visit` returns false. A strategy that searches needs `frames.mapping`
   * and `frames.index`, and finds what is in the page tables; the visitor may clear or remove the entry it is shown.
   */
  forEach(frame: Pfn, visit: (slot: PteSlot) => boolean): void;
}

/** A reverse map that chains entries: all of them, or those that cannot be found otherwise. */
export interface ChainingMap extends ReverseMap {
  /** Whether `add` would chain the entry at `slot`, inside `vma`; it finds the others by searching. */
  wouldChain(frame: Pfn, slot: PteSlot, vma: Vma): boolean;
  /** Whether the entry is on the frame's chain now: costs a walk of it. */
  isChained(frame: Pfn, slot: PteSlot): boolean;
}

export interface ReverseMapCosts {
  adds: number;
  removes: number;
  moves: number;
  /** Chain links followed, by `remove`, `move` and `forEach`. */
  linksFollowed: number;
  /** Areas looked at by `forEach`. */
  areasVisited: number;
  /** Page-table entries read by `forEach` to see whether they map the frame. */
  entriesRead: number;
}

export const noCosts = (): ReverseMapCosts => ({
  adds: 0,
  removes: 0,
  moves: 0,
  linksFollowed: 0,
  areasVisited: 0,
  entriesRead: 0,
});

/** What a strategy may look at. */
export interface MappedWorld {
  readonly frames: Frames;
  readonly entries: Entries;
  readonly tables: PageTables;
  readonly files: Files;
  readonly anonVmas: AnonVmas;
  readonly spaces: ReadonlySet<AddressSpace>;
}
