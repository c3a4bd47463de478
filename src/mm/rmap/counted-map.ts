/** What the reverse maps share that keep nothing but the count: mapping and unmapping never fail and never search. */
import type { Pfn, PteSlot } from "../../base/units.ts";
import { type MappedWorld, noCosts, type ReverseMap } from "./reverse-map.ts";

export abstract class CountedMap implements ReverseMap {
  readonly costs = noCosts();
  readonly bytes = 0;
  protected readonly world: MappedWorld;

  constructor(world: MappedWorld) {
    this.world = world;
  }

  reserve(): number {
    return 0;
  }

  add(frame: Pfn): number {
    this.costs.adds++;
    this.world.frames.mapCount.add(frame, 1);
    return 0;
  }

  remove(frame: Pfn): void {
    this.costs.removes++;
    this.world.frames.mapCount.add(frame, -1);
  }

  move(): void {
    this.costs.moves++;
  }

  abstract forEach(frame: Pfn, visit: (slot: PteSlot) => boolean): void;
}
