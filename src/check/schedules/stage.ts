/**
 * A small machine whose tasks are interleaved. First it is set up like any other, with paths that run to completion; from
 * `starts` on, every task runs by the scheduler's choices, CPUs interrupt one another, and after each step the laws hold
 * that hold at any moment: no CPU may remember a way to a frame that is free, nor to a page table that is none.
 */
import { bug } from "../../base/errors.ts";
import { addressOf, type Vpn } from "../../base/units.ts";
import type { Design } from "../../design.ts";
import { parseGeometry } from "../../geometry.ts";
import { STORE } from "../../hw/access.ts";
import { PG_TABLE } from "../../mm/frames.ts";
import type { Process, Thread } from "../../mm/process.ts";
import { kernelPreset, type MachineSpec } from "../../presets.ts";
import { parseRecord } from "../../size-schema.ts";
import type { World } from "../../sync/search.ts";
import { LockGraph } from "../../sync/validator.ts";
import { tunablesSchema } from "../../tunables.ts";
import { audit } from "../audit/audit.ts";
import { describe } from "../describe.ts";
import { hasNoStructPage } from "../page-walk.ts";
import { Interleaving } from "./interleaving.ts";

/** Where scenarios map their pages. */
export const PAGE: Vpn = 0x1_0000;
export const READ_WRITE = 3;
export const PRIVATE_FIXED_ANONYMOUS = 0x32;
export const SHARED_FIXED = 0x11;
export const PRIVATE_FIXED = 0x12;

export type StageKind = "i386-highmem" | "pae" | "x86-64";

const geometries = {
  "i386-highmem": { memoryBytes: "64M", paging: "i386", tlb: "p6", lowmemBytes: "32M" },
  pae: { memoryBytes: "16M", paging: "pae", tlb: "p6" },
  // Its walks start at leaf tables that it remembers.
  "x86-64": { memoryBytes: "16M", paging: "x86-64", tlb: "icelake" },
} as const;

export interface StageShape {
  readonly kind: StageKind;
  readonly cpus: number;
  readonly kernel?: string;
  readonly design?: Partial<Design>;
  readonly tunables?: Readonly<Record<string, unknown>>;
  /** The size of a swap area. */
  readonly swap?: string;
  /** The size of a segment without struct pages. */
  readonly segment?: string;
  readonly preemption?: "on" | "off";
  /** Where orders of locks are noted: runs of one search share it. */
  readonly lockGraph?: LockGraph;
}

const specOf = (shape: StageShape): MachineSpec => {
  const { kind, cpus, kernel = "linux-2.6.11", design = {}, tunables = {}, swap = [], segment = [] } = shape;
  const preset = kernelPreset(kernel);
  return {
    geometry: parseGeometry({ ...geometries[kind], cpus, swap, segments: segment, bootMemory: "none" }),
    design: { ...preset.design, ...design },
    tunables: parseRecord(tunablesSchema, "tunables", { ...preset.tunables, ...tunables }),
    kernel: preset.personality,
    seed: 0,
  };
};

export class Stage extends Interleaving {
  constructor(shape: StageShape) {
    const { preemption = "off", lockGraph = new LockGraph() } = shape;
    super(specOf(shape), { preemption, lockGraph, keeps: "everything" });
  }

  // Setting up: to completion.

  /** A process with one thread for each CPU that is named. */
  process<const Cpus extends readonly number[]>(name: string, cpus: Cpus): { [At in keyof Cpus]: Thread } {
    const process = this.machine.spawn(name);
    const first = process.threads[0] ?? bug("a process is born with a thread");
    const threads: Thread[] = [first];
    for (let at = 1; at < cpus.length; at++) threads.push(this.spawnThread(process));
    for (const [at, thread] of threads.entries()) thread.cpu = cpus[at]!;
    return threads as { [At in keyof Cpus]: Thread };
  }

  private spawnThread(process: Process): Thread {
    const thread = this.machine.spawnThread(process);
    return typeof thread === "number" ? bug("no memory for a scenario's thread") : thread;
  }

  map(thread: Thread, page: Vpn, pages: number): void {
    const args = [addressOf(page), addressOf(pages), READ_WRITE, PRIVATE_FIXED_ANONYMOUS];
    if (this.machine.call(thread, "mmap", args) < 0) bug("a scenario's mmap fails");
  }

  store(thread: Thread, page: Vpn, value: number): void {
    if (this.machine.access(thread, addressOf(page), STORE) !== 0) bug("a scenario's first store fails");
    this.machine.writeByte(thread, addressOf(page), value);
  }

  // Running.

  /**
   * From here on tasks are interleaved. At the end the program's `contents` must be right; by `laws` too, which see a
   * mistake that no program has noticed yet.
   */
  starts(wrongAtEnd: () => string | undefined = () => undefined, by: "contents" | "laws" = "laws"): World {
    this.interleave();
    return {
      scheduler: this.scheduler,
      wrong: () => this.strayTranslation(),
      wrongAtEnd: () => wrongAtEnd() ?? (by === "laws" ? this.brokenLaw() : undefined) ?? this.lockCycle(),
      describe: () => describe(this.machine),
    };
  }

  private strayTranslation(): string | undefined {
    const { frames, cpus } = this.kernel;
    for (const { id, mmu } of cpus) {
      for (const { firstPage, frame } of mmu.tlb.translations()) {
        if (!hasNoStructPage(this.kernel, frame) && frames.refs.read(frames.head(frame)) === 0)
          return `CPU ${id}'s TLB still leads from page 0x${firstPage.toString(16)} to frame ${frame}, which is free`;
      }
      for (const table of mmu.cachedTables()) {
        if (!frames.has(table, PG_TABLE)) return `CPU ${id} still walks through page table ${table}, which is free`;
      }
    }
    return undefined;
  }

  private brokenLaw(): string | undefined {
    const [first] = audit(this.machine);
    return first === undefined ? undefined : `${first.law}: ${first.what}`;
  }

  private lockCycle(): string | undefined {
    const cycle = this.lockGraph.cycle();
    return cycle.length === 0 ? undefined : `locks are taken in a circle: ${cycle.join("; ")}`;
  }
}
