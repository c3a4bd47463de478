/**
 * Replays a trace on a machine. Between two events lies one loop over the chunk's words that asks the MMU and does
 * nothing else; everything that is not an access that succeeds at once leaves it.
 */
import type { Vpn } from "../base/units.ts";
import { addressOf, PAGE_SIZE } from "../base/units.ts";
import { type Access, FETCH } from "../hw/access.ts";
import type { Mmu } from "../hw/mmu.ts";
import type { Machine } from "../machine.ts";
import {
  BUS_ADRERR,
  ERROR_PRESENT,
  FAULT_OOM,
  handleFaultAlone,
  isRepaired,
  SEGV_MAPERR,
  type Verdict,
} from "../mm/fault.ts";
import type { Thread } from "../mm/process.ts";
import { type AddressMap, unmoved } from "./rebase.ts";
import { ReplayedTasks } from "./replay-tasks.ts";
import type { Difference, SignalReport } from "./report.ts";
import { type MemorySnapshot, memorySnapshot, pageTablesBytes } from "./snapshot.ts";
import { TouchedRecords } from "./touched-records.ts";
import { accessesIn, type Chunk, type ChunkSource } from "./trace/chunk.ts";
import type { TraceEvent } from "./trace/event.ts";
import { KIND_MASK, PAGE_INDEX_SHIFT, recordKind } from "./trace/format.ts";

/** So many signals and differences are described one by one. */
const DESCRIBED = 20;

const SIGKILL = 9;
const SIGBUS = 7;
const SIGSEGV = 11;

/** Something that happens in a replay beside accesses that simply succeed: a fault, or an event of the trace. */
export interface Operation {
  /** From 0, over faults and events. */
  readonly number: number;
  /** The record of the trace. */
  readonly record: number;
  readonly thread: Thread | undefined;
  /** The event; of a fault, the page and what the access wanted. */
  readonly what: TraceEvent | { readonly op: "fault"; readonly page: Vpn; readonly kind: Access };
}

/** Watches a replay, operation by operation. */
export interface ReplayObserver {
  before(operation: Operation): void;
  after(operation: Operation): void;
}

export interface ReplayOptions {
  readonly observer?: ReplayObserver;
  readonly map?: AddressMap;
  /** Told now and then how far it is. */
  readonly progress?: (records: number, accesses: number) => void;
}

/** What a replay found, beside what the machine counted. */
export interface ReplayResult {
  readonly records: number;
  /** Accesses that the replayed records stand for. */
  readonly accesses: number;
  readonly kernelAccesses: number;
  readonly skippedAccesses: number;
  readonly signals: readonly SignalReport[];
  readonly signalCount: number;
  readonly differences: readonly Difference[];
  readonly differenceCount: number;
  readonly calls: number;
  /** Changes of translations while runs were open that may hide a miss. */
  readonly changesInOpenRuns: number;
  readonly peak: MemorySnapshot;
  readonly end: MemorySnapshot;
}

/** Events that may free page tables: the peak is taken before them. */
const mayFree: ReadonlySet<string> = new Set(["munmap", "mmap", "mremap", "brk", "shmdt", "madvise"]);

/** Replays `source` to its end. */
export async function replay(
  machine: Machine,
  source: ChunkSource,
  options: ReplayOptions = {},
): Promise<ReplayResult> {
  const header = await source.header();
  const run = new Replay(machine, header.sets, options.map ?? unmoved, options.observer);
  for await (const chunk of source.chunks()) {
    run.chunk(chunk);
    options.progress?.(run.records, run.accesses);
  }
  return run.result();
}

export class Replay {
  records = 0;
  accesses = 0;
  private readonly machine: Machine;
  private readonly sets: number;
  private readonly map: AddressMap;
  private readonly tasks: ReplayedTasks;
  private readonly touched: TouchedRecords;
  private readonly signals: SignalReport[] = [];
  private signalCount = 0;
  private skipped = 0;
  private changesInOpenRuns = 0;
  private readonly observer: ReplayObserver | undefined;
  private operations = 0;
  /** So many of the machine's victims are noted. */
  private victims = 0;
  private peak: MemorySnapshot | undefined;
  private peakBytes = -1;
  // The records since the last event: whose fetches may be open runs.
  private words = new Uint32Array(0);
  private pages = new Float64Array(0);
  private scanned = 0;
  private readonly fetched = new Set<Vpn>();

