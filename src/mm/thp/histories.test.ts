/**
 * Random histories of anonymous memory on a machine that is mostly huge pages: after every step the machine keeps its laws,
 * and every page that somebody wrote holds what was written, in each process its own.
 */
import { expect, test } from "vitest";
import { EINVAL } from "../../base/errno.ts";
import { Rng } from "../../base/rng.ts";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { requireClean } from "../../check/audit/audit.ts";
import * as advice from "../advise.ts";
import type { Thread } from "../process.ts";
import { PROT_NONE, READ, READ_WRITE, type TestMachine } from "../test-kernel.ts";
import { ThpWorld } from "./test-world.ts";

const STEPS = 100;
/** Places of huge pages: few, so that areas meet. */
const PLACES = 5;
const FIRST = 8;
const MREMAP_TO = 3;

/** Advice that leaves contents alone. */
const HARMLESS = [
  advice.MADV_HUGEPAGE,
  advice.MADV_NOHUGEPAGE,
  advice.MADV_SEQUENTIAL,
  advice.MADV_RANDOM,
  advice.MADV_COLD,
  advice.MADV_PAGEOUT,
  advice.MADV_WILLNEED,
  advice.MADV_POPULATE_READ,
  advice.MADV_POPULATE_WRITE,
  advice.MADV_COLLAPSE,
  advice.MADV_COLLAPSE,
];

class History {
  readonly world: ThpWorld;
  private readonly rng: Rng;
  private readonly unit: number;
  /** By process that lives: what its pages hold; pages that it has not are none of it. */
  private readonly alive = new Map<Thread, Map<number, number>>();

  constructor(seed: number, machine: TestMachine) {
    this.world = new ThpWorld({ frames: 6000, swap: [20_000], ...machine });
    this.unit = this.world.kernel.transparent.pages.pages;
    this.rng = new Rng(seed);
    this.alive.set(this.world.thread, new Map());
  }

  private below(limit: number): number {
    return this.rng.below(limit);
  }

  /** A page, at the start of a huge one or anywhere. */
  private get page(): number {
    const start = (FIRST + this.below(PLACES)) * this.unit;
    return this.below(3) > 0 ? start : start + this.below(this.unit);
  }

  private get pages(): number {
    return this.below(2) === 0 ? this.unit * (1 + this.below(2)) : 1 + this.below(this.unit);
  }

  step(): string {
    const { world } = this;
    const [thread, bytes] = [...this.alive][this.below(this.alive.size)]!;
    const first = this.page;
    const end = first + this.pages;
    const range = [addressOf(first), (end - first) * PAGE_SIZE] as const;
    const done = (what: string, result: number) => `${thread.process.pid} ${what} ${first}..${end} = ${result}`;
    const choice = this.below(21);
    if (choice < 4) {
      world.area(end - first, first, READ_WRITE, thread);
      for (let page = first; page < end; page++) bytes.set(page, 0);
      return done("mmap", 0);
    }
    if (choice < 9) return done("writes", this.write(thread, bytes, first, end));
    if (choice === 9) {
      const result = world.unmap(first, end - first, thread);
      for (let page = first; page < end; page++) bytes.delete(page);
      return done("munmap", result);
    }
    if (choice === 10) {
      const result = world.advise(first, end - first, advice.MADV_DONTNEED, thread);
      // Where an area is locked it ends, with those before it done.
      for (let page = first; page < end; page++) {
        if (bytes.has(page)) bytes.set(page, result === -EINVAL ? world.byteAt(page, thread) : 0);
      }
      return done("MADV_DONTNEED", result);
    }
    if (choice < 13) {
      const given = HARMLESS[this.below(HARMLESS.length)]!;
      return done(`madvise ${given}`, world.advise(first, end - first, given, thread));
    }
    if (choice === 13) {
      const prot = [PROT_NONE, READ][this.below(2)]!;
      const result = world.call("mprotect", [...range, prot], thread);
      world.call("mprotect", [...range, READ_WRITE], thread);
      return done("mprotect", result);
    }
    if (choice === 14) return done(this.below(2) === 0 ? "mlock" : "munlock", this.lock(thread, range));
    if (choice < 17) return this.move(thread, bytes, first, end);
    if (choice < 19) return this.fork(thread, bytes);
    if (choice === 20) {
      world.run(world.kernel.transparent.khugepaged.turn(world.kernel));
      return "khugepaged";
    }
    if (this.alive.size > 1) {
      world.exit(thread);
      this.alive.delete(thread);
    }
    return `${thread.process.pid} exit`;
  }

