/**
 * An anon_vma is the list of the areas in which one family of anonymous pages may be mapped: a page names its anon_vma,
 * and through it every address space that may map it is found. Two rules for who shares one exist: a list that a whole
 * family of forked processes shares (`simple`), or a list of its own for each child, chained to its ancestors'
 * (`chained`). Which areas merge depends on them, whatever reverse map is chosen.
 */
import { bug } from "../base/errors.ts";
import type { FileIndex } from "../base/units.ts";
import type { Kernel } from "./kernel.ts";
import type { Slabs } from "./slab.ts";
import { VM_ACCESS, type Vma } from "./vma.ts";

export class AnonVma {
  /** What a frame's `mapping` holds; never 0. */
  readonly id: number;
  /** The oldest ancestor; itself for a first generation. */
  readonly root: AnonVma;
  readonly parent: AnonVma;
  /** The links of every area that may map its pages. */
  readonly links = new Set<AnonVmaChain>();
  /** How many anon_vmas have this one as parent; a root counts itself. */
  children = 0;
  /** How many areas have it as *their* anon_vma, rather than only in their chain. */
  activeVmas = 0;
  /** One for itself, and at a root one for each descendant. */
  references = 1;

  constructor(id: number, parent: AnonVma | null) {
    this.id = id;
    this.parent = parent ?? this;
    this.root = parent === null ? this : parent.root;
  }

  /** Visits each area that may map one of the pages with the anonymous indices `[first, end)`, until `visit` returns false. */
  forEachVma(first: FileIndex, end: FileIndex, visit: (vma: Vma) => boolean): void {
    for (const { vma } of this.links) {
      if (end <= vma.fileIndex || first >= vma.fileIndex + vma.pages) continue;
      if (!visit(vma)) return;
    }
  }
}

/** One area on one anon_vma's list. */
export class AnonVmaChain {
  readonly vma: Vma;
  readonly anonVma: AnonVma;

  constructor(vma: Vma, anonVma: AnonVma) {
    this.vma = vma;
    this.anonVma = anonVma;
  }
}

/** The memory of anon_vmas and of their links. */
export type AnonVmaMemory = Pick<Slabs, "anonVmas" | "anonVmaChains">;

/** Who shares an anon_vma with whom. Results are 0 or -ENOMEM with nothing changed. */
export interface AnonVmas {
  /** How many there are. */
  readonly count: number;
  /** The anon_vma that a frame's `mapping` names. */
  byId(id: number): AnonVma;
  /** Gives `vma` an anon_vma before its first anonymous page: a neighbour's, if the two might merge one day. */
  prepare(vma: Vma): number;
  /** `destination`, a part of `source` or its new place, is found wherever `source` is. Its `anonVma` is already set. */
  clone(destination: Vma, source: Vma): number;
  /** `child`, a copy of `parent` in a new address space, is found wherever `parent` is. */
  fork(child: Vma, parent: Vma): number;
  /** `vma` maps nothing any more. */
  unlink(vma: Vma): void;
  /** Whether `vma` may be extended over pages with that anon_vma, which are in `source` now (null: there are none). */
  mergeable(anonVma: AnonVma | null, source: Vma | null, vma: Vma): boolean;
}

/** @models linux-6.1 include/linux/rmap.h anon_vma_prepare */
export function anonVmaPrepare(kernel: Kernel, vma: Vma): number {
  return vma.anonVma !== null ? 0 : kernel.anonVmas.prepare(vma);
}

/** @models linux-6.1 mm/rmap.c anon_vma_fork */
export function anonVmaFork(kernel: Kernel, child: Vma, parent: Vma): number {
  return kernel.anonVmas.fork(child, parent);
}

/** The anon_vmas that exist, by id. */
export class AnonVmaRegistry {
  private readonly live = new Map<number, AnonVma>();
  private lastId = 0;

  get count(): number {
    return this.live.size;
  }

  byId(id: number): AnonVma {
    return this.live.get(id) ?? bug(`no anon_vma ${id}`);
  }

  add(parent: AnonVma | null): AnonVma {
    const anonVma = new AnonVma(++this.lastId, parent);
    this.live.set(anonVma.id, anonVma);
    return anonVma;
  }

  remove(anonVma: AnonVma): void {
    if (!this.live.delete(anonVma.id)) bug(`anon_vma ${anonVma.id} is freed twice`);
  }
}

/** Puts `vma` on the list of `anonVma`. */
export function linkAnonVma(vma: Vma, anonVma: AnonVma): void {
  const link = new AnonVmaChain(vma, anonVma);
  vma.anonVmaChain.push(link);
  anonVma.links.add(link);
}

/** Whether two areas, one right above the other, differ in nothing but what mprotect may change. */
export const compatible = (lower: Vma, upper: Vma): boolean =>
  lower.end === upper.start &&
  lower.file === upper.file &&
  lower.opened === upper.opened &&
  ((lower.flags ^ upper.flags) & ~VM_ACCESS) === 0 &&
  upper.fileIndex === lower.fileIndex + lower.pages;
