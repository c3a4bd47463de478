/**
 * What all reverse maps share: the count of each frame's entries, and answers for those that keep nothing else. For
 * them mapping and unmapping never fail and never search.
 */
import { bug } from "../../base/errors.ts";
import type { Runs } from "../../base/owed-sums.ts";
import type { Pfn, PteSlot } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import type { Vma } from "../vma.ts";
import { type MappedWorld, noCosts, type ReverseMap } from "./reverse-map.ts";

export abstract class CountedMap implements ReverseMap {
  readonly costs = noCosts();
  protected readonly world: MappedWorld;

  constructor(world: MappedWorld) {
    this.world = world;
  }

  get bytes(): number {
    return 0;
  }

  reserve(): number {
    return 0;
  }

  add(frame: Pfn, _slot: PteSlot, _vma: Vma): number {
    this.countAdded(frame);
    return 0;
  }

  addRun(first: Pfn, end: Pfn, slot: PteSlot, vma: Vma): void {
    this.addEach(first, end, slot, vma);
  }

  protected addEach(first: Pfn, end: Pfn, slot: PteSlot, vma: Vma): void {
    for (let frame = first; frame < end; frame++) {
      if (this.add(frame, slot + frame - first, vma) < 0) bug(`no memory for an entry of frame ${frame}`);
    }
  }

  get searchesFiles(): boolean {
    return false;
  }

  addSearched(pages: Runs): void {
    if (!this.searchesFiles) bug("entries that are kept are added without their places");
    this.costs.adds += pages.length;
    this.world.frames.addMappingsOf(pages);
  }

  remove(frame: Pfn, _slot: PteSlot, _vma: Vma): void {
    this.countRemoved(frame);
  }

  removeRun(first: Pfn, end: Pfn, slot: PteSlot, vma: Vma): void {
    this.removeEach(first, end, slot, vma);
  }

  protected removeEach(first: Pfn, end: Pfn, slot: PteSlot, vma: Vma): void {
    for (let frame = first; frame < end; frame++) this.remove(frame, slot + frame - first, vma);
  }

  reserveMoves(_entries: number): number {
    return 0;
  }

  moved(): void {}

  move(_frame: Pfn, _from: PteSlot, _to: PteSlot): void {
    this.costs.moves++;
  }

  abstract forEach(frame: Pfn, visit: (slot: PteSlot) => boolean): void;

  forEachKnown(frame: Pfn, visit: (slot: PteSlot) => boolean): void {
    this.forEach(frame, visit);
  }

  collapse(_frame: Pfn): void {}

  // biome-ignore lint/correctness/useYield: nothing to wait for
  *admitNonlinear(_kernel: Kernel, _frame: Pfn): Path<number> {
    return 0;
  }

  spaceBorn(_mm: AddressSpace, _parent: AddressSpace | null): number {
    return 0;
  }

  spaceDied(_mm: AddressSpace): void {}

  protected countAllAdded(first: Pfn, end: Pfn): void {
    this.costs.adds += end - first;
    this.world.frames.addMappings(first, end);
  }

  protected countAllRemoved(first: Pfn, end: Pfn): void {
    this.costs.removes += end - first;
    this.world.frames.dropMappings(first, end);
  }

  protected countAdded(frame: Pfn): void {
    this.costs.adds++;
    const { frames } = this.world;
    frames.addMapping(frames.head(frame));
  }

  /** Returns how many entries are left. */
  protected countRemoved(frame: Pfn): number {
    this.costs.removes++;
    const { frames } = this.world;
    return frames.dropMapping(frames.head(frame));
  }
}
