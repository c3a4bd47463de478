/**
 * What is hard on kernels whose own pages are large: many small things. Small files that are read whole, and a program with many
 * small areas of which it touches some pages, at addresses that are multiples of 4 KiB and of nothing more.
 */
import { Rng } from "../../base/rng.ts";
import { addressOf, PAGE_SIZE, type Vaddr } from "../../base/units.ts";
import { STORE } from "../../hw/access.ts";
import type { Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import { readFile } from "../../mm/file-read.ts";
import type { Thread } from "../../mm/process.ts";
import { OWNER_PAGE_CACHE, OWNER_USER } from "../../mm/zone.ts";
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { needed, neededCall } from "./load.ts";
import { tryTouchPages } from "./static-program.ts";

/** What holding something took. */
export interface Held {
  /** Pages of 4 KiB that somebody asked for. */
  readonly asked: number;
  /** Frames that hold them, and what comes along. */
  readonly frames: number;
}

/** Pages that a small file has at most. */
const MOST_FILE_PAGES = 64;

/** Reads so many files of 1 to 64 pages. */
export function readSmallFiles(machine: Machine, files: number, seed: number): Held {
  const { kernel } = machine;
  const thread = machine.spawn("reader").threads[0]!;
  const rng = new Rng(seed);
  const before = kernel.allocator.ownedBy(OWNER_PAGE_CACHE);
  let asked = 0;
  for (let at = 0; at < files; at++) {
    const pages = 1 + rng.below(MOST_FILE_PAGES);
    const sizeBytes = pages * PAGE_SIZE - rng.below(PAGE_SIZE);
    const file = kernel.files.create({ name: `file ${at}`, kind: "regular", sizeBytes });
    needed(machine.run(thread, readFile(kernel, new OpenFile(file, "read"), sizeBytes, 0)), "the files");
    asked += pages;
  }
  return { asked, frames: kernel.allocator.ownedBy(OWNER_PAGE_CACHE) - before };
}

const AREAS: Vaddr = 2 ** 30;
/** Pages from one area to the next. */
const STRIDE = 80;
const MOST_AREA_PAGES = 64;

/** The area in its place, of 1 to 64 pages: how many of them, one in four, the program writes to. */
function writeSmallArea(machine: Machine, thread: Thread, place: number, rng: Rng): number {
  const pages = 1 + rng.below(MOST_AREA_PAGES);
  const first = AREAS / PAGE_SIZE + place * STRIDE + rng.below(STRIDE - pages);
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  neededCall(machine, thread, "mmap", [addressOf(first), addressOf(pages), PROT_READ | PROT_WRITE, flags, null, 0]);
  let written = 0;
  for (let page = 0; page < pages; page += 1 + rng.below(7)) {
    needed(tryTouchPages(machine, thread, first + page, 1, STORE) ? 0 : -1, "the areas");
    written++;
  }
  return written;
}

/** A program makes so many small areas, and writes to them. */
export function writeSmallAreas(machine: Machine, areas: number, seed: number): Held & { readonly faults: number } {
  const { counters, allocator } = machine.kernel;
  const thread = machine.spawn("program").threads[0]!;
  const rng = new Rng(seed);
  const before = { frames: allocator.ownedBy(OWNER_USER), faults: counters.minorFaults };
  let asked = 0;
  for (let at = 0; at < areas; at++) asked += writeSmallArea(machine, thread, at, rng);
  return {
    asked,
    frames: allocator.ownedBy(OWNER_USER) - before.frames,
    faults: counters.minorFaults - before.faults,
  };
}

/** Memory that is left free when two programs fill it. */
const LEFT = 1 / 8;

/** Two programs make small areas in turn until memory is nearly full, and then one of them ends: what it had is free, in pieces. */
export function freeEveryOther(machine: Machine, seed: number): void {
  const { allocator } = machine.kernel;
  const rng = new Rng(seed);
  const [stays, ends] = ["stays", "ends"].map((name) => machine.spawn(name).threads[0]!);
  const left = allocator.freePages * LEFT;
  for (let place = 0; allocator.freePages > left; place++) {
    writeSmallArea(machine, stays!, place, rng);
    writeSmallArea(machine, ends!, place, rng);
  }
  machine.exit(ends!.process, 0);
}
