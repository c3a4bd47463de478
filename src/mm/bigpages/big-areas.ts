/**
 * What all kernels with big pages have in common: pools, and areas whose entries are cleared, copied and moved one by
 * one. An area can be cut only between big pages.
 */
import { EINVAL } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import type { FileIndex, Pfn, Vpn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL } from "../advise.ts";
import type { Kernel } from "../kernel.ts";
import { NO_TABLE } from "../page-table.ts";
import { BUS_ADRERR, type Intent, type Verdict } from "../verdict.ts";
import type { Vma } from "../vma.ts";
import { type Advised, type BigRemap, NoBigPages } from "./big-pages.ts";
import { putHuge } from "./huge-file.ts";
import type { HugePool } from "./huge-pool.ts";
import { type BigRange, copyBig, zapBig } from "./large-entries.ts";
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
    yield* this.zapWhere(kernel, vma, () => ({ first, end }));
  }

  override *zapFile(kernel: Kernel, vma: Vma, first: FileIndex, end: FileIndex): Path<void> {
    const { mappings } = vma.file!;
    yield* this.zapWhere(kernel, vma, () => {
      if (!mappings.has(vma)) return { first: vma.start, end: vma.start };
      const toPage = vma.start - vma.fileIndex;
      return { first: Math.max(vma.start, first + toPage), end: Math.min(vma.end, end + toPage) };
    });
  }

  /** Takes entries away; which, is asked once the tables are locked. */
  private *zapWhere(kernel: Kernel, vma: Vma, where: () => BigRange): Path<void> {
    const drop = this.dropper(kernel, vma);
    yield* zapBig(kernel, vma, where, { pool: this.poolOf(vma), sharing: this.sharing, drop });
  }

  /** What becomes of a page that an entry of the area has lost. */
  protected dropper({ frames }: Kernel, vma: Vma): (head: Pfn, page: Vpn) => void {
    const pool = this.poolOf(vma);
    return (head) => putHuge(frames, pool, head);
  }

  /** Whether the table for `page` has been made meanwhile, or is somebody else's, and hangs in this tree too from now on. */
  protected *shareTable(kernel: Kernel, vma: Vma, page: Vpn): Path<boolean> {
    const lock = this.sharing.lockOf(vma);
    if (lock === null) return false;
    const { task } = kernel.current;
    if (!lock.tryAcquire(task)) yield* lock.acquire(task);
    const { level } = this.poolOf(vma);
    const isThere = kernel.tables.tableAt(vma.mm, page, level) !== NO_TABLE || this.sharing.share(kernel, vma, page);
    lock.release(task);
    return isThere;
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
