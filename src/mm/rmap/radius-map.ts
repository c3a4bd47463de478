/**
 * Chains of soft pages that hold one entry for all that lie side by side as the page does: the others are found by a look around
 * it, no further than a soft page is wide (its "blast radius"), and never into another page table.
 *
 *     page table   [ . . 4 5 6 7 . . . 6 . . ]      parts of one soft page that entries map
 *                        ^           ^              on its chain: two of five; 4 stands for 5, 6 and 7, too
 *
 * Contiguous mappings take 1/2^k of what chaining each entry takes, scattered and misaligned ones as much. Each change reads the
 * entries around. An entry that goes hands its place on the chain to one that it stood for, so only a move, which may leave
 * some behind, can need a link more.
 *
 * @models wli-2003-07 "scanning within a software page size -sized 'blast radius' for each chain element and only chaining
 *         enough elements to find the relevant ptes that way": never written
 */
import { ENOMEM } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import type { Pfn, PteSlot } from "../../base/units.ts";
import { PTE_PRESENT, PTE_PROT_NONE } from "../../hw/pte.ts";
import type { Vma } from "../vma.ts";
import { ChainedMap } from "./chained-map.ts";
import { NO_SLOT, type Visit } from "./search.ts";

const MAPS = PTE_PRESENT | PTE_PROT_NONE;

export class RadiusMap extends ChainedMap {
  override add(frame: Pfn, slot: PteSlot, _vma: Vma): number {
    const head = this.world.frames.head(frame);
    if (this.neighbour(frame, slot) === NO_SLOT && !this.chains.add(head, slot)) return -ENOMEM;
    this.countAdded(frame);
    return 0;
  }

  override addRun(first: Pfn, end: Pfn, slot: PteSlot, vma: Vma): void {
    this.addEach(first, end, slot, vma);
  }

  override remove(frame: Pfn, slot: PteSlot, _vma: Vma): void {
    this.unchain(frame, slot);
    this.countRemoved(frame);
  }

  override removeRun(first: Pfn, end: Pfn, slot: PteSlot, vma: Vma): void {
    this.removeEach(first, end, slot, vma);
  }

  /** What an entry that moves away from those it stood for needs: a link for each soft page of the move. */
  override reserveMoves(entries: number): number {
    const { memory, blocksPerAdd } = this.chains;
    return memory.reserve((Math.ceil(entries / this.world.frames.softFrames) + 2) * blocksPerAdd);
  }

  override moved(): void {
    this.chains.memory.keep(this.chains.blocksPerAdd);
  }

  override move(frame: Pfn, from: PteSlot, to: PteSlot): void {
    const { chains, world } = this;
    const head = world.frames.head(frame);
    this.costs.moves++;
    const isAlone = this.neighbour(frame, from, to) === NO_SLOT;
    const arrivesAlone = this.neighbour(frame, to) === NO_SLOT;
    if (isAlone && arrivesAlone) {
      if (!chains.replace(head, from, to)) chains.refuse(head, from);
      return;
    }
    this.unchain(frame, from, to);
    if (arrivesAlone && !chains.add(head, to)) bug(`no link was drawn for entry ${to} of frame ${frame}`);
  }

  override forEach(frame: Pfn, visit: Visit): void {
    const chained: PteSlot[] = [];
    this.chains.forEach(frame, (slot) => {
      chained.push(slot);
      return true;
    });
    // What is shown may be removed, and then the chain names others.
    const all = chained.flatMap((slot) => this.beside(frame, slot));
    for (const slot of all) if (!visit(slot)) return;
  }

  /** The entry stands for nobody any more: one that it stood for does so now. */
  private unchain(frame: Pfn, slot: PteSlot, except: PteSlot = NO_SLOT): void {
    const { chains, world } = this;
    const head = world.frames.head(frame);
    const heir = this.neighbour(frame, slot, except);
    if (heir !== NO_SLOT) chains.replace(head, slot, heir);
    else if (!chains.remove(head, slot)) chains.refuse(head, slot);
  }

  /** An entry that lies with that of `slot`, which maps `frame` or did, as the soft page does; or NO_SLOT. */
  private neighbour(frame: Pfn, slot: PteSlot, except: PteSlot = NO_SLOT): PteSlot {
    const { frames } = this.world;
    let found = NO_SLOT;
    this.look(frame - frames.partOf(frame), slot, frames.partOf(frame), (other) => {
      if (other !== slot && other !== except) found = other;
      return found === NO_SLOT;
    });
    return found;
  }

  /** The chained entry at `slot`, and all that it stands for. */
  private beside(head: Pfn, slot: PteSlot): PteSlot[] {
    const { tables, entries, frames } = this.world;
    const table = tables.openReverse(entries.tableOf(slot));
    const index = entries.indexOf(slot);
    const frame = (entries.flags(table, index) & MAPS) === 0 ? NO_SLOT : entries.frame(table, index);
    tables.closeReverse(table);
    // It is on its way in or out, and stands for itself.
    if (frame === NO_SLOT || frames.head(frame) !== head) return [slot];
    const found: PteSlot[] = [];
    this.look(head, slot, frames.partOf(frame), (other) => found.push(other) > 0);
    return found;
  }

  /** Visits the entries of the table of `slot`, which maps part `part`, that map the parts of `head` where they belong around it. */
  private look(head: Pfn, slot: PteSlot, part: number, visit: Visit): void {
    const { tables, entries, frames } = this.world;
    const own = entries.indexOf(slot);
    const base = own - part;
    const end = Math.min(base + frames.softFrames, 1 << entries.format.indexBits);
    const table = tables.openReverse(entries.tableOf(slot));
    let goesOn = true;
    for (let index = Math.max(base, 0); index < end && goesOn; index++) {
      this.costs.entriesRead++;
      const isMapped =
        (entries.flags(table, index) & MAPS) !== 0 && entries.frame(table, index) === head + index - base;
      if (isMapped) goesOn = visit(slot + index - own);
    }
    tables.closeReverse(table);
  }
}
