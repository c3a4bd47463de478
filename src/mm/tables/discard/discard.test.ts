/** Leaf tables of files' mappings leave memory when it is short, and come back by faults. */
import { describe, expect, test } from "vitest";
import { audit } from "../../../check/audit/audit.ts";
import { LOAD, STORE } from "../../../hw/access.ts";
import { Machine } from "../../../machine.ts";
import { applySettings, specOf } from "../../../presets.ts";
import { runToCompletion } from "../../../sync/path.ts";
import { WANT_KERNEL, WANT_USER } from "../../allocator.ts";
import { OpenFile } from "../../file.ts";
import { NO_FRAME } from "../../frames.ts";
import type { Process } from "../../process.ts";
import { FAULT_MINOR } from "../../verdict.ts";
import { OWNER_SLAB } from "../../zone.ts";
import type { TableDiscardName } from "./table-discard.ts";

const PAGE = 4096;
const BASE = 2 ** 30;
const RW = 3;
const MAP_SHARED_FIXED = 0x11;
const MAP_PRIVATE_FIXED = 0x12;
const SPAN = 2 ** 21;

class World {
  readonly machine: Machine;
  readonly open: OpenFile;
  readonly processes: Process[] = [];

  constructor(discard: TableDiscardName, settings: readonly string[] = []) {
    this.machine = new Machine(
      applySettings(specOf("piii-4g"), ["geometry.memory=64M", `pageTableDiscard=${discard}`, ...settings]),
    );
    const file = this.machine.kernel.files.create({ name: "f", kind: "shmem", sizeBytes: 4 * SPAN });
    this.open = new OpenFile(file, "read-write");
  }

  /** A process that maps the file and has stored to one page of each leaf table. */
  start(flags = MAP_SHARED_FIXED): Process {
    const process = this.machine.spawn("p");
    const thread = process.threads[0]!;
    this.machine.call(thread, "mmap", [BASE, 4 * SPAN, RW, flags, this.open, 0]);
    for (let at = 0; at < 4; at++) expect(this.machine.access(thread, BASE + at * SPAN, STORE)).toBe(FAULT_MINOR);
    this.processes.push(process);
    return process;
  }

  /** Leaf tables that one turn discards. */
  turn(): number {
    return runToCompletion(this.machine.kernel.tableDiscard.discardTables(this.machine.kernel, WANT_USER));
  }

  get leaves(): number[] {
    return this.processes.map(({ mm }) => mm.tablesByLevel[1]!);
  }
}

describe.each(["age", "scan"] as const)("by %s", (discard) => {
  test("a table that was used stays once, and goes if it is not used again", () => {
    const world = new World(discard);
    world.start();
    expect([world.turn(), world.leaves]).toEqual([0, [4]]);
    world.machine.kernel.cpus[0]!.mmu.flushAll();
    world.machine.access(world.processes[0]!.threads[0]!, BASE + SPAN, LOAD);
    expect([world.turn(), world.leaves]).toEqual([3, [1]]);
    expect(audit(world.machine)).toEqual([]);
  });

  test("tables that are in use go before anybody is killed", () => {
    // Of pages in highmem nobody looks for frames that must be in lowmem.
    const world = new World(discard, ["geometry.lowmemBytes=32M", "geometry.bootMemory=none"]);
    for (let at = 0; at < 8; at++) world.start();
    const { allocator, oomVictims } = world.machine.kernel;
    while (allocator.tryAllocate(0, WANT_KERNEL, OWNER_SLAB) !== NO_FRAME);
    expect(runToCompletion(allocator.waitForMemory(1))).toBe(true);
    expect(Math.min(...world.leaves)).toBe(0);
    expect(oomVictims).toEqual([]);
  });

  test("what was written is not lost, and comes back by minor faults", () => {
    const world = new World(discard);
    const thread = world.start().threads[0]!;
    world.machine.writeByte(thread, BASE, 77);
    world.turn();
    world.turn();
    expect(world.leaves).toEqual([0]);
    expect(thread.mm.residentPages).toBe(0);
    const before = thread.process.minorFaults;
    expect(world.machine.access(thread, BASE, LOAD)).toBe(FAULT_MINOR);
    expect([world.machine.readByte(thread, BASE), thread.process.minorFaults - before]).toEqual([77, 1]);
    expect(audit(world.machine)).toEqual([]);
  });

  test("private copies, anonymous and locked memory keep their tables", () => {
    const world = new World(discard);
    world.start(MAP_PRIVATE_FIXED);
    const locked = world.start();
    world.machine.call(locked.threads[0]!, "mlock", [BASE, PAGE]);
    world.turn();
    world.turn();
    // All four tables of copies; of the locked process the one with the locked page, and what mlock split off.
    expect(world.leaves[0]).toBe(4);
    expect(world.leaves[1]).toBe(1);
    expect(audit(world.machine)).toEqual([]);
  });
});

/** How many processes that share a file run before one is killed, or cannot be started. */
function processesThatRun(discard: TableDiscardName): number {
  const world = new World(discard, ["geometry.memory=24M"]);
  const { machine } = world;
  for (let started = 0; ; started++) {
    const process = machine.processes.length === 0 ? world.start() : machine.fork(world.processes[0]!.threads[0]!);
    if (typeof process === "number" || machine.processes.some(({ state }) => state === "killed")) return started;
  }
}

test("more processes run on a machine whose tables may leave", () => {
  const kept = processesThatRun("none");
  expect(processesThatRun("age")).toBeGreaterThan(kept);
  expect(processesThatRun("scan")).toBeGreaterThan(kept);
});
