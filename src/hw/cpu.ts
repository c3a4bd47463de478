/** A processor: a number, and an MMU with its TLB. What runs on it, and in which address space, is the kernel's business. */
import type { Pfn, Vpn } from "../base/units.ts";
import type { Access } from "./access.ts";
import { Mmu, type MmuControls } from "./mmu.ts";
import type { PagingFormat } from "./paging-format.ts";
import type { PhysicalMemory } from "./physical-memory.ts";
import type { TlbShape } from "./tlb.ts";

export class Cpu {
  readonly id: number;
  readonly mmu: Mmu;

  constructor(id: number, memory: PhysicalMemory, format: PagingFormat, shape: TlbShape, controls?: MmuControls) {
    this.id = id;
    this.mmu = new Mmu(memory, format, shape, controls);
  }

  /** The page-table root that this CPU uses; -1 before the first load. */
  get root(): Pfn {
    return this.mmu.root;
  }

  loadRoot(root: Pfn): void {
    this.mmu.loadRoot(root);
  }

  /** A user-mode access. False: it faulted, and the MMU's fault registers say how. */
  touch(page: Vpn, kind: Access): boolean {
    return this.mmu.touch(page, kind);
  }

  /** An access of the kernel's to a user page. */
  supervisorTouch(page: Vpn, kind: Access): boolean {
    return this.mmu.supervisorTouch(page, kind);
  }
}
