/**
 * The load of a database: one segment of shared memory, and processes that each map all of it at the same place. The
 * first process only makes it; the others are its children, and use it.
 */
import { UsageError } from "../../base/errors.ts";
import { addressOf, PAGE_SIZE, pageOf, type Vaddr, type Vpn } from "../../base/units.ts";
import { type Access, LOAD } from "../../hw/access.ts";
import type { Machine } from "../../machine.ts";
import { type FileKind, OpenFile } from "../../mm/file.ts";
import { populate } from "../../mm/populate.ts";
import type { Thread } from "../../mm/process.ts";
import { MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { mustCall, tryTouchPages } from "./static-program.ts";

/** Where every process has the segment: above its program, below its stack. */
const SEGMENT: Vaddr = 0x2000_0000;

export class Sharers {
  readonly machine: Machine;
  readonly segment: OpenFile;
  readonly pages: number;
  readonly first: Vpn = pageOf(SEGMENT);
  /** Those that use the segment, oldest first. */
  readonly threads: Thread[] = [];
  private readonly parent: Thread;

  constructor(machine: Machine, sizeBytes: number, kind: FileKind = "shmem") {
    this.machine = machine;
    this.pages = sizeBytes / PAGE_SIZE;
    this.segment = new OpenFile(machine.kernel.files.create({ name: "segment", kind, sizeBytes }), "read-write");
    this.parent = machine.spawn("postmaster").threads[0]!;
    const rights = PROT_READ | PROT_WRITE;
    mustCall(machine, this.parent, "mmap", [SEGMENT, sizeBytes, rights, MAP_SHARED | MAP_FIXED, this.segment, 0]);
  }

  /** One more process, which has not touched the segment yet. */
  join(): Thread {
    const child = this.machine.fork(this.parent);
    if (typeof child === "number") this.refuse();
    const thread = child.threads[0]!;
    this.threads.push(thread);
    return thread;
  }

  /** The process touches pages of the segment: all, or those that are named. */
  touch(thread: Thread, kind: Access = LOAD, from = 0, pages = this.pages): void {
    if (!tryTouchPages(this.machine, thread, this.first + from, pages, kind)) this.refuse();
  }

  /** The process touches all of the segment, in one call (MAP_POPULATE). */
  fill(thread: Thread): void {
    const { machine, first, pages } = this;
    if (machine.run(thread, populate(machine.kernel, thread, first, first + pages)) < 0) this.refuse();
  }

  /** mlock or munlock of the segment, or of a part of it: 0 or -ERRNO. */
  call(thread: Thread, name: "mlock" | "munlock", from = 0, pages = this.pages): number {
    return this.machine.call(thread, name, [addressOf(this.first + from), addressOf(pages)]);
  }

  private refuse(): never {
    throw new UsageError(
      `the machine has no memory for process ${this.threads.length + 1} of the load; use fewer, a smaller segment or a larger machine`,
    );
  }
}
