/**
 * The state notation: areas, page-table entries and frames of a machine as text, the same in tests, in dumps and in the
 * steps of a trace.
 *
 *     parent  VMA  0x08000..0x08003 rw-p anon
 *             PTE  0x08000 -> frame 17 r--  ad  2 maps
 *             PTE  0x08001 -> swap 3
 *     child   VMA  0x08000..0x08003 rw-p anon
 *             PTE  0x08000 -> frame 17 r--  a-  2 maps
 *     frame 17  normal  refs 2  anon  active
 *
 * Areas and entries are by page number. Neighbouring entries that differ only in following frames are one line, and so are
 * those that name following places in swap or in a file. Where there are several swap areas, a place is `swap 1:3`. A frame
 * without a struct page is `raw 65536`.
 */
import type { Pfn, Vpn } from "../base/units.ts";
import {
  type OpenTable,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_FILE,
  PTE_NO_EXECUTE,
  PTE_PRESENT,
  PTE_PROT_NONE,
  PTE_SWAP,
  PTE_WRITE,
} from "../hw/pte.ts";
import * as frameBits from "../mm/frames.ts";
import type { Kernel } from "../mm/kernel.ts";
import type { Process } from "../mm/process.ts";
import type { Vma } from "../mm/vma.ts";
import * as vm from "../mm/vma.ts";
import { hasNoStructPage, holdsFrame, walkTables } from "./page-walk.ts";
import { permissions } from "./smaps.ts";

/** What has a state to describe: a machine, or a part of one. */
export interface Described {
  readonly kernel: Kernel;
  readonly processes: Iterable<Process>;
}

/** What to leave out. */
export interface Selection {
  /** Only these pages, `[first, end)`. */
  readonly pages?: { readonly first: Vpn; readonly end: Vpn };
  /** Only these processes. */
  readonly pids?: ReadonlySet<number>;
}

/** The state of a machine, in the notation above; ends with a newline unless there is nothing to say. */
export const describe = (described: Described, selection: Selection = {}): string =>
  described.kernel.structPages.aside(() => describeAside(described, selection));

function describeAside(described: Described, selection: Selection): string {
  const { kernel } = described;
  const shown = new Set<Pfn>();
  const processes = [...described.processes].filter(
    ({ state, pid }) => state === "alive" && (selection.pids?.has(pid) ?? true),
  );
  const width = Math.max(0, ...processes.map(({ name }) => name.length)) + 2;
  const lines: string[] = [];
  for (const process of processes) {
    describeSpace(kernel, process, selection, shown).forEach((line, at) => {
      lines.push((at === 0 ? process.name : "").padEnd(width) + line);
    });
  }
  lines.push(...describeFrames(kernel, shown));
  return lines.map((line) => `${line.trimEnd()}\n`).join("");
}

function describeSpace(kernel: Kernel, { mm }: Process, { pages }: Selection, shown: Set<Pfn>): string[] {
  const first = pages?.first ?? 0;
  const end = pages?.end ?? kernel.layout.taskEnd;
  const lines: string[] = [];
  let covered = first;
  for (const vma of mm.vmas) {
    if (vma.end <= first || vma.start >= end) continue;
    // Entries outside every area are a bug, and the dump shows them.
    lines.push(...describeEntries(kernel, mm.root, covered, Math.max(covered, vma.start), shown));
    lines.push(`VMA  ${describeArea(vma)}`);
    lines.push(...describeEntries(kernel, mm.root, Math.max(first, vma.start), Math.min(end, vma.end), shown));
    covered = vma.end;
  }
  lines.push(...describeEntries(kernel, mm.root, covered, end, shown));
  return lines;
}

/** `0x08000..0x08003 rw-p anon locked`. */
export function describeArea(vma: Vma): string {
  const words = [`${hexPage(vma.start)}..${hexPage(vma.end)}`, permissions(vma), backing(vma)];
  for (const [bit, word] of areaWords) if ((vma.flags & bit) !== 0) words.push(word);
  return words.join(" ");
}

