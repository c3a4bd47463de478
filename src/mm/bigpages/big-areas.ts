/**
 * What all kernels with big pages have in common: pools, and areas whose entries are cleared, copied and moved one by
 * one. An area can be cut only between big pages.
 */
import { EINVAL } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import type { Pfn, Vpn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL } from "../advise.ts";
import type { Kernel } from "../kernel.ts";
import { BUS_ADRERR, type Intent, type Verdict } from "../verdict.ts";
import type { Vma } from "../vma.ts";
import { type Advised, type BigRemap, NoBigPages } from "./big-pages.ts";
import { putHuge } from "./huge-file.ts";
import type { HugePool } from "./huge-pool.ts";
import { copyBig, zapBig } from "./large-entries.ts";
import { ownTables, type TableSharing } from "./table-sharing.ts";

/** Areas that have all their pages from the start, and that nothing changes but unmapping. */
export class BigAreas extends NoBigPages {
  override readonly pools: readonly HugePool[];
  protected readonly sharing: TableSharing;

  constructor(pools: readonly HugePool[], sharing: TableSharing = ownTables) {
    super();
    this.pools = pools;
    this.sharing = sharing;
  }

  override get tablesInCommon(): number {
    return this.sharing.inCommon;
  }

  override get sharesTables(): boolean {
    return this.sharing !== ownTables;
  }

  override treesOf(table: Pfn): number {
    return this.sharing.treesOf(table);
  }

  /** The pool whose pages the area has. */
  poolOf(vma: Vma): HugePool {
    return vma.file?.huge?.pool ?? this.pools[0]!;
  }

  // biome-ignore lint/correctness/useYield: a path that never waits
  override *fault(_kernel: Kernel, _vma: Vma, _page: Vpn, _intent: Intent): Path<Verdict> {
    return BUS_ADRERR;
  }

  override *zap(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<void> {
    const pool = this.poolOf(vma);
    const drop = (head: Pfn) => putHuge(kernel.frames, pool, head);
    yield* zapBig(kernel, vma, { first, end }, { pool, sharing: this.sharing, drop });
  }

  override *copy(kernel: Kernel, child: Vma, parent: Vma): Path<number> {
    return yield* copyBig(kernel, child, parent, this.poolOf(parent));
  }

  override drop({ frames }: Kernel, head: Pfn): void {
    const order = frames.orderOf(head);
    const pool = this.pools.find((each) => each.order === order) ?? bug(`big page ${head} is of no pool`);
    putHuge(frames, pool, head);
  }

  override closed(_kernel: Kernel, _vma: Vma): void {}

  override moved(_kernel: Kernel, _vma: Vma, _first: Vpn, _end: Vpn): void {}

  override refusesCut(_kernel: Kernel, vma: Vma, page: Vpn): number {
    return page % this.poolOf(vma).pages === 0 ? 0 : -EINVAL;
  }

  override refusesProtect(_kernel: Kernel, _vma: Vma): number {
    return -EINVAL;
  }

  override remapped(_kernel: Kernel, _vma: Vma, _remap: BigRemap): BigRemap | number {
    return -EINVAL;
  }

  /** Advice about reading means nothing; the rest is refused. */
  override advised(_kernel: Kernel, _vma: Vma, advice: number, range: Advised): Advised | number {
    return [MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL].includes(advice) ? range : -EINVAL;
  }
}