  constructor(machine: Machine, sets: number, map: AddressMap, observer?: ReplayObserver) {
    this.observer = observer;
    this.machine = machine;
    this.sets = sets;
    this.map = map;
    this.tasks = new ReplayedTasks(machine, map, DESCRIBED);
    this.touched = new TouchedRecords(machine.kernel);
  }

  /** Replays one chunk. */
  chunk(chunk: Chunk): void {
    const { words, events, eventAt } = chunk;
    this.words = words as Uint32Array<ArrayBuffer>;
    this.pages = this.map.pages(chunk.pages) as Float64Array<ArrayBuffer>;
    this.tasks.enter(chunk.thread);
    this.touched.begin(words, this.pages);
    let from = 0;
    for (let i = 0; i < events.length; i++) {
      this.segment(from, eventAt[i]);
      from = eventAt[i] + 1;
      this.records++;
      this.event(events[i]);
    }
    this.segment(from, words.length);
    this.accesses += chunk.accesses;
  }

  result(): ReplayResult {
    this.notePeak();
    const { kernel } = this.machine;
    const end = memorySnapshot(kernel);
    return {
      records: this.records,
      accesses: this.accesses - this.skipped,
      kernelAccesses: this.tasks.kernelAccesses,
      skippedAccesses: this.skipped,
      signals: this.signals,
      signalCount: this.signalCount,
      differences: this.tasks.differences,
      differenceCount: this.tasks.differenceCount,
      calls: this.tasks.calls,
      changesInOpenRuns: this.changesInOpenRuns,
      peak: this.peak ?? end,
      end,
    };
  }

  /** The records between two events: one thread's accesses. */
  private segment(from: number, end: number): void {
    if (from >= end) return;
    const { thread } = this.tasks;
    this.scanned = from;
    this.fetched.clear();
    let at = from;
    if (thread !== undefined) {
      this.machine.switchTo(thread);
      this.touched.skipTo(from);
      const { mmu } = this.machine.cpus[thread.cpu];
      const { words, pages } = this;
      for (at = touchAll(mmu, words, pages, from, end); at < end; at = touchAll(mmu, words, pages, at + 1, end)) {
        if (!this.observedFault(thread, mmu, from, at)) break;
      }
      if (thread.process.state === "alive") this.touched.noteUntil(thread, at);
    }
    if (at < end) this.skipped += accessesIn(this.words.subarray(at, end));
    this.records += end - from;
  }

  private observedFault(thread: Thread, mmu: Mmu, from: number, at: number): boolean {
    const { observer } = this;
    if (observer === undefined) return this.fault(thread, mmu, from, at);
    const word = this.words[at];
    const what = {
      op: "fault",
      page: this.pages[word >>> PAGE_INDEX_SHIFT],
      kind: recordKind(word) as Access,
    } as const;
    const operation = { number: this.operations++, record: this.records + at - from, thread, what };
    observer.before(operation);
    const goesOn = this.fault(thread, mmu, from, at);
    observer.after(operation);
    return goesOn;
  }

