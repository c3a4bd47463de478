/**
 * Kernels with one thing left out, made by changing a machine's own objects before it starts. They exist to be caught.
 */
import type { Cpu } from "../../hw/cpu.ts";
import type { AddressSpace } from "../../mm/address-space.ts";
import type { FileObject } from "../../mm/file.ts";
import type { Kernel } from "../../mm/kernel.ts";
import type { Path } from "../../sync/path.ts";

/** What the doubles reach for inside a flush strategy. */
interface Inside {
  owed: { task: unknown; mm: AddressSpace | null; flush: (cpu: Cpu) => void }[];
  handle(cpu: Cpu, mm: AddressSpace, flush: (cpu: Cpu) => void): void;
  leave(cpu: Cpu, mm: AddressSpace): void;
  clearMask(cpu: Cpu, mm: AddressSpace): void;
}

/** Interrupts are sent, and nobody waits for their acknowledgement: what is freed is freed before the flush. */
export function freesBeforeFlush(kernel: Kernel): void {
  const inside = kernel.tlbFlush as unknown as Inside;
  kernel.tlbFlush.settle = function* (): Path<void> {
    const { task } = kernel.current;
    for (const { mm, flush } of inside.owed.splice(0)) {
      if (mm === null) continue;
      for (const id of [...mm.cpus].filter((cpu) => cpu !== task.cpu)) {
        kernel.tlbFlush.interrupts?.send(id, `flushes mm ${mm.id}, which nobody waits for`, () => {
          inside.handle(kernel.cpus[id]!, mm, flush);
        });
      }
    }
  };
}

/** A lazy CPU that is asked to flush strikes itself off the mask, and keeps what it knows. */
export function lazyCpusKeepTheirTlb(kernel: Kernel): void {
  const inside = kernel.tlbFlush as unknown as Inside;
  inside.leave = (cpu, mm) => inside.clearMask(cpu, mm);
}

/** fork takes the rights off entries and returns. */
export function forkForgetsToFlush(kernel: Kernel): void {
  kernel.tlbFlush.all = () => {};
}

/** An area that mapped the file once maps it for ever. */
export function areasNeverGo({ mappings }: FileObject): void {
  mappings.has = () => true;
}
