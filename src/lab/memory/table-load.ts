/**
 * Loads that differ in what becomes of their leaf tables' entries: processes, children of one that does nothing, which all
 * map one area and touch pages of it.
 *
 *     shared      all pages of one segment, which everybody goes on using
 *     dontneed    pages of their own, one in the span of each table, given back by MADV_DONTNEED
 *     truncate    the same with pages of a file, which is cut
 *     reclaim     the same with pages of a file on disk, which reclaim takes
 */
import { ENOMEM } from "../../base/errno.ts";
import { addressOf, pageOf, type Vaddr } from "../../base/units.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import type { Machine } from "../../machine.ts";
import { MADV_DONTNEED } from "../../mm/advise.ts";
import { WANT_USER } from "../../mm/allocator.ts";
import { OpenFile } from "../../mm/file.ts";
import { LEAF } from "../../mm/page-table.ts";
import type { Thread } from "../../mm/process.ts";
import { freeSome } from "../../mm/reclaim/make-room.ts";
import { runToCompletion } from "../../sync/path.ts";
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { needed, neededCall } from "./load.ts";
import { tryTouchPages } from "./static-program.ts";

export const loadNames = ["shared", "dontneed", "truncate", "reclaim"] as const;
export type LoadName = (typeof loadNames)[number];

export interface Sizes {
  /** Pages of the segment. */
  readonly segment: number;
  /** Leaf tables of a process that touches few pages. */
  readonly spans: number;
}

const AREA: Vaddr = 2 ** 30;

export class TableLoad {
  readonly machine: Machine;
  private readonly name: LoadName;
  private readonly parent: Thread;
  private readonly threads: Thread[] = [];
  private readonly file: OpenFile | null;
  private readonly pages: number;
  /** One page in so many is touched. */
  private readonly stride: number;

  constructor(machine: Machine, name: LoadName, { segment, spans }: Sizes) {
    this.machine = machine;
    this.name = name;
    const { tables, files } = machine.kernel;
    this.stride = name === "shared" ? 1 : tables.span(LEAF);
    this.pages = name === "shared" ? segment : spans * this.stride;
    const kind = name === "reclaim" ? "regular" : "shmem";
    const sizeBytes = addressOf(this.pages);
    this.file =
      name === "dontneed" ? null : new OpenFile(files.create({ name: "area", kind, sizeBytes }), "read-write");
    this.parent = machine.spawn("parent").threads[0]!;
    const flags = MAP_FIXED | (this.file === null ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
    neededCall(machine, this.parent, "mmap", [AREA, sizeBytes, PROT_READ | PROT_WRITE, flags, this.file, 0]);
  }

  /** One more process, which touches its pages and keeps them. */
  start(): void {
    needed(this.tryStart() ? 0 : -ENOMEM, "one more process");
  }

  /** One more process, which gives its pages back before another is started; false if somebody could not run. */
  tryStartAlone(): boolean {
    if (!this.tryStart()) return false;
    // Reclaim comes by itself.
    if (this.name !== "reclaim") this.giveBackFrom([this.threads.at(-1)!]);
    return true;
  }

  giveBack(): void {
    this.giveBackFrom(this.threads);
  }

  /** Everybody touches his pages again. */
  useAgain(): void {
    const [first] = this.threads as [Thread];
    if (this.name === "truncate") this.resize(first, this.pages);
    for (const thread of this.threads) needed(this.touch(thread) ? 0 : -ENOMEM, "the pages");
  }

  private tryStart(): boolean {
    const child = this.machine.fork(this.parent);
    if (typeof child === "number") return false;
    const thread = child.threads[0]!;
    this.threads.push(thread);
    if (this.name === "truncate") this.resize(thread, this.pages);
    return this.touch(thread);
  }

  private touch(thread: Thread): boolean {
    const { machine, pages, stride } = this;
    const kind = this.name === "reclaim" ? LOAD : STORE;
    return tryTouchPages(machine, thread, pageOf(AREA), pages, kind, stride) && machine.kernel.oomVictims.length === 0;
  }

  private giveBackFrom(threads: readonly Thread[]): void {
    const { machine, name, pages } = this;
    if (name === "dontneed") {
      for (const thread of threads) neededCall(machine, thread, "madvise", [AREA, addressOf(pages), MADV_DONTNEED]);
    } else if (name === "truncate") this.resize(threads[0]!, 0);
    else if (name === "reclaim") this.reclaimAll();
  }

  private resize(thread: Thread, pages: number): void {
    neededCall(this.machine, thread, "ftruncate", [this.file, addressOf(pages)]);
  }

  /** Others need memory, and so much that no page of the file is left. */
  private reclaimAll(): void {
    const { kernel } = this.machine;
    const cache = this.file!.file.pages;
    while (cache.count > 0) {
      const freed = runToCompletion(freeSome(kernel, { order: 0, want: WANT_USER }));
      needed(freed > 0 ? 0 : -ENOMEM, "reclaim");
    }
  }
}
