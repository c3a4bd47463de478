/**
 * Truncating a file that processes map out of order: the bug that the kernels of 2003 had, the fixes that were proposed
 * for it, and what Linux did. Each process has the whole file in one area, back to front, and half of it is cut off;
 * meanwhile nobody is in the way, or one of the processes takes and leaves its page_table_lock all the time, as one that
 * faults does.
 *
 *     file [ 0 1 2 3 | 4 5 6 7 ]     area of each process [ 7 6 5 4 3 2 1 0 ]     cut at |
 */
import { ENOMEM } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import { Rng } from "../../base/rng.ts";
import { addressOf, PAGE_SIZE, type Pfn, pageOf, type Vaddr } from "../../base/units.ts";
import { LOAD } from "../../hw/access.ts";
import { PTE_PRESENT } from "../../hw/pte.ts";
import { DONE, Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import { LEAF, NO_TABLE } from "../../mm/page-table.ts";
import type { Thread } from "../../mm/process.ts";
import { BUS_ADRERR } from "../../mm/verdict.ts";
import { specOf } from "../../presets.ts";
import type { Watch } from "../../sync/watch.ts";
import { MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { needed, neededCall, neededChild } from "../memory/load.ts";
import { type Experiment, type Row, wholeNumber } from "./experiment.ts";

const AREA: Vaddr = 0x2000_0000;
const READ_WRITE = PROT_READ | PROT_WRITE;
const options = [
  { nonlinear: "remap-2.5", what: "the bug" },
  { nonlinear: "tagged-search", what: "fix (i)" },
  { nonlinear: "cleanup-pass", what: "fix (ii), with another pass" },
  { nonlinear: "cleanup-tolerant", what: "fix (ii), tolerant" },
  { nonlinear: "unmap-each", what: "fix (iii)" },
  { nonlinear: "locked-only", what: "RHEL 3" },
  { nonlinear: "emulated", what: "today" },
] as const;
type Option = (typeof options)[number];
type Busy = "nobody" | "one process";

export const truncateNonlinear: Experiment = {
  name: "truncate-nonlinear",
  claim:
    "The truncate() bug is just a literal bug, and there are at least three ways to fix it; two of them do the locks in the wrong order, so that some still mapped but truncated page could be out there.",
  source: 'William Lee Irwin III, "Re: What to expect with the 2.6 VM", linux-kernel, July 2003',
  parameters: {
    pages: { text: "512", about: "pages of the file, of which half are cut off" },
    processes: { text: "4", about: "how many map all of it, back to front" },
    "reverse-map": { text: "pte-chain-e", about: "how entries of a page are found" },
    machine: { text: "piii-4g", about: "a machine preset" },
    seed: { text: "1", about: "when the busy process comes in between" },
  },
  published: [
    { what: "kernels with the bug", value: "2.5.46 to 2.6.5", source: "their changelogs" },
    { what: "what Linux did", value: "fix (i), from 2.6.6 on", source: "2.6.6's changelog" },
    { what: "cost of (i), PTEs a process", value: "all of the area", source: "the proposal: exhaustive search" },
    { what: "cost of (ii) and (iii), PTEs", value: "those that map the pages", source: "the proposal: try_to_unmap" },
  ],
  plot: {
    x: "pages",
    y: "entriesVisited",
    line: ["nonlinear", "busy"],
    xLabel: "pages of the file",
    yLabel: "PTEs visited",
    yUnit: 1,
  },

  run({ pages, processes, machine, seed, "reverse-map": reverseMap }, step) {
    const count = wholeNumber("pages", pages!, 2);
    const sharers = wholeNumber("processes", processes!, 2);
    const start = wholeNumber("seed", seed!, 0);
    const rows = options.flatMap((option) =>
      (["nobody", "one process"] as const).map((busy) => {
        step(`${option.nonlinear}, ${busy} is busy`);
        return new Truncated(machine!, option, reverseMap!, count, sharers).row(busy, new Rng(start));
      }),
    );
    return { rows, verdict: verdictOn(rows) };
  },
};

class Truncated {
  private readonly machine: Machine;
  private readonly option: Option;
  private readonly pages: number;
  private readonly file: OpenFile;
  private readonly threads: readonly Thread[];

  constructor(name: string, option: Option, reverseMap: string, pages: number, processes: number) {
    const settings = [`nonlinear=${option.nonlinear}`, `reverseMap=${reverseMap}`, "geometry.cpus=1"];
    this.machine = new Machine(specOf(name, "linux-2.6.11", settings));
    this.option = option;
    this.pages = pages;
    const { files } = this.machine.kernel;
    const spec = { name: "cut", kind: "shmem", sizeBytes: addressOf(pages) } as const;
    this.file = new OpenFile(files.create(spec), "read-write");
    const first = this.machine.spawn("first").threads[0]!;
    this.threads = Array.from({ length: processes }, () => this.fill(neededChild(this.machine, first)));
  }

  /** The process gets every page of the file, the last one first. */
  private fill(thread: Thread): Thread {
    const { machine, pages, file } = this;
    neededCall(machine, thread, "mmap", [AREA, addressOf(pages), READ_WRITE, MAP_SHARED | MAP_FIXED, file, 0]);
    if (this.option.nonlinear === "locked-only") neededCall(machine, thread, "mlock", [AREA, addressOf(pages)]);
    for (let at = 0; at < pages; at++) {
      neededCall(machine, thread, "remap_file_pages", [AREA + addressOf(at), PAGE_SIZE, 0, this.indexAt(at), 0]);
      needed(machine.access(thread, AREA + addressOf(at), LOAD) === DONE ? 0 : -ENOMEM, "pages");
    }
    return thread;
  }

  private indexAt(at: number): number {
    return this.pages - 1 - at;
  }

  row(busy: Busy, rng: Rng): Row {
    const { kernel } = this.machine;
    const { counters, reclaim } = kernel;
    const kept = Math.ceil(this.pages / 2);
    const visited = () => counters.nonlinearEntriesRead + counters.ptesZapped + reclaim.costs.entriesVisited;
    const before = { visited: visited(), retries: counters.cleanupRetries };
    this.truncate(kept, busy, rng);
    const entriesVisited = visited() - before.visited;
    const retries = counters.cleanupRetries - before.retries;
    const { orphans, lost, unfindable } = this.census(kept);
    const wrongAccesses = this.wrongAccesses(kept);
    return {
      nonlinear: this.option.nonlinear,
      what: this.option.what,
      busy,
      pages: this.pages,
      entriesVisited,
      retries,
      orphans,
      unfindableOrphans: unfindable,
      validPagesLost: lost,
      wrongAccesses,
      reliable: orphans + lost + wrongAccesses === 0 ? "yes" : "no",
    };
  }

  /** ftruncate, while the last process is busy, or nobody is. */
  private truncate(kept: number, busy: Busy, rng: Rng): void {
    const { machine, threads } = this;
    const { kernel } = machine;
    const truncating = threads[0]!;
    const other = threads.at(-1)!;
    const { pageTableLock } = other.mm;
    machine.switchTo(truncating);
    const call = kernel.personality.calls.ftruncate ?? bug("no ftruncate");
    const path = call.path(kernel, truncating, [this.file, addressOf(kept)]);
    // A task that is watched stops wherever it might wait, and says which lock it looks at: there the other comes in.
    const comesIn: Watch = {
      touch: (what) => {
        if (what === pageTableLock.name && rng.below(2) === 0) pageTableLock.attempt(other);
      },
      acquired: () => {},
      released: () => {},
    };
    truncating.watch = busy === "nobody" ? null : comesIn;
    for (let step = path.next(); !step.done; step = path.next()) {
      const isHeld = pageTableLock.owner === other;
      if (isHeld && (!step.value.ready() || rng.below(2) === 0)) pageTableLock.release(other);
    }
    truncating.watch = null;
    if (pageTableLock.owner === other) pageTableLock.release(other);
  }

  /** What the page tables say now. */
  private census(kept: number): { orphans: number; lost: number; unfindable: number } {
    const { kernel } = this.machine;
    const { frames, reverseMap } = kernel;
    let orphans = 0;
    let lost = 0;
    let unfindable = 0;
    for (const { mm } of this.threads) {
      for (let at = 0; at < this.pages; at++) {
        const mapped = this.entryAt(mm, at);
        if (mapped === undefined) {
          if (this.indexAt(at) < kept) lost++;
          continue;
        }
        if (frames.mapping.read(mapped.frame) === this.file.file.id) continue;
        orphans++;
        let isFound = false;
        reverseMap.forEachKnown(mapped.frame, (slot) => {
          isFound ||= slot === mapped.slot;
          return !isFound;
        });
        if (!isFound) unfindable++;
      }
    }
    return { orphans, lost, unfindable };
  }

  private entryAt(mm: Thread["mm"], at: number): { frame: Pfn; slot: number } | undefined {
    const { tables, entries } = this.machine.kernel;
    const page = pageOf(AREA) + at;
    const table = tables.openLeaf(mm, page);
    if (table === NO_TABLE) return undefined;
    const index = tables.indexAt(page, LEAF);
    const isThere = (entries.flags(table, index) & PTE_PRESENT) !== 0;
    const found = isThere ? { frame: entries.frame(table, index), slot: entries.slotOf(table, index) } : undefined;
    tables.close(table);
    return found;
  }

  /** Accesses that do not give the page that belongs there, or a bus error where the file has ended. */
  private wrongAccesses(kept: number): number {
    const { machine, file } = this;
    const { frames } = machine.kernel;
    let wrong = 0;
    for (const thread of this.threads) {
      for (let at = 0; at < this.pages; at++) {
        const verdict = machine.access(thread, AREA + addressOf(at), LOAD);
        const index = this.indexAt(at);
        if (index >= kept) wrong += verdict === BUS_ADRERR ? 0 : 1;
        else {
          const frame = this.entryAt(thread.mm, at)?.frame ?? -1;
          const isRight = verdict === DONE && frame >= 0 && frames.mapping.read(frame) === file.file.id;
          wrong += isRight && frames.index.read(frame) === index ? 0 : 1;
        }
      }
    }
    return wrong;
  }
}

function verdictOn(rows: readonly Row[]): string {
  const reliable = new Set(rows.map(({ nonlinear }) => String(nonlinear)));
  for (const { nonlinear, reliable: is } of rows) if (is === "no") reliable.delete(String(nonlinear));
  const [bug, , search, , pass, , tolerant, busyTolerant, each] = rows as Row[];
  return [
    `The bug leaves ${bug!.orphans} orphans mapped, takes ${bug!.validPagesLost} valid pages, and ${bug!.wrongAccesses} accesses then go wrong.`,
    `Searching visits ${search!.entriesVisited} PTEs, cleaning up ${pass!.entriesVisited}, unmapping each page ${each!.entriesVisited}.`,
    `The tolerant cleanup leaves ${busyTolerant!.orphans} orphans where a process is busy, ${tolerant!.orphans} where nobody is.`,
    `Reliable in any case: ${[...reliable].join(", ")}.`,
  ].join(" ");
}
