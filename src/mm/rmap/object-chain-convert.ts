/**
 * Pages of files are searched for, as long as each of their entries is where its area's order puts it. When a page is
 * about to be mapped anywhere else, all its entries go on a chain first, and the page is chained until nobody maps it:
 * a page is all one or all the other. Anonymous pages are always chained.
 *
 *     linear only   count                     -> areas of the file
 *     converted     chain of all its entries  -> linear ones too
 *
 * The conversion marks the page, and then goes through the areas, one page_table_lock at a time, and again if entries may
 * have moved from one to another; whoever maps or unmaps the page meanwhile does so on the chain already. So for a while
 * some entries are on no chain: removing tolerates that, and whoever asks may miss them. All blocks that the known entries
 * can take are drawn before the mark, so it cannot fail half-way. A page that has left its file can no longer be converted.
 *
 * @models linux-2.5.66-mm1 mm/rmap.c page_convert_anon
 * @differs that kernel kept areas from changing by a lock of the file (i_shared_sem); here they are gone through again
 */
import { EINVAL, ENOMEM } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import { SparseInt8 } from "../../base/sparse-array.ts";
import type { Pfn, PteSlot } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { type FileMappings, untilStill } from "../file-mappings.ts";
import { PG_ANON } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { lockTables, tryLockTables, unlockTables } from "../table-lock.ts";
import type { Vma } from "../vma.ts";
import { blocksFor } from "./chains.ts";
import { ObjectChain } from "./object-chain.ts";
import type { ChainsFor, MappedWorld } from "./reverse-map.ts";
import { atMost, type Visit } from "./search.ts";

export class ObjectChainConvert extends ObjectChain {
  /** By frame: 1 if it is a page of a file whose entries are chained. */
  private readonly converted: SparseInt8;

  constructor(world: MappedWorld, chainsFor: ChainsFor) {
    super(world, chainsFor);
    this.converted = new SparseInt8(world.frames.count);
  }

  override wouldChain(frame: Pfn, slot: PteSlot, vma: Vma): boolean {
    return this.usesChain(this.world.frames.head(frame)) || !this.isLinear(frame, slot, vma);
  }

  override add(frame: Pfn, slot: PteSlot, vma: Vma): number {
    if (this.wouldChain(frame, slot, vma)) {
      const head = this.world.frames.head(frame);
      if (!this.usesChain(head) && this.world.frames.mapCount.read(head) > 0)
        bug(`frame ${frame} is mapped out of order, and not converted`);
      if (this.chain(frame, slot) < 0) return -ENOMEM;
      if (!this.usesChain(head)) this.converted.write(head, 1);
    }
    this.countAdded(frame);
    return 0;
  }

  override remove(frame: Pfn, slot: PteSlot, _vma: Vma): void {
    const head = this.world.frames.head(frame);
    if (this.usesChain(head) && !this.chains.remove(head, slot)) this.tolerate(head, slot);
    if (this.countRemoved(head) === 0) this.converted.write(head, 0);
  }

  override move(frame: Pfn, from: PteSlot, to: PteSlot): void {
    const head = this.world.frames.head(frame);
    if (this.usesChain(head) && !this.chains.replace(head, from, to)) this.tolerate(head, from);
    this.costs.moves++;
  }

  override forEach(frame: Pfn, visit: Visit): void {
    const { frames } = this.world;
    if (frames.has(frame, PG_ANON) || this.converted.read(frame) !== 0 || frames.mapping.read(frame) !== 0)
      this.forEachKnown(frame, visit);
    else if (frames.mapCount.read(frame) > 0)
      this.search.everywhere(frame, atMost(this.world, frames.mapCount.read(frame), visit));
  }

  override forEachKnown(frame: Pfn, visit: Visit): void {
    const { frames } = this.world;
    const count = frames.mapCount.read(frame);
    if (this.usesChain(frame)) this.chains.forEach(frame, visit);
    else if (count > 0 && frames.mapping.read(frame) !== 0) this.forEachLinear(frame, atMost(this.world, count, visit));
  }

  override *admitNonlinear(kernel: Kernel, frame: Pfn): Path<number> {
    const { frames, files } = this.world;
    if (this.usesChain(frame) || frames.mapCount.read(frame) === 0) return 0;
    if (frames.mapping.read(frame) === 0) return -EINVAL;
    const stock = yield* this.drawBlocks(kernel, frame);
    if (stock < 0) return stock;
    this.converted.write(frame, 1);
    this.costs.conversions++;
    let left = stock;
    const { mappings } = files.byId(frames.mapping.read(frame));
    const chainAreas = this.chainAreas.bind(this);
    yield* untilStill(mappings, function* () {
      left = yield* chainAreas(kernel, mappings, frame, left);
    });
    for (; left > 0; left--) this.chains.memory.giveBack();
    return 0;
  }

  /** Chains what the areas of the file have of the page and is on no chain yet; what is left of the stock. */
  private *chainAreas(kernel: Kernel, mappings: FileMappings, frame: Pfn, stock: number): Path<number> {
    const index = this.world.frames.index.read(frame);
    let left = stock;
    for (const vma of [...mappings.overlapping(index, index + this.world.frames.softFrames), ...mappings.nonlinear]) {
      if (!tryLockTables(kernel, vma.mm)) yield* lockTables(kernel, vma.mm);
      if (mappings.has(vma)) left = this.chainLinear(vma, frame, left);
      unlockTables(kernel, vma.mm);
    }
    return left;
  }

  private usesChain(frame: Pfn): boolean {
    return this.world.frames.has(frame, PG_ANON) || this.converted.read(frame) !== 0;
  }

  /** An entry is on no chain: right only while its page is being converted. */
  private tolerate(frame: Pfn, slot: PteSlot): void {
    if (this.world.frames.has(frame, PG_ANON)) this.chains.refuse(frame, slot);
  }

  /** Draws blocks for all entries that the page has when it is done; how many, or -ENOMEM with none drawn. */
  private *drawBlocks(kernel: Kernel, frame: Pfn): Path<number> {
    const { chains, world } = this;
    let drawn = 0;
    for (let failures = 0; drawn < blocksFor(world.frames.mapCount.read(frame), chains.width); ) {
      if (chains.memory.draw() === 0) {
        drawn++;
        failures = 0;
      } else if (!(yield* kernel.allocator.waitForMemory(++failures))) {
        for (; drawn > 0; drawn--) chains.memory.giveBack();
        return -ENOMEM;
      }
    }
    return drawn;
  }

  /** Chains the entry of `vma` that the areas' order gives, if it maps the frame; what is left of the stock. */
  private chainLinear(vma: Vma, frame: Pfn, stock: number): number {
    const { chains, search } = this;
    let left = stock;
    search.linear(vma, frame, (slot) => {
      if (chains.has(frame, slot)) return true;
      if (left > 0 && chains.memory.handOver()) left--;
      if (!chains.add(frame, slot)) bug(`no block was drawn for entry ${slot} of frame ${frame}`);
      return true;
    });
    return left;
  }
}