  /** Repairs the fault of the record at `at` and makes its access. False: a signal has ended the task. */
  private fault(thread: Thread, mmu: Mmu, from: number, at: number): boolean {
    const { kernel } = this.machine;
    const { counters } = kernel;
    const word = this.words[at];
    const page = this.pages[word >>> PAGE_INDEX_SHIFT];
    const kind = (word & KIND_MASK) as Access;
    const flushedPages = counters.tlbInvalidations;
    const flushedWhole = counters.tlbReloads;
    const wasPresent = (mmu.faultError & ERROR_PRESENT) !== 0;
    // What has been read so far may be left to others now, and copied.
    if (wasPresent) this.touched.noteUntil(thread, at);
    do {
      const verdict = handleFaultAlone(kernel, thread, addressOf(page), mmu.faultError);
      if (!isRepaired(verdict)) {
        this.touched.noteUntil(thread, at);
        this.signal(thread, verdict, page, at - from);
        this.noteVictims(this.records + at - from);
        return false;
      }
    } while (!mmu.touch(page, kind));
    this.machine.attend(thread);
    this.noteVictims(this.records + at - from);
    if (thread.process.state !== "alive") {
      this.tasks.kill(thread, SIGKILL);
      return false;
    }
    if (wasPresent || counters.tlbInvalidations !== flushedPages || counters.tlbReloads !== flushedWhole) {
      const others = counters.tlbReloads !== flushedWhole || counters.tlbInvalidations > flushedPages + 1;
      this.noteChange(page, at, others);
    }
    return true;
  }

  /**
   * A repair that changes no translation but that of the access's own page leaves every open run of loads and stores
   * exact, since the access itself has just filled the TLBs again; only a run of fetches on that page can tell.
   */
  private noteChange(page: Vpn, at: number, othersToo: boolean): void {
    if (this.sets === 0) return;
    const { words, pages, fetched } = this;
    for (; this.scanned <= at; this.scanned++) {
      const word = words[this.scanned];
      if (recordKind(word) === FETCH) fetched.add(pages[word >>> PAGE_INDEX_SHIFT]);
    }
    if (othersToo || fetched.has(page)) this.changesInOpenRuns++;
  }

  private signal(thread: Thread, verdict: Verdict, page: Vpn, offset: number): void {
    this.notePeak();
    const isKill = verdict === FAULT_OOM;
    const isBus = verdict === BUS_ADRERR;
    const why = isKill
      ? "out of memory"
      : isBus
        ? "BUS_ADRERR"
        : verdict === SEGV_MAPERR
          ? "SEGV_MAPERR"
          : "SEGV_ACCERR";
    // Who is chosen to be killed for memory is noted as such.
    if (!isKill || !thread.process.isDoomed) {
      const { process, id } = this.tasks.current;
      const signal = isKill ? "SIGKILL" : isBus ? "SIGBUS" : "SIGSEGV";
      this.report({ process, thread: id, signal, why, address: page * PAGE_SIZE, record: this.records + offset });
    }
    this.tasks.kill(thread, isKill ? SIGKILL : isBus ? SIGBUS : SIGSEGV);
  }

  /** Tells of those who were killed for their memory since the last look. */
  private noteVictims(record: number): void {
    const { oomVictims } = this.machine.kernel;
    for (; this.victims < oomVictims.length; this.victims++) {
      const { process: victim, points } = oomVictims[this.victims];
      const { process, id } = this.tasks.tracedAs(victim);
      const why = `killed for its memory, ${points} pages`;
      this.report({ process, thread: id, signal: "SIGKILL", why, address: null, record });
    }
  }

  private report(signal: SignalReport): void {
    this.signalCount++;
    if (this.signals.length < DESCRIBED) this.signals.push(signal);
  }

  private event(event: TraceEvent): void {
    if (event.op === "exit" || event.op === "exec" || (event.op === "call" && mayFree.has(event.name))) this.notePeak();
    const { observer } = this;
    const record = this.records - 1;
    const operation = { number: this.operations++, record, thread: this.tasks.thread, what: event };
    observer?.before(operation);
    this.tasks.event(event, record);
    this.noteVictims(record);
    observer?.after(operation);
  }

  private notePeak(): void {
    const { kernel } = this.machine;
    const bytes = pageTablesBytes(kernel);
    if (bytes <= this.peakBytes) return;
    this.peakBytes = bytes;
    this.peak = memorySnapshot(kernel);
  }
}

/** The hot path: touches the records' pages until one faults; returns which one, or `end`. */
function touchAll(mmu: Mmu, words: Uint32Array, pages: Float64Array, from: number, end: number): number {
  for (let i = from; i < end; i++) {
    const word = words[i];
    if (!mmu.touch(pages[word >>> PAGE_INDEX_SHIFT], word & KIND_MASK)) return i;
  }
  return end;
}
