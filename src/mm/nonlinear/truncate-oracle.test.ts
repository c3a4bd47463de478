/**
 * What must hold once a file has been truncated, by brute force over every page table, whoever has moved which page where:
 * no entry maps a page beyond the end, pages that the file keeps stay mapped, and an access finds the page that was asked
 * for, or a bus error. Random histories of several processes are held to it; the kernel of 2.5 and that of RHEL 3, which
 * do not keep it, are caught.
 */
import { describe, expect, test } from "vitest";
import { Rng } from "../../base/rng.ts";
import { type FileIndex, PAGE_SIZE, type Pfn, type Vpn } from "../../base/units.ts";
import type { OpenTable } from "../../hw/pte.ts";
import { PTE_FILE, PTE_PRESENT } from "../../hw/pte.ts";
import { MADV_DONTNEED } from "../advise.ts";
import { type FileObject, OpenFile } from "../file.ts";
import { LEAF } from "../page-table.ts";
import type { Thread } from "../process.ts";
import type { ReverseMapName } from "../rmap/reverse-maps.ts";
import { MAP_PRIVATE, MAP_SHARED, READ_WRITE, TestKernel } from "../test-kernel.ts";
import { BUS_ADRERR } from "../verdict.ts";
import type { NonlinearName } from "./nonlinears.ts";

const AT: Vpn = 0x1000;
const COPIES_AT: Vpn = 0x2000;
const PAGES = 24;
const MAP_NONBLOCK = 0x1_0000;

/** How the oracle is broken: the bug's four effects. */
type Effect = "orphan" | "lost" | "wrong page" | "cannot be found";

interface Member {
  readonly thread: Thread;
  /** By place in the area: the page of the file that belongs there. */
  readonly wanted: FileIndex[];
}

/** Processes that share a file, and what each of their places should show. */
class History extends TestKernel {
  readonly shared: FileObject;
  readonly open: OpenFile;
  readonly members: Member[];
  readonly broken = new Set<Effect>();
  private readonly rng: Rng;

  constructor(nonlinear: NonlinearName, reverseMap: ReverseMapName, seed: number) {
    super({ nonlinear, reverseMap, kernel: seed % 2 === 0 ? "linux-2.6.11" : "linux-6.1", format: "pae" });
    this.rng = new Rng(seed);
    this.shared = this.file(PAGES);
    this.open = new OpenFile(this.shared, "read-write");
    this.map(AT, PAGES, READ_WRITE, MAP_SHARED, this.shared);
    this.map(COPIES_AT, PAGES, READ_WRITE, MAP_PRIVATE, this.shared);
    const linear = Array.from({ length: PAGES }, (_, index) => index);
    const threads = [this.thread, this.fork()!, this.fork()!];
    this.members = threads.map((thread) => ({ thread, wanted: [...linear] }));
    if (nonlinear !== "locked-only") return;
    for (const { thread } of this.members) this.call("mlock", [AT * PAGE_SIZE, PAGES * PAGE_SIZE], thread);
  }

  replay(steps: number, discards: "and-discards" | "keeps"): ReadonlySet<Effect> {
    for (let step = 0; step < steps; step++) {
      const chance = this.rng.below(10);
      if (chance < 3) this.remapSome();
      else if (chance < 7) this.touchSome();
      else if (chance === 7 && discards === "and-discards") this.discardSome();
      else if (chance === 8) this.copySome();
      else if (chance === 9) this.truncate(this.rng.below(PAGES + 1));
      this.look();
    }
    return this.broken;
  }

  private remapSome(): void {
    const { thread, wanted } = this.rng.pick(this.members);
    const place = this.rng.below(PAGES);
    const pages = 1 + this.rng.below(Math.min(4, PAGES - place));
    const index = this.rng.below(PAGES - pages + 1);
    const args = [(AT + place) * PAGE_SIZE, pages * PAGE_SIZE, 0, index, this.rng.chance(0.2) ? MAP_NONBLOCK : 0];
    if (this.call("remap_file_pages", args, thread) < 0) return;
    for (let at = 0; at < pages; at++) wanted[place + at] = index + at;
  }

  /** Reads or writes a place: what it shows must be the page that belongs there, or a bus error. */
  private touchSome(): void {
    const { thread, wanted } = this.rng.pick(this.members);
    const place = this.rng.below(PAGES);
    const verdict = this.rng.chance(0.5) ? this.load(AT + place, thread) : this.store(AT + place, thread);
    const index = wanted[place]!;
    const isThere = index < this.shared.endIndex;
    if (verdict === 0 && !isThere) return; // An orphan: `look` tells it from the rest.
    if (verdict === 0 && this.entry(AT + place, thread).frame !== this.shared.pages.find(index))
      this.broken.add("wrong page");
    if (verdict !== 0 && (isThere || verdict !== BUS_ADRERR)) this.broken.add("wrong page");
  }

