/**
 * Each forked copy of an area gets an anon_vma of its own, and stays chained to those of its ancestors: pages that the
 * child writes are looked for in the child alone, and pages from before the fork everywhere. It costs one link for
 * each generation and area.
 *
 * @models linux-6.1 mm/rmap.c __anon_vma_prepare, anon_vma_clone, anon_vma_fork, unlink_anon_vmas
 * @models linux-6.1 mm/mmap.c find_mergeable_anon_vma, is_mergeable_anon_vma
 */
import { ENOMEM } from "../base/errno.ts";
import {
  type AnonVma,
  type AnonVmaMemory,
  AnonVmaRegistry,
  type AnonVmas,
  compatible,
  linkAnonVma,
} from "./anon-vma.ts";
import type { Vma } from "./vma.ts";

const isSingular = (vma: Vma): boolean => vma.anonVmaChain.length === 1;

/** The anon_vma of `old`, one of two areas that lie side by side, if the other may use it too. */
function reusable(old: Vma, lower: Vma, upper: Vma): AnonVma | null {
  if (old.anonVma === null || !compatible(lower, upper)) return null;
  return isSingular(old) ? old.anonVma : null;
}

/** A neighbour's anon_vma that `vma` may use, so that the two may merge later. */
function neighbours(vma: Vma): AnonVma | null {
  const { below, above } = vma;
  const fromAbove = above === null ? null : reusable(above, vma, above);
  if (fromAbove !== null) return fromAbove;
  return below === null ? null : reusable(below, below, vma);
}

export class ChainedAnonVmas implements AnonVmas {
  private readonly registry = new AnonVmaRegistry();
  private readonly memory: AnonVmaMemory;

  constructor(memory: AnonVmaMemory) {
    this.memory = memory;
  }

  get count(): number {
    return this.registry.count;
  }

  byId(id: number): AnonVma {
    return this.registry.byId(id);
  }

  prepare(vma: Vma): number {
    if (this.memory.anonVmaChains.allocate() < 0) return -ENOMEM;
    let anonVma = neighbours(vma);
    if (anonVma === null) {
      anonVma = this.create(null);
      if (anonVma === null) {
        this.memory.anonVmaChains.free();
        return -ENOMEM;
      }
      // A root counts itself as a child, so that it is never reused by a grandchild.
      anonVma.children++;
    }
    vma.anonVma = anonVma;
    linkAnonVma(vma, anonVma);
    anonVma.activeVmas++;
    return 0;
  }

  clone(destination: Vma, source: Vma): number {
    for (const { anonVma } of source.anonVmaChain) {
      if (this.memory.anonVmaChains.allocate() < 0) {
        destination.anonVma = null;
        this.unlink(destination);
        return -ENOMEM;
      }
      linkAnonVma(destination, anonVma);
      const orphaned = anonVma.children < 2 && anonVma.activeVmas === 0;
      if (destination.anonVma === null && source.anonVma !== null && orphaned) destination.anonVma = anonVma;
    }
    if (destination.anonVma !== null) destination.anonVma.activeVmas++;
    return 0;
  }

  fork(child: Vma, parent: Vma): number {
    if (parent.anonVma === null) return 0;
    child.anonVma = null;
    if (this.clone(child, parent) < 0) return -ENOMEM;
    if (child.anonVma !== null) return 0;
    const own = this.create(parent.anonVma);
    if (own === null || this.memory.anonVmaChains.allocate() < 0) {
      if (own !== null) this.put(own);
      this.unlink(child);
      return -ENOMEM;
    }
    own.activeVmas++;
    own.parent.children++;
    child.anonVma = own;
    linkAnonVma(child, own);
    return 0;
  }

  unlink(vma: Vma): void {
    const emptied: AnonVma[] = [];
    // Newest first: a parent goes after its children.
    for (let link = vma.anonVmaChain.pop(); link !== undefined; link = vma.anonVmaChain.pop()) {
      const { anonVma } = link;
      anonVma.links.delete(link);
      this.memory.anonVmaChains.free();
      if (anonVma.links.size > 0) continue;
      anonVma.parent.children--;
      emptied.push(anonVma);
    }
    if (vma.anonVma !== null) {
      vma.anonVma.activeVmas--;
      vma.anonVma = null;
    }
    for (const anonVma of emptied) this.put(anonVma);
  }

  mergeable(anonVma: AnonVma | null, _source: Vma | null, vma: Vma): boolean {
    // An area that never had a page is on no list, so its chain is not singular either.
    if ((anonVma === null || vma.anonVma === null) && isSingular(vma)) return true;
    return anonVma === vma.anonVma;
  }

  private create(parent: AnonVma | null): AnonVma | null {
    if (this.memory.anonVmas.allocate() < 0) return null;
    const anonVma = this.registry.add(parent);
    if (parent !== null) anonVma.root.references++;
    return anonVma;
  }

  private put(anonVma: AnonVma): void {
    anonVma.references--;
    if (anonVma.references > 0) return;
    this.registry.remove(anonVma);
    this.memory.anonVmas.free();
    if (anonVma.root !== anonVma) this.put(anonVma.root);
  }
}

/**
 * The same chains, but pages may also join an area that never had one, if they are no copies from a parent: what two
 * areas become no longer depends on which of them was written first.
 *
 * @models linux-6.18 mm/vma.c is_mergeable_anon_vma, vma_had_uncowed_parents
 */
export class MutuallyChainedAnonVmas extends ChainedAnonVmas {
  override mergeable(anonVma: AnonVma | null, source: Vma | null, vma: Vma): boolean {
    if (anonVma === vma.anonVma) return true;
    if (vma.anonVma === null) return source === null || isSingular(source);
    return anonVma === null && isSingular(vma);
  }
}
