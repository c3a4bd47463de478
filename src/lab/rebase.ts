/**
 * Fits a recording into a smaller address space: a 64-bit program on a 32-bit machine. Areas keep their order and their
 * offset within a leaf table, and areas that had no leaf table in common have none here, so that leaf tables are as
 * many as such a program would need there; only the empty space between areas shrinks.
 */
import { UsageError } from "../base/errors.ts";
import { formatSize } from "../base/size-text.ts";
import { PAGE_SIZE, type Vaddr, type Vpn } from "../base/units.ts";
import { Ranges } from "./import/ranges.ts";
import type { TraceEvent } from "./trace/event.ts";
import type { TraceInput } from "./trace-input.ts";

/** A trace that cannot run on this machine, although another could take it. */
export class TraceDoesNotFit extends UsageError {}

/** How a replay translates the addresses of a trace. */
export interface AddressMap {
  page(page: Vpn): Vpn;
  address(address: Vaddr): Vaddr;
  /** The pages of a chunk's dictionary; may be the same array. */
  pages(pages: Float64Array): Float64Array;
  /** For the report; null if nothing moved. */
  readonly report: { readonly regions: number; readonly movedBytes: number; readonly sentence: string } | null;
}

/** Every address stays. */
export const unmoved: AddressMap = {
  page: (page) => page,
  address: (address) => address,
  pages: (pages) => pages,
  report: null,
};

/** Pages above every user address space are the kernel's own (vsyscall): no area of the program's. */
export const USER_END: Vpn = 2 ** 56 / PAGE_SIZE;
/** Room that is kept free below a stack, for its guard. */
const STACK_ROOM_PAGES = 512;
/** The lowest page that is used: below, nothing may be mapped. */
const LOWEST_PAGE: Vpn = 0x10000 / PAGE_SIZE + 16;
/** Stands for addresses that the program never mapped. */
const NOWHERE_PAGE: Vpn = 1;

/** What a trace uses of the address space, all processes together. */
export interface Survey {
  readonly used: Ranges;
  /** First pages of stacks. */
  readonly stacks: readonly Vpn[];
}

/** Reads a trace through for the areas and pages that it uses. */
export async function surveyTrace(input: TraceInput): Promise<Survey> {
  const used = new Ranges();
  const stacks: Vpn[] = [];
  const add = (start: Vaddr, lengthBytes: number): void => {
    const first = Math.floor(start / PAGE_SIZE);
    if (first < USER_END) used.add(first, Math.ceil((start + lengthBytes) / PAGE_SIZE));
  };
  for await (const chunk of input.open().chunks()) {
    for (const page of chunk.pages) if (page < USER_END && !used.has(page)) used.add(page, page + 1);
    for (const event of chunk.events) surveyEvent(event, add, stacks);
  }
  return { used, stacks };
}

function surveyEvent(event: TraceEvent, add: (start: Vaddr, lengthBytes: number) => void, stacks: Vpn[]): void {
  if (event.op === "start" || event.op === "exec") {
    for (const { start, end, what } of event.regions) {
      add(start, end - start);
      if (what === "stack") stacks.push(Math.floor(start / PAGE_SIZE));
    }
    if (event.brk > 0) add(event.brk, 1);
  } else if (event.op === "kernel-access") {
    add(event.address, event.lengthBytes);
  } else if (event.op === "call" && event.result >= 0) {
    const { name, args, result } = event;
    if (name === "mmap") add(result, args[1]);
    else if (name === "mremap") add(result, args[2]);
    else if (name === "shmat") add(result, event.file?.sizeBytes ?? PAGE_SIZE);
    else if (name === "brk" && result > 0) add(result - 1, 1);
  }
}

/**
 * The map that fits `survey` below `taskEnd`, for leaf tables of `span` pages. Throws TraceDoesNotFit, saying how much
 * is needed, if it does not fit.
 */
export function rebase(survey: Survey, taskEnd: Vpn, span: number, name: string): AddressMap {
  const ranges = survey.used.within(0, USER_END);
  const last = ranges.at(-1);
  if (last === undefined || last[1] <= taskEnd) return unmoved;
  const starts = new Float64Array(ranges.length);
  const targets = new Float64Array(ranges.length);
  const ends = new Float64Array(ranges.length);
  let sourceEnd = 0;
  let targetEnd = LOWEST_PAGE;
  let moved = 0;
  ranges.forEach(([start, end], i) => {
    const isStack = survey.stacks.some((page) => page >= start && page < end);
    const room = Math.min(start - sourceEnd, isStack ? STACK_ROOM_PAGES : 1);
    let target = congruent(targetEnd + room, start, span);
    const shared = Math.floor((sourceEnd - 1) / span) === Math.floor(start / span);
    if (!shared && Math.floor((targetEnd - 1) / span) === Math.floor(target / span)) target += span;
    starts[i] = start;
    ends[i] = end;
    targets[i] = target;
    if (target !== start) moved += (end - start) * PAGE_SIZE;
    sourceEnd = end;
    targetEnd = target + (end - start);
  });
  if (targetEnd > taskEnd) {
    throw new TraceDoesNotFit(
      `${name}: its areas need ${formatSize(targetEnd * PAGE_SIZE)} of address space, and a process here has ` +
        `${formatSize(taskEnd * PAGE_SIZE)}: it is too large for this machine`,
    );
  }
  return new RebasedMap({ starts, ends, targets }, moved, taskEnd);
}

/** The first page from `from` on with the same offset within a leaf table as `page`. */
function congruent(from: Vpn, page: Vpn, span: number): Vpn {
  return from + ((((page - from) % span) + span) % span);
}

interface Moves {
  readonly starts: Float64Array;
  readonly ends: Float64Array;
  readonly targets: Float64Array;
}

class RebasedMap implements AddressMap {
  readonly report: { readonly regions: number; readonly movedBytes: number; readonly sentence: string };
  private readonly moves: Moves;
  private last = 0;

  constructor(moves: Moves, movedBytes: number, taskEnd: Vpn) {
    this.moves = moves;
    const regions = moves.starts.length;
    this.report = {
      regions,
      movedBytes,
      sentence: `addresses are rebased: ${regions} areas of the recording lie below ${formatSize(taskEnd * PAGE_SIZE)}, in their order and at their offsets within leaf tables`,
    };
  }

  page(page: Vpn): Vpn {
    const { starts, ends, targets } = this.moves;
    let at = this.last;
    if (page < starts[at] || page >= ends[at]) {
      at = this.before(page);
      if (at < 0 || page > ends[at]) return NOWHERE_PAGE;
      this.last = at;
    }
    return targets[at] + (page - starts[at]);
  }

  address(address: Vaddr): Vaddr {
    if (address === 0) return 0;
    const page = Math.floor(address / PAGE_SIZE);
    return this.page(page) * PAGE_SIZE + (address - page * PAGE_SIZE);
  }

  pages(pages: Float64Array): Float64Array {
    return pages.map((page) => this.page(page));
  }

  /** The last range that starts at or before `page`; -1 if none does. */
  private before(page: Vpn): number {
    const { starts } = this.moves;
    let low = 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (starts[middle] <= page) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