  private discardSome(): void {
    const { thread } = this.rng.pick(this.members);
    const place = this.rng.below(PAGES);
    const pages = 1 + this.rng.below(PAGES - place);
    this.call("madvise", [(AT + place) * PAGE_SIZE, pages * PAGE_SIZE, MADV_DONTNEED], thread);
  }

  /** A private copy lives as long as the file reaches to it. */
  private copySome(): void {
    const { thread } = this.rng.pick(this.members);
    const place = this.rng.below(PAGES);
    const verdict = this.store(COPIES_AT + place, thread);
    expect(verdict).toBe(place < this.shared.endIndex ? 0 : BUS_ADRERR);
  }

  private truncate(pages: number): void {
    const kept = this.mapped().filter(({ index }) => index < Math.min(pages, this.shared.endIndex));
    expect(this.call("ftruncate", [this.open, pages * PAGE_SIZE])).toBe(0);
    for (const { thread, page, frame } of kept) {
      if (this.entry(page, thread).frame !== frame) this.broken.add("lost");
    }
  }

  /** Every entry of every process, by brute force. */
  private mapped(): { thread: Thread; page: Vpn; frame: Pfn; index: FileIndex }[] {
    const { frames } = this.kernel;
    return this.members.flatMap(({ thread }) =>
      [...pagesFrom(AT), ...pagesFrom(COPIES_AT)].flatMap((page) => {
        const { flags, frame } = this.entry(page, thread);
        if ((flags & PTE_PRESENT) === 0) return [];
        return [{ thread, page, frame, index: page < COPIES_AT ? frames.index.read(frame) : page - COPIES_AT }];
      }),
    );
  }

  private look(): void {
    const { kernel, shared } = this;
    const { frames, reverseMap } = kernel;
    for (const { page, frame, index } of this.mapped()) {
      if (index < shared.endIndex && (page >= COPIES_AT || shared.pages.find(index) === frame)) continue;
      this.broken.add("orphan");
      let found = 0;
      reverseMap.forEachKnown(frame, () => ++found > 0);
      if (found < frames.mapCount.read(frame)) this.broken.add("cannot be found");
    }
    for (const { thread, wanted } of this.members) {
      wanted.forEach((index, place) => {
        if (this.shows(AT + place, thread) !== index && this.shows(AT + place, thread) !== undefined)
          this.broken.add("wrong page");
      });
    }
  }

  /** The page that a place has, or would have after a fault; undefined if it maps one that is no page of the file. */
  private shows(page: Vpn, thread: Thread): FileIndex | undefined {
    const { tables, entries, frames } = this.kernel;
    const { flags, frame } = this.entry(page, thread);
    if (flags === 0) return page - AT;
    if (flags !== PTE_FILE) return frames.mapping.read(frame) === 0 ? undefined : frames.index.read(frame);
    const table = tables.tableAt(thread.mm, page, LEAF) as OpenTable;
    return entries.fileIndex(table, tables.indexAt(page, LEAF));
  }
}

const pagesFrom = (first: Vpn): Vpn[] => Array.from({ length: PAGES }, (_, at) => first + at);

const sound: readonly NonlinearName[] = ["tagged-search", "cleanup-pass", "cleanup-tolerant", "unmap-each"];
const maps: readonly ReverseMapName[] = [
  "pte-chain-a",
  "pte-chain-b",
  "pte-chain-e",
  "object-chain-convert",
  "object-chain-incremental",
  "object-anon",
  "anonmm",
];

describe.each(sound)("%s", (nonlinear) => {
  test.each(maps)("keeps the oracle with %s", (reverseMap) => {
    for (let seed = 0; seed < 4; seed++) {
      const history = new History(nonlinear, reverseMap, seed);
      expect([...history.replay(150, "and-discards")]).toEqual([]);
      for (const { thread } of history.members) history.exit(thread);
    }
  });
});

const effectsOf = (nonlinear: NonlinearName, reverseMap: ReverseMapName): Effect[] => {
  const effects = new Set<Effect>();
  for (let seed = 0; seed < 4; seed++) {
    for (const effect of new History(nonlinear, reverseMap, seed).replay(250, "keeps")) effects.add(effect);
  }
  return [...effects].sort();
};

describe("a kernel of 2.5 is caught", () => {
  test("with all four effects where the reverse map searches areas", () => {
    expect(effectsOf("remap-2.5", "object-anon")).toEqual(["cannot be found", "lost", "orphan", "wrong page"]);
  });

  test("with three of them where it chains entries, and finds orphans too", () => {
    expect(effectsOf("remap-2.5", "pte-chain-e")).toEqual(["lost", "orphan", "wrong page"]);
  });
});

test("and so is RHEL 3", () => {
  expect(effectsOf("locked-only", "pte-chain-e")).toEqual(["lost", "orphan", "wrong page"]);
});
