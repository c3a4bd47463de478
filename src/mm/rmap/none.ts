/**
 * Nothing is kept but the count. Mapping and unmapping cost nothing, and who wants to know which entries map a frame
 * reads every entry of every address space until the count is reached: why the swapper of 2.4 worked through address
 * spaces and took whichever pages it met, instead of asking about one page.
 *
 * @models linux-2.4.22 mm/vmscan.c swap_out
 */
import type { Pfn, PteSlot } from "../../base/units.ts";
import { CountedMap } from "./counted-map.ts";
import { scanRange } from "./search.ts";

export class NoReverseMap extends CountedMap {
  override forEach(frame: Pfn, visit: (slot: PteSlot) => boolean): void {
    const { world, costs } = this;
    let left = world.frames.mapCount.read(frame);
    const counted = (slot: PteSlot): boolean => {
      left--;
      return visit(slot) && left > 0;
    };
    if (left === 0) return;
    for (const mm of world.spaces) {
      for (const vma of mm.vmas) {
        costs.areasVisited++;
        if (!scanRange(world, costs, mm, { first: vma.start, end: vma.end }, frame, counted)) return;
      }
    }
  }
}
