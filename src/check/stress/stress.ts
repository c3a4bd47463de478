/**
 * A mixed stress of one kernel: programs that map, touch, protect, unmap, fork, exec and exit at random, on all CPUs at
 * once, with the scheduler choosing at random who goes on. Each program knows what its private pages must hold, and looks.
 * Now and then everybody stops between two operations, and the machine is audited.
 */
import { bug } from "../../base/errors.ts";
import { Rng } from "../../base/rng.ts";
import { addressOf, type Vpn } from "../../base/units.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import { OpenFile } from "../../mm/file.ts";
import type { Thread } from "../../mm/process.ts";
import { runKswapd } from "../../mm/reclaim/make-room.ts";
import { type Path, point, type Wait } from "../../sync/path.ts";
import { LockGraph } from "../../sync/validator.ts";
import { requireClean } from "../audit/audit.ts";
import { Interleaving } from "../schedules/interleaving.ts";
import { type StressKernel, stressSpec } from "./kernels.ts";

export interface Stressed {
  readonly kernel: StressKernel;
  readonly operations: number;
  readonly faults: number;
  readonly switches: number;
  readonly interrupts: number;
  readonly forks: number;
  readonly audits: number;
  /** Pages that went to swap, and that came back. */
  readonly pagesOut: number;
  readonly pagesIn: number;
  readonly lockOrders: readonly string[];
  /** Changes with any difference between two runs. */
  readonly digest: string;
}

export interface StressLength {
  readonly operations: number;
  readonly audits: number;
  readonly seed: number;
  /** Whether kswapd has a turn now and then and must take all that it can; left out: it never has one. */
  readonly reclaim?: "always";
}

/** Where programs map; regions lie so that two leaf tables are used, and more of the second level with PAE. */
const FIRST: Vpn = 0x1_0000 - 16;
const REGIONS = 8;
const REGION_PAGES = 4;
const FILE_PAGES = 16;
/** Processes with a thread on each of two CPUs, which live as long as the run. */
const SHARED_BY_THREADS = 2;
const MOST_CHILDREN = 6;

/** The size of the swap area, where pages are reclaimed. */
const SWAP = "16M";

const READ_WRITE = 3;
const READ_ONLY = 1;
const PRIVATE_ANONYMOUS = 0x32;
const SHARED_FILE = 0x11;

/** What a program of one thread knows of its memory, by page; without it, nothing is known. */
type Contents = Map<Vpn, number>;

/** How often each operation comes, in parts of their sum. */
const weights = [
  ["store", 36],
  ["load", 24],
  ["mmap", 12],
  ["munmap", 10],
  ["mprotect", 5],
  ["file", 5],
  ["discard", 3],
  ["fork", 3],
  ["exec", 1],
  ["exit", 1],
] as const;
type Operation = (typeof weights)[number][0];
const TOTAL_WEIGHT = weights.reduce((sum, [, weight]) => sum + weight, 0);

/** Runs the kernel for so many operations; a law that does not hold is a KernelBug. */
export function stress(kernel: StressKernel, length: StressLength): Stressed {
  return new Stress(kernel, length).run();
}

class Stress extends Interleaving {
  private readonly stressed: StressKernel;
  private readonly length: StressLength;
  private readonly rng: Rng;
  private readonly file: OpenFile;
  private operations = 0;
  private children = 0;
  private parked = 0;
  private isPaused = false;
  private digest = 0;

  constructor(stressed: StressKernel, length: StressLength) {
    super(stressSpec(stressed, length.seed, length.reclaim === undefined ? [] : SWAP), {
      preemption: stressed.preemption,
      lockGraph: new LockGraph(),
      keeps: "nothing",
    });
    this.stressed = stressed;
    this.length = length;
    this.rng = new Rng(length.seed);
    const sizeBytes = addressOf(FILE_PAGES);
    this.file = new OpenFile(this.kernel.files.create({ name: "data", kind: "shmem", sizeBytes }), "read-write");
  }