const areaWords: readonly (readonly [number, string])[] = [
  [vm.VM_GROWSDOWN, "grows-down"],
  [vm.VM_LOCKED, "locked"],
  [vm.VM_LOCKONFAULT, "on-fault"],
  [vm.VM_DONTCOPY, "not-forked"],
  [vm.VM_WIPEONFORK, "wiped-on-fork"],
  [vm.VM_NORESERVE, "no-reserve"],
  [vm.VM_NONLINEAR, "nonlinear"],
  [vm.VM_PFNMAP, "pfnmap"],
  [vm.VM_MIXEDMAP, "mixed"],
];

function backing(vma: Vma): string {
  if (vma.file === null) return "anon";
  return vma.fileIndex === 0 ? vma.file.name : `${vma.file.name}+${vma.fileIndex}`;
}

/** One line for a run of entries. */
interface Run {
  readonly page: Vpn;
  pages: number;
  /** What the entries hold or name: "frame ", "swap ", and the number of the first; or NO_NUMBER, where there is none. */
  readonly target: string;
  readonly first: number;
  readonly large: number;
  readonly rest: string;
}

const NO_NUMBER = -1;
const FRAME = "frame ";

function describeEntries(kernel: Kernel, root: Pfn, first: Vpn, end: Vpn, shown: Set<Pfn>): string[] {
  if (first >= end) return [];
  const runs: Run[] = [];
  walkTables(kernel, root, first, end, {
    leaf: (page, table, index, level, limits) => {
      const run = describeEntry(kernel, page, table, index, level, limits);
      const last = runs[runs.length - 1];
      if (run.target === FRAME) shown.add(kernel.frames.head(run.first));
      if (last !== undefined && continues(last, run)) last.pages++;
      else runs.push(run);
    },
  });
  return runs.map(formatRun);
}

/** `limits`: PTE_WRITE, or 0 where the entries above forbid writes. */
function describeEntry(kernel: Kernel, page: Vpn, table: OpenTable, index: number, level: number, limits: number): Run {
  const { entries, frames } = kernel;
  const flags = entries.flags(table, index) & (limits | ~PTE_WRITE);
  const large = level === 1 ? 0 : kernel.format.entrySpan(level);
  if (holdsFrame(flags)) {
    const frame = entries.frame(table, index);
    const zero = frame === kernel.zeroFrame || frame === kernel.transparent.pages.zeroHead;
    if (hasNoStructPage(kernel, frame)) {
      return {
        page,
        pages: 1,
        target: "raw ",
        first: frame,
        large,
        rest: `${entryRights(kernel, flags)}  ${usesOf(flags)}`,
      };
    }
    const maps = frames.mapCount.read(frames.head(frame));
    const count = zero ? "" : `  ${maps} map${maps === 1 ? "" : "s"}`;
    const rest = `${entryRights(kernel, flags)}  ${usesOf(flags)}${count}${large === 0 ? "" : `  ${large} pages`}`;
    return { page, pages: 1, target: zero ? "zero page" : FRAME, first: zero ? NO_NUMBER : frame, large, rest };
  }
  const none = { page, pages: 1, large: 0, rest: "" };
  if ((flags & PTE_SWAP) !== 0) {
    return {
      ...none,
      target: swapWord(kernel, entries.swapType(table, index)),
      first: entries.swapOffset(table, index),
    };
  }
  if ((flags & PTE_FILE) !== 0) return { ...none, target: "file index ", first: entries.fileIndex(table, index) };
  return { ...none, target: "nothing known", first: NO_NUMBER };
}

/** What the MMU has noted. */
const usesOf = (flags: number): string =>
  ((flags & PTE_ACCESSED) !== 0 ? "a" : "-") + ((flags & PTE_DIRTY) !== 0 ? "d" : "-");

/** `swap `, before an offset in the only area; `swap 1:` where there are several. */
const swapWord = ({ swap }: Kernel, type: number): string => (swap.areas.length > 1 ? `swap ${type}:` : "swap ");

