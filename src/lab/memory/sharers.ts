/**
 * The load of a database: one segment of shared memory, and processes that each map all of it at the same place. The
 * first process only makes it; the others are its children, and use it.
 */
import { ENOMEM } from "../../base/errno.ts";
import { addressOf, PAGE_SIZE, pageOf, type Vaddr, type Vpn } from "../../base/units.ts";
import { type Access, LOAD } from "../../hw/access.ts";
import type { Machine } from "../../machine.ts";
import { type FileKind, type FileObject, OpenFile } from "../../mm/file.ts";
import { LEAF } from "../../mm/page-table.ts";
import { populate } from "../../mm/populate.ts";
import type { Thread } from "../../mm/process.ts";
import { MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { needed, neededCall } from "./load.ts";
import { tryTouchPages } from "./static-program.ts";

/** Where every process has the segment: above its program, below its stack; where there is room, at a whole GiB. */
const SEGMENT: Vaddr = 0x2000_0000;
const WIDE_SEGMENT: Vaddr = 0x4000_0000;

/** What the segment is: a file of some kind, one of huge pages of 1 GiB, or the big pages of map_large_page. */
export type SegmentKind = FileKind | "gigantic" | "magic";

function segmentOf(machine: Machine, sizeBytes: number, kind: SegmentKind): FileObject {
  const { files, bigPages } = machine.kernel;
  if (kind === "magic") return files.create({ name: "segment", kind: "shmem", sizeBytes: 0 });
  if (kind !== "hugetlbfs" && kind !== "gigantic") return files.create({ name: "segment", kind, sizeBytes });
  const { pools } = bigPages;
  const pool = kind === "hugetlbfs" ? pools[0] : pools.find(({ pages }) => addressOf(pages) === GIB);
  const kept = pool === undefined ? {} : { pool };
  return files.create({ name: "segment", kind: "hugetlbfs", sizeBytes, ...kept });
}

const GIB = 2 ** 30;

export class Sharers {
  readonly machine: Machine;
  readonly segment: OpenFile;
  readonly pages: number;
  readonly first: Vpn;
  /** Those that use the segment, oldest first. */
  readonly threads: Thread[] = [];
  private readonly parent: Thread;

  private readonly isMagic: boolean;
  private readonly at: Vaddr;

  constructor(machine: Machine, sizeBytes: number, kind: SegmentKind = "shmem") {
    this.machine = machine;
    this.pages = sizeBytes / PAGE_SIZE;
    this.isMagic = kind === "magic";
    this.at = machine.kernel.format.vaddrBits > 32 ? WIDE_SEGMENT : SEGMENT;
    this.first = pageOf(this.at);
    this.segment = new OpenFile(segmentOf(machine, sizeBytes, kind), "read-write");
    this.parent = machine.spawn("postmaster").threads[0]!;
    if (this.isMagic) return;
    const rights = PROT_READ | PROT_WRITE;
    neededCall(machine, this.parent, "mmap", [this.at, sizeBytes, rights, MAP_SHARED | MAP_FIXED, this.segment, 0]);
  }

  /** One more process, which has not touched the segment yet. */
  join(): Thread {
    return this.tryJoin() ?? (needed(-ENOMEM, "one more process") as never);
  }

  /** The same; null if memory is short, or somebody was killed for it. */
  tryJoin(): Thread | null {
    const child = this.machine.fork(this.parent);
    if (typeof child === "number" || this.hasKilled) return null;
    if (this.isMagic) {
      const bytes = addressOf(this.pages);
      if (this.machine.call(child.threads[0]!, "map_large_page", [this.at, bytes, 0]) < bytes) return null;
    }
    this.threads.push(child.threads[0]!);
    return child.threads[0]!;
  }

  /** The process touches pages of the segment: all, or those that are named. */
  touch(thread: Thread, kind: Access = LOAD, from = 0, pages = this.pages): void {
    const { machine, first } = this;
    const isHad = tryTouchPages(machine, thread, first + from, pages, kind) && !this.hasKilled;
    needed(isHad ? 0 : -ENOMEM, "the segment");
  }

  /** The process touches all of the segment, in one call (MAP_POPULATE). */
  fill(thread: Thread): void {
    needed(this.tryFill(thread) ? 0 : -ENOMEM, "the segment");
  }

  /** The same; false if memory is short, or somebody was killed for it. */
  tryFill(thread: Thread): boolean {
    const { machine, first, pages } = this;
    return machine.run(thread, populate(machine.kernel, thread, first, first + pages)) >= 0 && !this.hasKilled;
  }

  /** mlock or munlock of the segment, or of a part of it: 0 or -ERRNO. */
  call(thread: Thread, name: "mlock" | "munlock", from = 0, pages = this.pages): number {
    return this.machine.call(thread, name, [addressOf(this.first + from), addressOf(pages)]);
  }

  /** Page tables by level: of those that use the segment, and of its own tree if it has one; each once, whoever shares it. */
  tablesByLevel(): number[] {
    const { spaces, format, tables, bigPages } = this.machine.kernel;
    const sums = new Array<number>(format.levels + 1).fill(0);
    // Asked after each process: plain loops.
    for (const { tablesByLevel, id } of spaces) {
      if (id === this.parent.mm.id) continue;
      for (let level = LEAF; level <= format.levels; level++) sums[level]! += tablesByLevel[level]!;
    }
    sums[LEAF]! -= tables.shared.inCommon;
    sums[LEAF + 1]! -= bigPages.tablesInCommon;
    return sums;
  }

  private get hasKilled(): boolean {
    return this.machine.kernel.oomVictims.length > 0;
  }
}
