/**
 * Looking into a process's memory from outside (/proc/PID/mem, ptrace): the page is made present in *its* tables, and
 * the fault is charged to the one who looks.
 *
 * @models linux-6.1 mm/memory.c __access_remote_vm
 */
import { EAGAIN, EFAULT, EIO, ENOMEM } from "../base/errno.ts";
import { addressOf, type Pfn, pageOf, type Vaddr, type Vpn } from "../base/units.ts";
import { type OpenTable, PTE_PRESENT, PTE_PROT_NONE } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import { PG_HEAD, PG_PART } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { namesPage } from "./pfnmap/pfn-mappings.ts";
import { type Touch, touchPages } from "./populate.ts";
import type { Process, Thread } from "./process.ts";
import { lockTables, tryLockTables, unlockTables } from "./table-lock.ts";
import { isHugeZero } from "./thp/huge-entries.ts";
import type { Vma } from "./vma.ts";

const FOR_READING: Touch = { intent: "read", rights: "forced" };

/** The page is somewhere else by now: it must be touched again. */
const GONE = -EAGAIN;

/** The byte at `address` of `target`, whatever its area allows; -EIO where nothing can be had. */
export function* readRemote(kernel: Kernel, reader: Thread, target: Process, address: Vaddr): Path<number> {
  const { mm } = target;
  const page = pageOf(address);
  if (!mm.mmapSem.tryRead(reader)) yield* mm.mmapSem.read(reader);
  const vma = mm.vmas.containing(page);
  let result = -EIO;
  if (vma !== null) {
    do {
      const touched = yield* touchPages(kernel, reader.process, vma, page, page + 1, FOR_READING);
      if (touched === 0) result = yield* byteAt(kernel, vma, address);
      else result = touched === -ENOMEM ? -ENOMEM : -EIO;
    } while (result === GONE);
  }
  mm.mmapSem.releaseRead(reader);
  return result;
}

/** A page that nobody has touched, and that the kernel spared, reads as zero; GONE if it left memory since it was touched. */
function* byteAt(kernel: Kernel, vma: Vma, address: Vaddr): Path<number> {
  const { contents, allocator, frames } = kernel;
  const page = pageOf(address);
  const { mm } = vma;
  if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
  const frame = referencedFrame(kernel, vma, page);
  unlockTables(kernel, mm);
  if (frame === GONE) return GONE;
  if (frame === -EFAULT) return -EIO;
  if (frame === kernel.zeroFrame) return 0;
  const wait = contents.hold(frame);
  if (wait !== undefined) yield* wait;
  const byte = contents.readByte(frame, address - addressOf(page));
  contents.release(frame);
  const head = frames.headOf(frame);
  if ((frames.flags.read(head) & (PG_HEAD | PG_PART)) === PG_HEAD) kernel.bigPages.drop(kernel, head);
  else allocator.release(frames.head(frame));
  return byte;
}

/**
 * The frame that `page` maps, with a reference of the caller's (get_user_pages); the zero frame if none, GONE if it is in swap
 * or in its file, -EFAULT if it has no struct page that could be referenced. Requires: page_table_lock is held.
 */
export function referencedFrame(kernel: Kernel, vma: Vma, page: Vpn): Pfn {
  const { tables, entries, frames, zeroFrame } = kernel;
  const { mm } = vma;
  const large = tables.largeAt(mm, page);
  if (large !== null) {
    const head = entries.frame(large.table as OpenTable, large.index);
    if (isHugeZero(kernel, head)) return zeroFrame;
    const frame = head + (page % 2 ** frames.orderOf(head));
    frames.addReference(frames.has(head, PG_PART) ? frame : head);
    return frame;
  }
  const table = tables.openLeaf(mm, page);
  if (table === NO_TABLE) return zeroFrame;
  const index = tables.indexAt(page, LEAF);
  const flags = entries.flags(table, index);
  let frame = flags === 0 ? zeroFrame : GONE;
  if ((flags & (PTE_PRESENT | PTE_PROT_NONE)) !== 0) {
    frame = namesPage(kernel, vma, page, table, index) ? entries.frame(table, index) : -EFAULT;
  }
  tables.close(table);
  if (frame !== zeroFrame && frame >= 0) frames.addReference(frames.head(frame));
  return frame;
}