function continues(last: Run, run: Run): boolean {
  if (run.large !== 0 || last.large !== 0 || run.page !== last.page + last.pages) return false;
  if (run.target !== last.target || run.rest !== last.rest) return false;
  return run.first === (run.first === NO_NUMBER ? last.first : last.first + last.pages);
}

function formatRun({ page, pages, first, target, rest }: Run): string {
  const from = pages === 1 ? hexPage(page) : `${hexPage(page)}..${hexPage(page + pages)}`;
  const numbers = first === NO_NUMBER ? "" : pages === 1 ? `${first}` : `${first}..${first + pages - 1}`;
  return `PTE  ${from} -> ${target === FRAME && pages > 1 ? "frames " : target}${numbers} ${rest}`;
}

function entryRights({ format }: Kernel, flags: number): string {
  if ((flags & PTE_PROT_NONE) !== 0 || (flags & PTE_PRESENT) === 0) return "---";
  const execute = format.hasNoExecute && (flags & PTE_NO_EXECUTE) === 0;
  return `r${(flags & PTE_WRITE) !== 0 ? "w" : "-"}${execute ? "x" : "-"}`;
}

function describeFrames(kernel: Kernel, shown: ReadonlySet<Pfn>): string[] {
  const lines: string[] = [];
  const sorted = [...shown].sort((a, b) => a - b);
  for (let at = 0; at < sorted.length; ) {
    const frame = sorted[at]!;
    const text = describeFrame(kernel, frame, 0);
    let next = at + 1;
    while (sorted[next] === frame + next - at && describeFrame(kernel, sorted[next]!, next - at) === text) next++;
    lines.push(next - at === 1 ? `frame ${frame}  ${text}` : `frames ${frame}..${frame + next - at - 1}  ${text}`);
    at = next;
  }
  return lines;
}

/** A frame's state, as text; of a run's later frames, `past` frames from its first, with the index counted back. */
function describeFrame(kernel: Kernel, frame: Pfn, past: number): string {
  const { frames } = kernel;
  const flags = frames.flags.read(frame);
  const zone = kernel.rawMemory.has(frame) ? "segment" : kernel.allocator.zoneOf(frame).name.toLowerCase();
  const words = [zone, `refs ${frames.refs.read(frame)}`];
  if ((flags & frameBits.PG_ANON) !== 0) words.push("anon");
  else if (frames.mapping.read(frame) !== 0) words.push(filePlace(kernel, frame, past));
  const say = (marks: readonly (readonly [number, string])[]) => {
    for (const [bit, word] of marks) if ((flags & bit) !== 0) words.push(word);
  };
  say(contentWords);
  if ((flags & frameBits.PG_LRU) !== 0) words.push((flags & frameBits.PG_ACTIVE) !== 0 ? "active" : "inactive");
  say(stateWords);
  if ((flags & frameBits.PG_SWAPCACHE) !== 0) {
    const { type, offset } = kernel.swap.placeOf(frames.swapSlot.read(frame));
    words.push(`${swapWord(kernel, type)}${offset - past}`);
  }
  return words.join("  ");
}

function filePlace({ frames, files }: Kernel, frame: Pfn, past: number): string {
  const index = frames.index.read(frame) - past;
  return `${files.byId(frames.mapping.read(frame)).name}+${index}`;
}

const contentWords: readonly (readonly [number, string])[] = [
  [frameBits.PG_EXCLUSIVE, "exclusive"],
  [frameBits.PG_DIRTY, "dirty"],
];

const stateWords: readonly (readonly [number, string])[] = [
  [frameBits.PG_REFERENCED, "referenced"],
  [frameBits.PG_MLOCKED, "mlocked"],
  [frameBits.PG_LOCKED, "locked"],
  [frameBits.PG_WRITEBACK, "writeback"],
  [frameBits.PG_RESERVED, "reserved"],
  [frameBits.PG_PART, "huge"],
];

const hexPage = (page: Vpn): string => `0x${page.toString(16).padStart(5, "0")}`;
