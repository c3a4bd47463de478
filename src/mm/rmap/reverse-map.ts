/**
 * Which page-table entries map this frame?
 *
 * Every strategy gives the same answer; they differ in who pays. Chaining entries charges each fault and each fork,
 * searching areas charges each reclaim, and keeping nothing charges whoever asks with a scan of all page tables.
 *
 * All strategies keep `frames.mapCount`, the number of entries that map a frame. Frames that are never mapped by an
 * owner (the zero page, reserved frames) are not told to the reverse map. Whose entry it is and which page it maps
 * follows from its slot (`PageTables.mmOf`, `pageOf`), so an entry's table hangs in its tree when it is told of.
 *
 * Entries are told of with the very frame that they map. Who asks asks for a page: its head (`Frames.head`), and is shown
 * the entries of all its parts.
 */
import type { Runs } from "../../base/owed-sums.ts";
import type { Pfn, PteSlot } from "../../base/units.ts";
import type { Entries } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import type { AddressSpace } from "../address-space.ts";
import type { AnonVmas } from "../anon-vma.ts";
import type { Files } from "../file.ts";
import type { Frames } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import type { PageTables } from "../page-table.ts";
import type { Vma } from "../vma.ts";
import type { Chains } from "./chains.ts";

export interface ReverseMap {
  /** What answering and keeping has cost so far. */
  readonly costs: ReverseMapCosts;
  /** Memory that the kept data takes now. */
  readonly bytes: number;

  /**
   * Draws the memory that the next `add` on this CPU may need, so that it cannot fail: for callers that will hold a
   * spinlock. 0, or -ENOMEM. What is not used stays in hand.
   */
  reserve(): number;
  /** The entry at `slot`, inside `vma`, will map `frame`. 0, or -ENOMEM with nothing changed. */
  add(frame: Pfn, slot: PteSlot, vma: Vma): number;
  /**
   * The entries from `slot` on, inside `vma`, will map the frames `[first, end)`, one each: the same as `add` for each.
   * Requires: there is memory for it.
   */
  addRun(first: Pfn, end: Pfn, slot: PteSlot, vma: Vma): void;
  /**
   * Whether pages of a file that are mapped in its order are found by searching its areas, or not at all: then mapping one
   * takes no memory, and nobody need know where its entry is.
   */
  readonly searchesFiles: boolean;
  /** One entry more maps each frame of `pages`, which are pages of a file in its order. Requires: `searchesFiles`. */
  addSearched(pages: Runs): void;
  /** That entry maps `frame` no longer. It must have been added. */
  remove(frame: Pfn, slot: PteSlot, vma: Vma): void;
  /** The same as `remove` for the entries from `slot` on, one for each of the frames `[first, end)`. */
  removeRun(first: Pfn, end: Pfn, slot: PteSlot, vma: Vma): void;
  /**
   * Draws the memory that moving so many entries, one after the other, may need: before page_table_lock is taken. 0, or
   * -ENOMEM. `moved` gives back what was not used.
   */
  reserveMoves(entries: number): number;
  moved(): void;
  /** The entry at `from` that mapped `frame` has moved to `to`. Never fails: there is memory for it. */
  move(frame: Pfn, from: PteSlot, to: PteSlot): void;
  /**
   * Visits each entry that maps `frame` until `visit` returns false: all there are, whatever they cost to find. A
   * strategy that searches needs `frames.mapping` and `frames.index`, and finds what is in the page tables; the visitor
   * may clear or remove the entry it is shown.
   */
  forEach(frame: Pfn, visit: (slot: PteSlot) => boolean): void;
  /**
   * The same as reclaim does it: without a search through whole nonlinear areas, and without one for a page that has
   * left its file while it was mapped. Strategies that keep every entry miss nothing.
   */
  forEachKnown(frame: Pfn, visit: (slot: PteSlot) => boolean): void;
  /**
   * A list that has come down to one entry is kept directly again. Removing does not do so: a process that forks and
   * forks would make a list and drop it each time. It is reclaim's, when it asks whether a page was used.
   */
  collapse(frame: Pfn): void;

  /**
   * `frame`, a page of a file, is about to be mapped where its index does not put it. 0, -ENOMEM with nothing changed,
   * or -EINVAL if the page has left its file. May sleep. Requires: the page is locked, and stays so until it is mapped;
   * no page_table_lock is held.
   */
  admitNonlinear(kernel: Kernel, frame: Pfn): Path<number>;
  /** An address space is made: by fork of `parent`, or (null) by exec. 0, or -ENOMEM. */
  spaceBorn(mm: AddressSpace, parent: AddressSpace | null): number;
  /** An address space is gone; it maps nothing any more. */
  spaceDied(mm: AddressSpace): void;
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
  /** Chain links looked at, or address spaces of a family. */
  linksFollowed: number;
  /** Searches through the areas of a file: with a list instead of a tree, each would look at all of them. */
  fileSearches: number;
  /** Areas looked at by `forEach`. */
  areasVisited: number;
  /** Page-table entries read by `forEach` to see whether they map the frame. */
  entriesRead: number;
  /** Pages whose entries were all put on a chain, because one of them could not be found otherwise. */
  conversions: number;
  /** Windows made on blocks of chains that lie in highmem. */
  blockWindows: number;
}

/** Makes a reverse map's chains, which charge their walks to it. */
export type ChainsFor = (costs: ReverseMapCosts) => Chains;

export const noCosts = (): ReverseMapCosts => ({
  adds: 0,
  removes: 0,
  moves: 0,
  linksFollowed: 0,
  fileSearches: 0,
  areasVisited: 0,
  entriesRead: 0,
  conversions: 0,
  blockWindows: 0,
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