  run(): Stressed {
    this.start();
    for (let audits = 1; audits <= this.length.audits; audits++) {
      this.runUntil(Math.floor((this.length.operations * audits) / this.length.audits));
      this.audit(audits);
    }
    const { counters } = this.kernel;
    return {
      kernel: this.stressed,
      operations: this.operations,
      faults: counters.minorFaults + counters.majorFaults,
      switches: this.scheduler.switches,
      interrupts: this.scheduler.interrupted,
      forks: counters.forks,
      audits: this.length.audits,
      pagesOut: this.kernel.swap.costs.pagesOut,
      pagesIn: this.kernel.swap.costs.pagesIn,
      lockOrders: this.lockGraph.orders,
      digest: (this.digest >>> 0).toString(16).padStart(8, "0"),
    };
  }

  private start(): void {
    const { cpus } = this.stressed;
    for (let at = 0; at < SHARED_BY_THREADS; at++) {
      const process = this.machine.spawn(`server ${at}`);
      const second = this.machine.spawnThread(process);
      const threads = [process.threads[0]!, typeof second === "number" ? bug("no memory for a thread") : second];
      threads.forEach((thread, which) => {
        thread.cpu = (2 * at + which) % cpus;
        this.scheduler.add(thread, this.live(thread, null));
      });
    }
    if (this.length.reclaim !== undefined) this.kernelTask("kswapd", 0, this.reclaimAll());
    this.interleave();
  }

  /** kswapd, on a machine where no zone ever has enough. */
  private *reclaimAll(): Path<void> {
    const { kernel } = this;
    for (const zone of kernel.allocator.zones) zone.high = zone.present;
    for (;;) {
      if (this.isPaused) yield* this.park();
      yield point("its next turn", "user");
      yield* runKswapd(kernel);
    }
  }

  /** Steps, chosen at random, until so many operations have been begun; then until all programs stand between two. */
  private runUntil(operations: number): void {
    const { scheduler, rng } = this;
    this.isPaused = false;
    for (let step = 1; ; step++) {
      if (this.operations >= operations) this.isPaused = true;
      const able = scheduler.choices();
      if (able.length === 0) break;
      scheduler.step(able[rng.below(able.length)]!);
      if (step % 64 === 0) scheduler.reap();
    }
    scheduler.reap();
    if (scheduler.tasks !== this.parked) bug(`deadlock: ${scheduler.deadlock() ?? "nobody can go on"}`);
  }

  private audit(number: number): void {
    const { findings } = this.scheduler.validator;
    if (findings.length > 0) bug(`${this.stressed.row}, ${this.stressed.highmem.name}: ${findings.join("; ")}`);
    const cycle = this.lockGraph.cycle();
    if (cycle.length > 0) bug(`locks are taken in a circle: ${cycle.join("; ")}`);
    const { processes } = this.machine;
    const living = processes.filter(({ state }) => state === "alive");
    processes.splice(0, processes.length, ...living);
    requireClean(this.machine, `at audit ${number} of ${this.stressed.highmem.name}, ${this.stressed.row}`);
    this.mix(this.kernel.counters.minorFaults);
    this.mix(this.scheduler.switches);
  }

  /** A program: operation after operation, until it exits. */
  private *live(thread: Thread, contents: Contents | null): Path<void> {
    for (;;) {
      if (this.isPaused) yield* this.park();
      this.operations++;
      const operation = this.nextOperation();
      if (operation === "exit") {
        if (contents === null || this.children < 2) continue;
        this.children--;
        yield* this.exit(thread.process);
        return;
      }
      yield* this.perform(thread, contents, operation);
    }
  }

  private *park(): Path<void> {
    this.parked++;
    const goesOn: Wait = { on: "the audit", ready: () => !this.isPaused };
    yield goesOn;
    this.parked--;
  }

