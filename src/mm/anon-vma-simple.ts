/**
 * A whole family of forked processes shares one anon_vma for each area: nothing is allocated at a fork, and every
 * search for a page looks into every relative, however little they still share.
 *
 * @models linux-2.6.11 mm/rmap.c anon_vma_prepare, anon_vma_link, anon_vma_unlink
 * @models linux-2.6.11 mm/mmap.c find_mergeable_anon_vma, is_mergeable_vma
 * @differs a link is an object here and costs no slab; in 2.6.11 it is a list head inside the vma
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

function neighbours(vma: Vma): AnonVma | null {
  const { below, above } = vma;
  if (above !== null && above.anonVma !== null && compatible(vma, above)) return above.anonVma;
  if (below !== null && below.anonVma !== null && compatible(below, vma)) return below.anonVma;
  return null;
}

export class SimpleAnonVmas implements AnonVmas {
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
    let anonVma = neighbours(vma);
    if (anonVma === null) {
      if (this.memory.anonVmas.allocate() < 0) return -ENOMEM;
      anonVma = this.registry.add(null);
    }
    vma.anonVma = anonVma;
    linkAnonVma(vma, anonVma);
    anonVma.activeVmas++;
    return 0;
  }

  clone(destination: Vma, source: Vma): number {
    if (source.anonVma === null) return 0;
    destination.anonVma = source.anonVma;
    linkAnonVma(destination, source.anonVma);
    source.anonVma.activeVmas++;
    return 0;
  }

  fork(child: Vma, parent: Vma): number {
    return this.clone(child, parent);
  }

  unlink(vma: Vma): void {
    const link = vma.anonVmaChain.pop();
    vma.anonVma = null;
    if (link === undefined) return;
    const { anonVma } = link;
    anonVma.links.delete(link);
    anonVma.activeVmas--;
    if (anonVma.links.size > 0) return;
    this.registry.remove(anonVma);
    this.memory.anonVmas.free();
  }

  mergeable(anonVma: AnonVma | null, _source: Vma | null, vma: Vma): boolean {
    return anonVma === null || vma.anonVma === null || anonVma === vma.anonVma;
  }
}
