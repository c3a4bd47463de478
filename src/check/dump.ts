/**
 * What is left when a program ends: the areas of each process with their smaps counts, the frame behind each page, the
 * contents, and the files. Frames have canonical numbers, in order of first sight over all processes, so that two
 * kernels' dumps compare and sharing shows.
 *
 *     P0 vma W+37000 W+3b000 rw-p off=0 anon rss=8 pss=4 sd=4 pd=4 an=8 [rd wr mr mw me ac sd]
 *     P0 pg  . Z 0s 1 2r         not present, the zero page, a frame that others map too, a frame of its own, one without
 *                                a struct page
 *     P0 mem  00x2 51 --         byte 0x10 of each page; -- cannot be read
 *     P0 end pte=12 rss=8 swap=0 lck=0
 *
 * Reading the contents is what /proc/PID/mem does, page faults included: so the order of the lines is part of the
 * outcome.
 */
import { PAGE_SIZE, type Pfn, pageOf, type Vaddr, type Vpn } from "../base/units.ts";
import type { Machine } from "../machine.ts";
import type { AddressSpace } from "../mm/address-space.ts";
import type { FileObject, OpenFile } from "../mm/file.ts";
import { NOT_CACHED } from "../mm/page-cache.ts";
import type { Process } from "../mm/process.ts";
import { isAttached } from "../mm/shm/segments.ts";
import type { Vma } from "../mm/vma.ts";
import { type Executor, WINDOW } from "./executor.ts";
import { entryOf, hasNoStructPage, holdsFrame } from "./page-walk.ts";
import { mappersOf, NOT_PRESENT, pagemapAt, permissions, type Smaps, smapsOf, vmFlags } from "./smaps.ts";

export interface DumpWorld {
  readonly machine: Machine;
  readonly files: readonly (OpenFile | null)[];
  readonly executor: Pick<Executor, "breakStart" | "windowBytes" | "holeBytes">;
  /** Canonical numbers given so far. */
  readonly frameNames: Map<Pfn, number>;
  readonly address: (address: Vaddr) => string;
  readonly tablesKib: (process: Process) => number;
}

/** The most pages of one area that are shown. */
const MOST_PAGES = 4096;
/** The most pages of one file that are shown. */
const MOST_FILE_PAGES = 256;
const CONTENT_OFFSET = 0x10;
/** A block of st_blocks is 512 bytes. */
const BLOCKS_PER_PAGE = 8;

/** The part of an area that is shown, with its counts as they were before anything was read. */
interface Shown {
  readonly line: string;
  readonly first: Vpn;
  readonly pages: number;
}

export function dumpProcess(world: DumpWorld, process: Process, number: number): string[] {
  const total = { rss: 0, swap: 0, locked: 0 };
  const shown: Shown[] = [];
  for (const vma of process.mm.vmas) {
    const part = showArea(world, process.mm, vma, total);
    if (part !== undefined) shown.push(part);
  }
  const lines: string[] = [];
  for (const { line, first, pages } of shown) {
    // Showing pages takes memory: it may have been killed for that.
    if (process.state !== "alive") break;
    lines.push(`P${number} vma ${line}`);
    lines.push(`P${number} pg ${pagesText(world, process.mm, first, pages)}`);
    lines.push(`P${number} mem ${contentsText(world, process, first, pages)}`);
  }
  const { rss, swap, locked } = total;
  lines.push(`P${number} end pte=${world.tablesKib(process)} rss=${rss} swap=${swap} lck=${locked}`);
  return lines;
}

function showArea(world: DumpWorld, mm: AddressSpace, vma: Vma, total: { rss: number; swap: number; locked: number }) {
  const start = vma.start * PAGE_SIZE;
  const end = vma.end * PAGE_SIZE;
  const { breakStart, windowBytes, holeBytes } = world.executor;
  const inWindow = start >= WINDOW && end <= WINDOW + windowBytes;
  const inHole = end > breakStart && start < breakStart + holeBytes;
  if (!inWindow && !inHole) return undefined;
  // The heap begins below the hole: only its part there is shown, and its counts are not.
  const cut = inHole && start < breakStart;
  const first = cut ? breakStart : start;
  const offset = cut || vma.file === null ? 0 : vma.fileIndex * PAGE_SIZE;
  let counts = "";
  if (!cut) {
    const smaps = smapsOf(world.machine.kernel, mm, vma);
    total.rss += smaps.rss;
    total.swap += smaps.swap;
    total.locked += smaps.locked;
    counts = countsText(smaps);
  }
  const range = `${world.address(first)} ${world.address(end)} ${permissions(vma)}`;
  const line = `${range} off=${offset.toString(16)} ${areaName(world, mm, vma)}${counts} [${vmFlags(world.machine.kernel, vma)}]`;
  return { line, first: pageOf(first), pages: Math.min(MOST_PAGES, (end - first) / PAGE_SIZE) };
}

