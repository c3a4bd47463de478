/**
 * The birth and death of address spaces, and which of them a CPU runs in.
 *
 * @models linux-6.1 kernel/fork.c mm_init, __mmput; mm/mmap.c exit_mmap; arch/x86/mm/tlb.c switch_mm_irqs_off
 * @differs while paths run to completion, a CPU that has nothing to run leaves its address space at once
 */
import { ENOMEM } from "../base/errno.ts";
import { bug } from "../base/errors.ts";
import type { Cpu } from "../hw/cpu.ts";
import type { Path } from "../sync/path.ts";
import { AddressSpace } from "./address-space.ts";
import type { Kernel } from "./kernel.ts";
import type { Limits } from "./limits.ts";
import { VM_ACCOUNT, type Vma } from "./vma.ts";
import { detachVma, freeVma } from "./vma-memory.ts";
import { unmapRegion } from "./zap.ts";

/** An empty address space with one user, for a child of `parent` or for a new program; null if there is no memory for it. */
export function createSpace(kernel: Kernel, limits: Limits, parent: AddressSpace | null = null): AddressSpace | null {
  if (kernel.slabs.mms.allocate() < 0) return null;
  const mm = new AddressSpace(++kernel.counters.spacesCreated, -1, limits);
  mm.mmapBase = kernel.layout.mmapBase;
  mm.freeAreaCache = kernel.layout.unmappedBase;
  if (kernel.tables.createRoot(mm) === -ENOMEM) {
    kernel.slabs.mms.free();
    return null;
  }
  if (kernel.reverseMap.spaceBorn(mm, parent) < 0) {
    kernel.tables.destroyRoot(mm);
    kernel.slabs.mms.free();
    return null;
  }
  kernel.structPages.spaceBorn(mm);
  kernel.spaces.add(mm);
  return mm;
}

/** One user less; the last one takes the address space with it (mmput). Requires: no CPU of that user runs in it. */
export function* releaseSpace(kernel: Kernel, mm: AddressSpace): Path<void> {
  if (mm.users <= 0) bug(`address space ${mm.id} is released once too often`);
  mm.users--;
  if (mm.users === 0) yield* destroySpace(kernel, mm);
}

function* destroySpace(kernel: Kernel, mm: AddressSpace): Path<void> {
  if (kernel.tlbFlush.interrupts !== null) yield* kernel.tlbFlush.evict(mm);
  yield* kernel.transparent.khugepaged.leave(kernel, mm);
  for (const cpu of mm.cpus) bug(`CPU ${cpu} still runs in address space ${mm.id}, which dies`);
  const vmas: Vma[] = [...mm.vmas];
  for (const vma of vmas) detachVma(vma);
  yield* unmapRegion(kernel, mm, vmas, 0, kernel.layout.taskEnd);
  for (const vma of vmas) {
    if ((vma.flags & VM_ACCOUNT) !== 0) kernel.commitment.uncharge(vma.pages);
    freeVma(kernel, vma);
  }
  kernel.tables.destroyRoot(mm);
  kernel.reverseMap.spaceDied(mm);
  kernel.kmap.forget(mm);
  kernel.structPages.spaceDied(mm);
  kernel.spaces.delete(mm);
  kernel.slabs.mms.free();
  kernel.counters.exits++;
}

/** `cpu` runs in `mm` from now on, or (null) in no user's address space. */
export function switchSpace(kernel: Kernel, cpu: Cpu, mm: AddressSpace | null): void {
  kernel.tlbFlush.load(cpu, mm);
}
