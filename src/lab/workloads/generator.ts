/**
 * Runs a workload's steps and gives the trace that a recording of such a program would give: the same chunks, without a
 * file. Processes that run together take turns of a fixed number of touches.
 */
import { UsageError } from "../../base/errors.ts";
import { didYouMean } from "../../base/nearest.ts";
import { Rng } from "../../base/rng.ts";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { encodeJson } from "../trace/ascii.ts";
import { checksum, SequenceHash } from "../trace/checksum.ts";
import type { Chunk, ChunkSource } from "../trace/chunk.ts";
import type { Region } from "../trace/event.ts";
import { FETCH, LOAD, STORE, type TraceHeader } from "../trace/format.ts";
import { workloads } from "./definitions.ts";
import { type Area, Emitter, Placement } from "./emitter.ts";
import { amountOf, type Step, type Values, type Workload, workloadValues } from "./workload.ts";

/** Touches until the next of several processes has its turn. */
const TURN = 2048;
const PREFIX = "workload:";
const DEFAULT_SEED = 1;

const IMAGE_START = 0x40_0000;
const STACK_END = 0x7fff_ffff_f000;
const STACK_BYTES = 132 * 1024;
const image: readonly Region[] = [
  {
    start: IMAGE_START,
    end: IMAGE_START + PAGE_SIZE,
    rights: "r-xp",
    what: "image",
    offset: 0,
    file: "workload",
    fileBytes: PAGE_SIZE,
  },
  { start: STACK_END - STACK_BYTES, end: STACK_END, rights: "rw-p", what: "stack", offset: 0 },
];
const IMAGE_PAGE = IMAGE_START / PAGE_SIZE;
const STACK_PAGE = STACK_END / PAGE_SIZE - 1;

/** Whether a trace's name means a workload: "workload:fork-storm?processes=8". */
export const isWorkload = (name: string): boolean => name.startsWith(PREFIX);

/** The source that such a name means. Throws UsageError for an unknown workload or parameter. */
export function workloadSource(name: string, others: ReadonlyMap<string, Workload> = workloads): WorkloadSource {
  const [path, query = ""] = name.slice(PREFIX.length).split("?", 2);
  const workload = others.get(path);
  if (workload === undefined) {
    const names = [...others.keys()];
    throw new UsageError(`there is no workload "${path}"${didYouMean(path, names)}; there are ${names.join(", ")}`);
  }
  const chosen: Record<string, string> = {};
  for (const part of query.split("&").filter((text) => text !== "")) {
    const [key, value] = part.split("=", 2);
    if (value === undefined) throw new UsageError(`${name}: expected PARAMETER=VALUE, found "${part}"`);
    chosen[key] = value;
  }
  const { seed = String(DEFAULT_SEED), ...parameters } = chosen;
  if (!/^\d{1,9}$/.test(seed)) throw new UsageError(`${name}: seed: expected a whole number, found "${seed}"`);
  return new WorkloadSource(name, workload, workloadValues(workload, parameters), Number(seed));
}

export class WorkloadSource implements ChunkSource {
  readonly name: string;
  readonly hash: string;
  private readonly workload: Workload;
  private readonly values: Values;
  private readonly seed: number;

  constructor(name: string, workload: Workload, values: Values, seed: number) {
    const sums = new SequenceHash();
    sums.add(checksum(encodeJson([workload, [...values], seed])));
    this.name = name;
    this.workload = workload;
    this.values = values;
    this.seed = seed;
    this.hash = sums.text();
  }

  async header(): Promise<TraceHeader> {
    const chosen = [...this.values].map(([name, value]) => `${name}=${value}`);
    return {
      schema: "bigmem.trace/1",
      recorder: `workload ${this.workload.name}`,
      command: [this.workload.name, ...chosen, `seed=${this.seed}`],
      abi: "x86-64",
      sets: 1,
      accesses: "recorded",
      ordering: "exact",
      notes: [this.workload.does],
    };
  }