  private lock(thread: Thread, range: readonly [number, number]): number {
    const result = this.world.call("mlock", range, thread);
    return this.below(2) === 0 ? result : this.world.call("munlock", range, thread);
  }

  private write(thread: Thread, bytes: Map<number, number>, first: number, end: number): number {
    const step = 1 + this.below(100);
    let written = 0;
    for (let page = first; page < end; page += step) {
      if (!bytes.has(page)) continue;
      const byte = 1 + this.below(255);
      expect(this.world.write(page, byte, thread)).toBe(0);
      bytes.set(page, byte);
      written++;
    }
    return written;
  }

  private move(thread: Thread, bytes: Map<number, number>, first: number, end: number): string {
    const to = this.page;
    const length = (end - first) * PAGE_SIZE;
    const result = this.world.call("mremap", [addressOf(first), length, length, MREMAP_TO, addressOf(to)], thread);
    if (result >= 0) {
      const moved = Array.from({ length: end - first }, (_, at) => bytes.get(first + at));
      for (let page = first; page < end; page++) bytes.delete(page);
      moved.forEach((byte, at) => {
        if (byte === undefined) bytes.delete(to + at);
        else bytes.set(to + at, byte);
      });
    } else {
      // What was at the new place may be gone.
      for (let page = to; page < to + end - first; page++) {
        if (thread.mm.vmas.containing(page) === null) bytes.delete(page);
      }
    }
    return `${thread.process.pid} mremap ${first}..${end} to ${to} = ${result}`;
  }

  private fork(thread: Thread, bytes: Map<number, number>): string {
    if (this.alive.size > 3) return "nothing";
    const child = this.world.fork(thread);
    if (child !== null) this.alive.set(child, new Map(bytes));
    return `${thread.process.pid} fork`;
  }

  check(when: string): void {
    const { kernel } = this.world;
    requireClean({ kernel, processes: kernel.processes }, when);
    this.checkTouched(when);
  }

  /** What holds something was written by somebody. */
  private checkTouched(when: string): void {
    const { frames, memory, transparent } = this.world.kernel;
    const { touched, pages } = transparent.pages;
    for (const head of touched.heads) {
      for (let frame = head; frame < head + pages; frame++) {
        if (frames.refs.read(frame) === 0 || touched.has(head, frame) || memory.readByte(frame, 0) === 0) continue;
        expect(`frame ${frame} of huge page ${head} is not touched, ${when}`).toBe("");
      }
    }
  }

  /** Reads everything, and looks at every law again. */
  readAll(): void {
    for (const [thread, bytes] of this.alive) {
      for (const [page, byte] of bytes) {
        const found = this.world.byteAt(page, thread);
        if (found !== byte) expect(`page ${page} of ${thread.process.pid}: ${found}`).toBe(`${byte}`);
      }
    }
  }
}

const machines: Record<string, TestMachine> = {
  "x86-64, 6.1": {},
  "x86-64, 6.18": { kernel: "linux-6.18" },
  "x86-64, anonmm": { reverseMap: "anonmm" },
  "x86-64, 2.6.11's calls": { kernel: "linux-2.6.11" },
  "x86-64, tables counted": { tableFreeing: "when-empty" },
  "x86-64, tables by spans": { tableFreeing: "spans", reverseMap: "anonmm" },
  "x86-64, short of memory": { frames: 2600 },
  "x86-64, short of memory, anonmm": { frames: 2600, reverseMap: "anonmm" },
  "pae, highmem": {
    format: "pae",
    highmemFrom: 2048,
    highmem: { pageTablePlacement: "highmem", pageTableAccess: "kmap-atomic" },
  },
  "i386, 4 MiB": { format: "i386", frames: 18_000 },
};

for (const [name, machine] of Object.entries(machines)) {
  test(`histories keep laws and contents: ${name}`, { timeout: 120_000 }, () => {
    let large = 0;
    for (let seed = 1; seed <= 2; seed++) {
      const history = new History(seed, machine);
      const steps: string[] = [];
      for (let step = 0; step < STEPS; step++) {
        steps.push(history.step());
        history.check(`seed ${seed}, after ${steps.slice(-4).join("; ")}`);
        if (step % 25 === 24) history.readAll();
      }
      history.readAll();
      large += history.world.kernel.counters.thpFaultAlloc;
    }
    expect(large).toBeGreaterThan(0);
  });
}
