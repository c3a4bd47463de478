/**
 * Looking into a process's memory from outside (/proc/PID/mem, ptrace): the page is made present in *its* tables, and
 * the fault is charged to the one who looks.
 *
 * @models linux-6.1 mm/memory.c __access_remote_vm
 */
import { EIO, ENOMEM } from "../base/errno.ts";
import { addressOf, pageOf, type Vaddr } from "../base/units.ts";
import { PTE_PRESENT, PTE_PROT_NONE } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import type { Kernel } from "./kernel.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { touchPages } from "./populate.ts";
import type { Process, Thread } from "./process.ts";

/** The byte at `address` of `target`, whatever its area allows; -EIO where nothing can be had. */
export function* readRemote(kernel: Kernel, reader: Thread, target: Process, address: Vaddr): Path<number> {
  const { mm } = target;
  const page = pageOf(address);
  if (!mm.mmapSem.tryRead(reader)) yield* mm.mmapSem.read(reader);
  const vma = mm.vmas.containing(page);
  let result = -EIO;
  if (vma !== null) {
    const touched = yield* touchPages(kernel, reader.process, vma, page, page + 1, {
      intent: "read",
      rights: "forced",
    });
    if (touched === 0) result = yield* byteAt(kernel, target, address);
    else if (touched === -ENOMEM) result = -ENOMEM;
  }
  mm.mmapSem.releaseRead(reader);
  return result;
}

/** A page that is not there after a successful touch is one that the kernel spared: it reads as zero. */
function* byteAt(kernel: Kernel, target: Process, address: Vaddr): Path<number> {
  const { tables, entries, memory, contents, frames, allocator } = kernel;
  const page = pageOf(address);
  const table = tables.openLeaf(target.mm, page);
  if (table === NO_TABLE) return 0;
  const index = tables.indexAt(page, LEAF);
  const isThere = (entries.flags(table, index) & (PTE_PRESENT | PTE_PROT_NONE)) !== 0;
  const frame = isThere ? entries.frame(table, index) : kernel.zeroFrame;
  tables.close(table);
  if (frame === kernel.zeroFrame) return 0;
  frames.addReference(frame);
  const wait = contents.hold(frame);
  if (wait !== undefined) yield* wait;
  const byte = memory.readByte(frame, address - addressOf(page));
  contents.release(frame);
  allocator.release(frame);
  return byte;
}