  async *chunks(): AsyncGenerator<Chunk, void, undefined> {
    const emitter = new Emitter();
    const run = new WorkloadRun(emitter, this.values, new Rng(this.seed));
    for (const _ of run.start(this.workload.steps)) yield* emitter.takeReady();
    emitter.flush();
    yield* emitter.takeReady();
  }
}

/** A process of a workload: what it has mapped. */
interface Actor {
  readonly id: number;
  readonly areas: Map<string, Area>;
  readonly placement: Placement;
}

/** A process at work: it yields at the end of each of its turns. */
type Turns = Generator<void, void, void>;

class WorkloadRun {
  private readonly emitter: Emitter;
  private readonly values: Values;
  private readonly rng: Rng;
  private lastId = 1;
  private files = 0;

  constructor(emitter: Emitter, values: Values, rng: Rng) {
    this.emitter = emitter;
    this.values = values;
    this.rng = rng;
  }

  *start(steps: readonly Step[]): Turns {
    const actor: Actor = { id: 1, areas: new Map(), placement: new Placement() };
    const regions = image.map((region) => ({ ...region }));
    this.emitter.event({
      op: "start",
      thread: 1,
      process: 1,
      abi: "x86-64",
      name: "workload",
      regions,
      brk: 0x60_0000,
    });
    this.emitter.run(FETCH, IMAGE_PAGE, 1);
    this.emitter.run(STORE, STACK_PAGE, 1);
    yield* this.steps(actor, steps);
    this.emitter.event({ op: "exit", thread: 1, status: 0, scope: "process" });
  }

  private *steps(actor: Actor, steps: readonly Step[]): Turns {
    for (const step of steps) {
      if (step.do === "map") this.map(actor, step);
      else if (step.do === "unmap") this.unmap(actor, step.area);
      else if (step.do === "protect") this.protect(actor, step);
      else if (step.do === "touch") yield* this.touch(actor, step);
      else if (step.do === "churn") yield* this.churn(actor, step);
      else if (step.do === "fork") yield* this.fork(actor, step);
      else for (let times = this.count(step.times); times > 0; times--) yield* this.steps(actor, step.steps);
    }
  }

  private map(actor: Actor, step: Extract<Step, { do: "map" }>): void {
    const pages = Math.max(1, Math.ceil(this.amount(step.bytes) / PAGE_SIZE));
    const shared = step.backing.endsWith("shared");
    const fromFile = step.backing !== "anonymous" && step.backing !== "shared";
    const area = actor.placement.place(pages);
    actor.areas.set(step.area, area);
    const flags = (shared ? MAP_SHARED : MAP_PRIVATE) | (fromFile ? 0 : MAP_ANONYMOUS);
    const path = `${step.backing.startsWith("xip") ? "xip:" : ""}${step.area}-${++this.files}`;
    this.call(
      "mmap",
      [0, pages * PAGE_SIZE, PROT_READ | PROT_WRITE, flags, fromFile ? 3 : -1, 0],
      addressOf(area.start),
      {
        ...(fromFile ? { file: { path, sizeBytes: pages * PAGE_SIZE } } : {}),
      },
    );
  }

  private unmap(actor: Actor, name: string): void {
    const area = this.areaOf(actor, name);
    actor.areas.delete(name);
    actor.placement.free(area);
    this.call("munmap", [addressOf(area.start), area.pages * PAGE_SIZE], 0);
  }

  private protect(actor: Actor, step: Extract<Step, { do: "protect" }>): void {
    const area = this.areaOf(actor, step.area);
    const rights = { none: 0, read: PROT_READ, "read-write": PROT_READ | PROT_WRITE }[step.rights];
    this.call("mprotect", [addressOf(area.start), area.pages * PAGE_SIZE, rights], 0);
  }

