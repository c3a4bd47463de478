/** A machine that has transparent huge pages, for tests. */
import { bug } from "../../base/errors.ts";
import { addressOf, PAGE_SIZE, type Vpn } from "../../base/units.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import type { Thread } from "../process.ts";
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, READ_WRITE, TestKernel } from "../test-kernel.ts";
import { noteAccess } from "./touched-parts.ts";

export const HUGE = 512;
/** Where areas go here: at the start of a huge page. */
export const PLACE = 40 * HUGE;

export class ThpWorld extends TestKernel {
  constructor(machine: ConstructorParameters<typeof TestKernel>[0] = {}) {
    super({ transparentPages: "always", frames: 16_384, ...machine });
  }

  /** Private memory of so many pages, from `at` on. */
  area(pages: number, at: Vpn = PLACE, prot: number = READ_WRITE, thread: Thread = this.thread): void {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    const result = this.call("mmap", [addressOf(at), pages * PAGE_SIZE, prot, flags, null, 0], thread);
    if (result < 0) bug(`mmap: ${result}`);
  }

  unmap(at: Vpn, pages: number, thread: Thread = this.thread): number {
    return this.call("munmap", [addressOf(at), pages * PAGE_SIZE], thread);
  }

  advise(at: Vpn, pages: number, advice: number, thread: Thread = this.thread): number {
    return this.call("madvise", [addressOf(at), pages * PAGE_SIZE, advice], thread);
  }

  protect(at: Vpn, pages: number, prot: number): number {
    return this.call("mprotect", [addressOf(at), pages * PAGE_SIZE, prot]);
  }

  /** The byte that a program reads there. */
  byteAt(page: Vpn, thread: Thread = this.thread): number {
    const verdict = this.load(page, thread);
    const { mmu } = this.kernel.cpus[0]!;
    if (verdict !== 0 || !mmu.translate(page, LOAD)) bug(`page ${page} cannot be read: ${verdict}`);
    noteAccess(this.kernel, thread.mm, page);
    return this.kernel.memory.readByte(mmu.lastFrame, 0);
  }

  /** Stores a byte: 0, or the verdict that ended it. */
  write(page: Vpn, byte: number, thread: Thread = this.thread): number {
    const verdict = this.store(page, thread);
    if (verdict !== 0) return verdict;
    const { mmu } = this.kernel.cpus[0]!;
    if (!mmu.translate(page, STORE)) bug(`page ${page} cannot be written`);
    noteAccess(this.kernel, thread.mm, page);
    this.kernel.memory.writeByte(mmu.lastFrame, 0, byte);
    return 0;
  }

  /** Writes `byte` to each page of `[first, end)`, from the page's number on. */
  fill(first: Vpn, end: Vpn, thread: Thread = this.thread): void {
    for (let page = first; page < end; page++) {
      const verdict = this.write(page, byteOf(page), thread);
      if (verdict !== 0) bug(`page ${page} cannot be written: ${verdict}`);
    }
  }

  /** By size: the pages of `[first, end)` that large entries map, and that leaf tables do. `512+3`. */
  mapped(first: Vpn, end: Vpn, thread: Thread = this.thread): string {
    const { tables } = this.kernel;
    let large = 0;
    let small = 0;
    for (let page = first; page < end; page++) {
      if (tables.largeAt(thread.mm, page) !== null) large++;
      else if (this.entry(page, thread).frame >= 0) small++;
    }
    return `${large}+${small}`;
  }
}

/** What `fill` writes there. */
export const byteOf = (page: Vpn): number => 1 + (page % 251);
