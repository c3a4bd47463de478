/** A machine with a pool of huge pages, for tests. */

import { bug } from "../../base/errors.ts";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import type { Thread } from "../process.ts";
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, READ_WRITE, TestKernel } from "../test-kernel.ts";

export const MAP_HUGETLB = 0x4_0000;
export const MAP_NORESERVE = 0x4000;
export const HUGE = 512;
export const PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;
export const SHARED = MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB;
/** Where areas of huge pages go here. */
export const PLACE = 40 * HUGE;

/** A machine with a pool of so many pages of 2 MiB. */
export class HugeWorld extends TestKernel {
  constructor(huge: number, machine: ConstructorParameters<typeof TestKernel>[0] = {}) {
    super({ hugePages: "hugetlbfs", frames: 16_384, ...machine });
    this.pool.resize(huge);
  }

  get pool() {
    return this.kernel.bigPages.pools[0]!;
  }

  /** `total free reserved surplus`. */
  get pages(): string {
    const { total, free, reserved, surplus } = this.pool;
    return [total, free, reserved, surplus].join(" ");
  }

  mapHuge(huge: number, flags: number, prot: number = READ_WRITE, at = PLACE, thread: Thread = this.thread): number {
    return this.call("mmap", [addressOf(at), huge * HUGE * PAGE_SIZE, prot, flags | MAP_FIXED, null, 0], thread);
  }

  /** The byte that a program reads there. */
  byteAt(page: number, thread: Thread = this.thread): number {
    const verdict = this.load(page, thread);
    const { mmu } = this.kernel.cpus[0]!;
    if (verdict !== 0 || !mmu.translate(page, LOAD)) bug(`page ${page} cannot be read: ${verdict}`);
    return this.kernel.memory.readByte(mmu.lastFrame, 0);
  }

  /** Stores a byte: 0, or the verdict that ended it. */
  write(page: number, byte: number, thread: Thread = this.thread): number {
    const verdict = this.store(page, thread);
    if (verdict !== 0) return verdict;
    const { mmu } = this.kernel.cpus[0]!;
    if (!mmu.translate(page, STORE)) bug(`page ${page} cannot be written`);
    this.kernel.memory.writeByte(mmu.lastFrame, 0, byte);
    return 0;
  }
}