  private *touch(actor: Actor, step: Extract<Step, { do: "touch" }>): Turns {
    const area = this.areaOf(actor, step.area);
    const touches = Math.round(this.amount(step.pages));
    const accesses = Math.max(1, this.count(step.accessesPerPage));
    const hotPages = Math.max(1, Math.round(area.pages * this.amount(step.hotShare)));
    const hotTouches = this.amount(step.hotTouches);
    const { rng } = this;
    for (let i = 0; i < touches; i++) {
      let offset: number;
      if (step.order === "sequential") offset = i % area.pages;
      else if (step.order === "random") offset = rng.below(area.pages);
      else offset = rng.chance(hotTouches) ? rng.below(hotPages) : rng.below(area.pages);
      this.touchPage(area.start + offset, step.how, accesses);
      if (i % TURN === TURN - 1) yield;
    }
    yield;
  }

  private touchPage(page: number, how: "load" | "store" | "update", accesses: number): void {
    if (how !== "store") this.emitter.run(LOAD, page, accesses);
    if (how !== "load") this.emitter.run(STORE, page, accesses);
  }

  private *churn(actor: Actor, step: Extract<Step, { do: "churn" }>): Turns {
    const areas = Math.max(1, this.count(step.areas));
    const rounds = this.count(step.rounds);
    const least = Math.max(1, Math.ceil(this.amount(step.leastBytes) / PAGE_SIZE));
    const most = Math.max(least, Math.ceil(this.amount(step.mostBytes) / PAGE_SIZE));
    const touched = this.amount(step.touched);
    for (let round = 0; round < rounds; round++) {
      const name = `area ${round < areas ? round : this.rng.below(areas)}`;
      if (actor.areas.has(name)) this.unmap(actor, name);
      const pages = least + this.rng.below(most - least + 1);
      this.map(actor, { do: "map", area: name, bytes: pages * PAGE_SIZE, backing: "anonymous" });
      const { start } = this.areaOf(actor, name);
      const written = Math.ceil(pages * touched);
      for (let i = 0; i < written; i++) this.touchPage(start + i, "store", 1);
      yield;
    }
  }

  private *fork(actor: Actor, step: Extract<Step, { do: "fork" }>): Turns {
    const processes = this.count(step.processes);
    if (step.together === "one by one") {
      for (let i = 0; i < processes; i++) {
        for (const _ of this.child(actor, step.steps)) {
          yield;
        }
        this.turnTo(actor.id);
      }
      return;
    }
    let running = Array.from({ length: processes }, () => {
      this.turnTo(actor.id);
      return this.child(actor, step.steps);
    });
    while (running.length > 0) {
      running = running.filter((child) => child.next().done !== true);
      yield;
    }
    this.turnTo(actor.id);
  }

  /** A child from its fork to its exit. The fork happens at its first turn. */
  private *child(parent: Actor, steps: readonly Step[]): Turns {
    const id = ++this.lastId;
    const actor: Actor = { id, areas: new Map(parent.areas), placement: parent.placement.copy() };
    this.turnTo(parent.id);
    this.emitter.event({ op: "fork", child: id, process: id, shares: "nothing" });
    yield;
    for (const work = this.steps(actor, steps); ; ) {
      this.turnTo(id);
      if (work.next().done === true) break;
      yield;
    }
    this.turnTo(id);
    this.emitter.event({ op: "exit", thread: id, status: 0, scope: "process" });
  }

  private turnTo(thread: number): void {
    if (this.emitter.thread !== thread) this.emitter.event({ op: "switch", thread });
  }

  private call(
    name: string,
    args: number[],
    result: number,
    more: { file?: { path: string; sizeBytes: number } } = {},
  ): void {
    this.emitter.event({ op: "call", name, args, result, ...more });
  }

  private areaOf(actor: Actor, name: string): Area {
    const area = actor.areas.get(name);
    if (area === undefined) throw new UsageError(`a workload's step uses area "${name}", which is not mapped`);
    return area;
  }

  private amount(amount: string | number): number {
    return amountOf(amount, this.values);
  }

  private count(amount: string | number): number {
    return Math.round(this.amount(amount));
  }
}
