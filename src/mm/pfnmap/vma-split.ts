/**
 * The area says what its entries name: in one that is VM_RAW all are raw, and each copy gets an ordinary area of its own. One
 * isolated write makes three areas of one, k of them 2k + 1, up to the limit of areas; writes to neighbouring pages
 * share one.
 *
 * Splitting needs mmap_sem for writing, and a fault holds it for reading. Here it gives the semaphore up, takes it
 * for writing, and looks at everything again; waiting for it with the other hand on it, as two faults would, is a deadlock.
 *
 *     before   RRRRRRRRR          write     RRRCRRRRR   three areas         again   RRRCCRRRR   three still
 *
 * Cost: an area, 64 to 192 bytes of memory that is always mapped, and two more splits for each isolated copy; a fault that
 * waits for all others of the process.
 *
 * @models MAIL-NOPFN ("split the vma into 3 vmas"; "one vma for every page in the limit")
 * @differs past the limit of areas the write ends in SIGBUS
 */
import type { Vpn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { Kernel } from "../kernel.ts";
import { waitToMap } from "../mapped-frame.ts";
import type { Thread } from "../process.ts";
import { isolate } from "../protect.ts";
import { lockTables, unlockTables } from "../table-lock.ts";
import { Gather } from "../tlb/gather.ts";
import { BUS_ADRERR, FAULT_MINOR, FAULT_OOM, type Intent, NEEDS_MEMORY, type Verdict } from "../verdict.ts";
import { isCopyOnWrite, VM_RAW, VM_WRITE, type Vma } from "../vma.ts";
import { zapTable } from "../zap.ts";
import { areaFlagsOf } from "./areas.ts";
import { RawMappings } from "./pfn-mappings.ts";
import { copyMissing, isNone, tryRepairRaw } from "./raw-fault.ts";

export class VmaSplit extends RawMappings {
  override readonly copies = "to an area";

  normalPage(): boolean {
    return false;
  }

  override *changeArea(kernel: Kernel, thread: Thread, page: Vpn, intent: Intent): Path<Verdict> {
    yield* this.beginWriting(thread);
    this.costs.relocks++;
    const vma = thread.mm.vmas.containing(page);
    const verdict = vma === null ? FAULT_MINOR : yield* this.change(kernel, vma, page, intent);
    yield* this.endWriting(thread);
    return verdict;
  }

  /** Lets go of mmap_sem before it is taken for writing: others may change everything in between. */
  protected *beginWriting(thread: Thread): Path<void> {
    const { mmapSem } = thread.mm;
    mmapSem.releaseRead(thread);
    if (!mmapSem.tryWrite(thread)) yield* mmapSem.write(thread);
  }

  protected *endWriting(thread: Thread): Path<void> {
    const { mmapSem } = thread.mm;
    mmapSem.releaseWrite(thread);
    if (!mmapSem.tryRead(thread)) yield* mmapSem.read(thread);
  }

  /** What the fault wants of the area that is there now; whatever else is there, the access is tried again. */
  protected *change(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent): Path<Verdict> {
    const { flags } = vma;
    if (vma.file?.raw == null || !isCopyOnWrite(flags)) return FAULT_MINOR;
    const isRaw = (flags & VM_RAW) !== 0;
    if (isRaw && intent === "write" && (flags & VM_WRITE) !== 0) return yield* this.copyOut(kernel, vma, page);
    if (isRaw || intent === "write") return FAULT_MINOR;
    yield* lockTables(kernel, vma.mm);
    const isEmpty = isNone(kernel, vma, page);
    unlockTables(kernel, vma.mm);
    return isEmpty ? yield* this.giveBack(kernel, vma, page) : FAULT_MINOR;
  }

  /** The page leaves the raw area for one of copies. */
  private *copyOut(kernel: Kernel, vma: Vma, page: Vpn): Path<Verdict> {
    const gather = new Gather(kernel, vma.mm);
    yield* lockTables(kernel, vma.mm);
    zapTable(kernel, gather, vma, { first: page, end: page + 1, cows: "all" });
    unlockTables(kernel, vma.mm);
    yield* gather.flush();
    const part = yield* this.cutOut(kernel, vma, page, vma.flags & ~VM_RAW);
    if (typeof part !== "number") kernel.counters.areaFaults++;
    return typeof part === "number" ? part : yield* untilThere(kernel, part, () => copyMissing(kernel, part, page));
  }

  /** A page of an area of copies that has lost its copy is the file's again. */
  private *giveBack(kernel: Kernel, vma: Vma, page: Vpn): Path<Verdict> {
    const part = yield* this.cutOut(kernel, vma, page, vma.flags | areaFlagsOf(vma.file!.raw!));
    return typeof part === "number"
      ? part
      : yield* untilThere(kernel, part, () => tryRepairRaw(kernel, part, page, "read"));
  }

  /** The area of the page alone, or with neighbours of its kind, with these flags. Requires: its entry is none. */
  private *cutOut(kernel: Kernel, vma: Vma, page: Vpn, flags: number): Path<Vma | Verdict> {
    const { vmas } = vma.mm;
    const before = vmas.count;
    for (let failures = 1; ; failures++) {
      const previous = page > vma.start ? vma : vma.below;
      const part = isolate(kernel, vma, previous, page, page + 1, flags);
      if (part !== null) {
        part.flags = flags;
        this.costs.areasMade += Math.max(0, vmas.count - before);
        return part;
      }
      if (vmas.count >= kernel.tunables.maxMapCount) return BUS_ADRERR;
      if (!(yield* kernel.allocator.waitForMemory(failures))) return FAULT_OOM;
    }
  }
}

/** Repairs under page_table_lock, as often as memory must be waited for. */
function* untilThere(kernel: Kernel, { mm }: Vma, repair: () => Verdict): Path<Verdict> {
  for (let failures = 1; ; failures++) {
    yield* lockTables(kernel, mm);
    const verdict = repair();
    unlockTables(kernel, mm);
    if (verdict !== NEEDS_MEMORY) return verdict;
    if (!(yield* waitToMap(kernel, failures))) return FAULT_OOM;
  }
}
