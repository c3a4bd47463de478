/**
 * Nothing is kept but the count. Mapping and unmapping cost nothing, and who wants to know which entries map a frame
 * reads every entry of every address space until the count is reached: why the swapper of 2.4 worked through address
 * spaces and took whichever pages it met, instead of asking about one page.
 *
 * @models linux-2.4.22 mm/vmscan.c swap_out
 */
import type { Pfn, PteSlot } from "../../base/units.ts";
import type { Vma } from "../vma.ts";
import { CountedMap } from "./counted-map.ts";
import { atMost, Search, type Visit } from "./search.ts";

export class NoReverseMap extends CountedMap {
  private readonly search = new Search(this.world, this.costs);

  override get searchesFiles(): boolean {
    return true;
  }

  override addRun(first: Pfn, end: Pfn, _slot: PteSlot, _vma: Vma): void {
    this.countAllAdded(first, end);
  }

  override removeRun(first: Pfn, end: Pfn, _slot: PteSlot, _vma: Vma): void {
    this.countAllRemoved(first, end);
  }

  override forEach(frame: Pfn, visit: Visit): void {
    const count = this.world.frames.mapCount.read(frame);
    if (count > 0) this.search.everywhere(frame, atMost(this.world, count, visit));
  }
}