  private *perform(thread: Thread, contents: Contents | null, operation: Exclude<Operation, "exit">): Path<void> {
    const region = FIRST + this.rng.below(REGIONS) * REGION_PAGES;
    const page = region + this.rng.below(REGION_PAGES);
    switch (operation) {
      case "store":
        return yield* this.storeAndNote(thread, contents, page);
      case "load":
        return yield* this.loadAndCompare(thread, contents, page);
      case "mmap":
        yield* this.mapRegion(thread, region, null);
        return fill(contents, region, 0);
      case "file":
        yield* this.mapRegion(thread, region, this.file);
        return fill(contents, region, undefined);
      case "munmap":
        yield* this.munmap(thread, region, REGION_PAGES);
        return fill(contents, region, undefined);
      case "mprotect":
        yield* this.call(thread, "mprotect", [addressOf(page), addressOf(1), this.rng.pick([READ_ONLY, READ_WRITE])]);
        return;
      case "discard":
        return yield* this.discard(thread, contents, page);
      case "fork":
        return yield* this.forkChild(thread, contents);
      case "exec":
        if (contents === null) return;
        yield* this.exec(thread);
        contents.clear();
    }
  }

  private *storeAndNote(thread: Thread, contents: Contents | null, page: Vpn): Path<void> {
    const value = 1 + this.rng.below(255);
    const verdict = yield* this.access(thread, page, STORE, () => this.poke(thread, page, value));
    this.mix(verdict);
    if (verdict === 0 && contents?.has(page) === true) contents.set(page, value);
  }

  private *loadAndCompare(thread: Thread, contents: Contents | null, page: Vpn): Path<void> {
    let value = -1;
    const verdict = yield* this.access(thread, page, LOAD, () => {
      value = this.peek(thread, page);
    });
    this.mix(value);
    const expected = contents?.get(page);
    if (verdict === 0 && expected !== undefined && value !== expected)
      bug(`${thread.name} reads ${value} at page 0x${page.toString(16)}, and wrote ${expected}`);
  }

  private *mapRegion(thread: Thread, region: Vpn, file: OpenFile | null): Path<void> {
    const flags = file === null ? PRIVATE_ANONYMOUS : SHARED_FILE;
    const offset = addressOf(this.rng.below(FILE_PAGES - REGION_PAGES));
    const args = [addressOf(region), addressOf(REGION_PAGES), READ_WRITE, flags, file, file === null ? 0 : offset];
    const result = yield* this.call(thread, "mmap", args);
    if (result < 0) bug(`${thread.name}: mmap fails with ${result}`);
  }

  /** MADV_DONTNEED: what was there reads as zero. */
  private *discard(thread: Thread, contents: Contents | null, page: Vpn): Path<void> {
    const MADV_DONTNEED = 4;
    const result = yield* this.call(thread, "madvise", [addressOf(page), addressOf(1), MADV_DONTNEED]);
    if (result === 0 && contents?.has(page) === true) contents.set(page, 0);
  }

  /** A child of one thread. It knows its memory if the parent did, or from the moment on at which it maps it anew. */
  private *forkChild(thread: Thread, contents: Contents | null): Path<void> {
    if (this.children >= MOST_CHILDREN) return;
    this.children++;
    const child = yield* this.fork(thread);
    if (child === null) {
      this.children--;
      return;
    }
    child.cpu = this.rng.below(this.stressed.cpus);
    this.scheduler.add(child, this.live(child, new Map(contents ?? [])));
  }

  private nextOperation(): Operation {
    let at = this.rng.below(TOTAL_WEIGHT);
    for (const [operation, weight] of weights) {
      at -= weight;
      if (at < 0) return operation;
    }
    return "load";
  }

  private mix(value: number): void {
    this.digest = Math.imul(this.digest ^ value, 0x0100_0193) + 0x9e37;
  }
}

/** All pages of a region hold `value`, or (undefined) nothing is known of them. */
function fill(contents: Contents | null, region: Vpn, value: number | undefined): void {
  for (let page = region; page < region + REGION_PAGES; page++) {
    if (value === undefined) contents?.delete(page);
    else contents?.set(page, value);
  }
}