const countNames: readonly (readonly [keyof Smaps, string])[] = [
  ["rss", "rss"],
  ["pss", "pss"],
  ["sharedClean", "sc"],
  ["sharedDirty", "sd"],
  ["privateClean", "pc"],
  ["privateDirty", "pd"],
  ["anonymous", "an"],
  ["swap", "swap"],
  ["locked", "lck"],
];

const countsText = (smaps: Smaps): string =>
  countNames.map(([key, name]) => (smaps[key] === 0 ? "" : ` ${name}=${smaps[key]}`)).join("");

/** What an area maps: `f0`, shared anonymous memory, the heap, or nothing. */
function areaName({ files, machine }: DumpWorld, mm: AddressSpace, vma: Vma): string {
  if (vma.file !== null) {
    const at = files.findIndex((opened) => opened?.file === vma.file);
    if (at >= 0) return `f${at}`;
    if (isAttached(vma)) return "segment";
    return vma.file.kind === "hugetlbfs" ? "hugetlb" : "shanon";
  }
  return isHeap[machine.kernel.personality.heapName](vma, mm) ? "heap" : "anon";
}

/** Which areas are called "[heap]". */
const isHeap = {
  encloses: ({ start, end }: Vma, mm: AddressSpace) => start * PAGE_SIZE <= mm.startBrk && end * PAGE_SIZE >= mm.brk,
  touches: ({ start, end }: Vma, mm: AddressSpace) => start * PAGE_SIZE <= mm.brk && end * PAGE_SIZE >= mm.startBrk,
  overlaps: ({ start, end }: Vma, mm: AddressSpace) => start * PAGE_SIZE < mm.brk && end * PAGE_SIZE > mm.startBrk,
} as const;

function pagesText(world: DumpWorld, mm: AddressSpace, first: Vpn, pages: number): string {
  const { kernel } = world.machine;
  const frames = pagemapAt(kernel, mm, first, pages);
  const texts = Array.from(frames, (frame) => frameText(world, frame));
  // Only what has no number of its own is written as a run.
  return runs(texts, (text) => text === "." || text === "Z");
}

function frameText({ machine, frameNames }: DumpWorld, frame: Pfn): string {
  const { kernel } = machine;
  if (frame === NOT_PRESENT) return ".";
  if (frame === kernel.zeroFrame || kernel.transparent.pages.isZero(frame)) return "Z";
  let name = frameNames.get(frame);
  if (name === undefined) {
    name = frameNames.size;
    frameNames.set(frame, name);
  }
  if (hasNoStructPage(kernel, frame)) return `${name}r`;
  return `${name}${mappersOf(kernel, kernel.frames.headOf(frame)) === 1 ? "" : "s"}`;
}

function contentsText(world: DumpWorld, process: Process, first: Vpn, pages: number): string {
  const bytes = Array.from({ length: pages }, (_, at) => {
    const byte = contentAt(world, process, first + at);
    return byte < 0 ? "--" : hexByte(byte);
  });
  return runs(bytes, () => true);
}

/** The byte of a page, or negative; where the page is absent, reading it makes it present. */
function contentAt({ machine }: DumpWorld, process: Process, page: Vpn): number {
  const { kernel } = machine;
  if (process.state !== "alive") return -1;
  let found = entryOf(kernel, process.mm.root, page);
  if (found === undefined || !holdsFrame(found.flags)) {
    const byte = machine.peekByte(process, page * PAGE_SIZE + CONTENT_OFFSET);
    // What has no struct page is there now, and nobody may refer to it.
    if (byte >= 0 || process.state !== "alive") return byte;
    found = entryOf(kernel, process.mm.root, page);
  }
  if (found === undefined || !holdsFrame(found.flags)) return -1;
  const inEntry = page % kernel.format.entrySpan(found.level);
  return kernel.memory.readByte(kernel.entries.frame(found.table, found.index) + inEntry, CONTENT_OFFSET);
}

/** ` 00x3 51`: equal neighbours written once. */
function runs(texts: readonly string[], mayRun: (text: string) => boolean): string {
  let line = "";
  for (let at = 0; at < texts.length; ) {
    const text = texts[at]!;
    let next = at + 1;
    if (mayRun(text)) while (next < texts.length && texts[next] === text) next++;
    line += next - at > 1 ? ` ${text}x${next - at}` : ` ${text}`;
    at = next;
  }
  return line;
}

export function dumpFile(world: DumpWorld, file: FileObject, number: number): string {
  const { kernel } = world.machine;
  let bytes = "";
  for (let page = 0; page < MOST_FILE_PAGES && page * PAGE_SIZE + CONTENT_OFFSET < file.sizeBytes; page++) {
    const frame = file.raw === null ? file.pages.find(page) : file.raw.frameOf(page);
    bytes += ` ${hexByte(frame === NOT_CACHED ? 0 : kernel.memory.readByte(frame, CONTENT_OFFSET))}`;
  }
  return `F${number} size=${file.sizeBytes} blocks=${file.pages.frameCount * BLOCKS_PER_PAGE}${bytes}`;
}

const hexByte = (byte: number): string => byte.toString(16).padStart(2, "0");
