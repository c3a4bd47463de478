/**
 * Kernel stacks: each thread has one for as long as it lives, always in memory that the kernel has mapped. On a 32-bit
 * kernel a stack is one block of frames, so that a thread can fail to start because lowmem is in pieces; a 64-bit
 * kernel of today maps single frames side by side.
 *
 * @models linux-6.1 kernel/fork.c alloc_thread_stack_node (with and without CONFIG_VMAP_STACK)
 * @models linux-2.6.11 include/asm-i386/thread_info.h alloc_thread_info
 * @differs freed stacks are not cached; the page tables of the vmalloc area are not counted
 */
import { bug } from "../base/errors.ts";
import type { Pfn } from "../base/units.ts";
import { type Allocator, WANT_KERNEL } from "./allocator.ts";
import { NO_FRAME } from "./frames.ts";
import { OWNER_STACKS } from "./zone.ts";

export interface StackShape {
  /** A stack has two to the power of this frames. */
  readonly order: number;
  readonly placement: "one block" | "single frames";
}

/** The first frames of a stack's blocks. */
export type KernelStack = readonly Pfn[];

export class KernelStacks {
  /** Frames of one stack. */
  readonly frames: number;
  private readonly allocator: Allocator;
  private readonly blocks: number;
  /** Of each block that a stack is made of. */
  private readonly blockOrder: number;
  private inUse = 0;

  constructor(allocator: Allocator, { order, placement }: StackShape) {
    this.allocator = allocator;
    this.frames = 1 << order;
    this.blocks = placement === "one block" ? 1 : this.frames;
    this.blockOrder = placement === "one block" ? order : 0;
  }

  /** Frames that a stack is charged: its own, or as many soft pages as its blocks take whole. */
  get framesCharged(): number {
    const { softOrder } = this.allocator.frames;
    return this.blockOrder < softOrder ? this.frames : this.blocks << this.blockOrder;
  }

  /** Stacks in use, the kernel's own threads included. */
  get count(): number {
    return this.inUse;
  }

  /** A stack; null, and nothing changed, if there is no memory for it. */
  allocate(): KernelStack | null {
    const stack: Pfn[] = [];
    while (stack.length < this.blocks) {
      const frame = this.allocator.tryAllocateBlock(this.blockOrder, WANT_KERNEL, OWNER_STACKS);
      if (frame === NO_FRAME) {
        this.give(stack);
        return null;
      }
      stack.push(frame);
    }
    this.inUse++;
    return stack;
  }

  free(stack: KernelStack): void {
    if (this.inUse === 0) bug("a kernel stack is freed, and there is none");
    this.inUse--;
    this.give(stack);
  }

  private give(stack: KernelStack): void {
    for (const frame of stack) this.allocator.freeBlock(frame, this.blockOrder);
  }
}
