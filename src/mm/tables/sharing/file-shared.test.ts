/** Files that have page tables of their own: who uses them, with which rights, and what they cost. */
import { describe, expect, test } from "vitest";
import { audit } from "../../../check/audit/audit.ts";
import { FETCH, LOAD, STORE } from "../../../hw/access.ts";
import { DONE, Machine } from "../../../machine.ts";
import { applySettings, specOf } from "../../../presets.ts";
import { settleDesign } from "../../../settle-design.ts";
import { OpenFile } from "../../file.ts";
import { LEAF } from "../../page-table.ts";
import type { Process } from "../../process.ts";
import type { Argument } from "../../syscalls.ts";
import { SEGV_ACCERR } from "../../verdict.ts";
import { OWNER_PAGE_TABLES } from "../../zone.ts";

const PAGE = 4096;
const SPAN = 2 ** 21;
const GIB = 2 ** 30;
const BASE = GIB;
const READ = 1;
const RW = 3;
const RX = 5;
const SHARED_FIXED = 0x11;
const PRIVATE_FIXED = 0x12;

const worlds = {
  "PAE, 2.6.11": ["piii-4g", undefined],
  "x86-64, 6.1": ["opteron-32g", "linux-6.1"],
} as const;

class World {
  readonly machine: Machine;
  readonly open: OpenFile;

  constructor([machine, kernel]: (typeof worlds)[keyof typeof worlds], tables = 4, memory = "96M") {
    const settings = [`geometry.memory=${memory}`, "geometry.cpus=1", "pageTableSharing=file-shared"];
    this.machine = new Machine(applySettings(specOf(machine, kernel), settings));
    const file = this.machine.kernel.files.create({ name: "f", kind: "shmem", sizeBytes: tables * SPAN });
    this.open = new OpenFile(file, "read-write");
  }

  call(process: Process, name: string, ...args: readonly Argument[]): number {
    return this.machine.call(process.threads[0]!, name, args);
  }

  /** A process that maps so many tables of the file from its first page on. */
  start(at = BASE, rights = RW, tables = 4, flags = SHARED_FIXED): Process {
    const process = this.machine.spawn("p");
    expect(this.call(process, "mmap", at, tables * SPAN, rights, flags, this.open, 0)).toBe(at);
    return process;
  }

  access(process: Process, at: number, kind: 0 | 1 | 2 | number): number {
    return this.machine.access(process.threads[0]!, at, kind as never);
  }

  write(process: Process, at: number, value: number): void {
    expect(this.access(process, at, STORE)).toBe(DONE);
    this.machine.writeByte(process.threads[0]!, at, value);
  }

  read(process: Process, at: number): number {
    expect(this.access(process, at, LOAD)).toBe(DONE);
    return this.machine.readByte(process.threads[0]!, at);
  }

  get leaves(): number {
    return [...this.machine.kernel.spaces].reduce((sum, { tablesByLevel }) => sum + tablesByLevel[LEAF]!, 0);
  }

  table({ mm }: Process, at: number): number {
    return this.machine.kernel.tables.tableAt(mm, at / PAGE, LEAF);
  }

  clean(): void {
    expect(audit(this.machine)).toEqual([]);
  }
}

describe.each(Object.entries(worlds))("%s", (_name, of) => {
  test("every process that maps the file has the file's tables; pages are resident there alone", () => {
    const world = new World(of);
    const processes = [world.start(), world.start(BASE + 8 * SPAN), world.start()];
    const places = [BASE, BASE + 8 * SPAN, BASE];
    world.write(processes[0]!, BASE, 7);
    for (const [at, process] of processes.entries()) expect(world.read(process, places[at]!)).toBe(7);
    expect(new Set(processes.map((process, at) => world.table(process, places[at]!))).size).toBe(1);
    expect(world.leaves).toBe(1);
    expect(processes.map(({ mm }) => [mm.residentPages, mm.tablesByLevel[LEAF]])).toEqual([
      [0, 0],
      [0, 0],
      [0, 0],
    ]);
    world.clean();
  });

  test("a page that one has brought in is there for all, without a fault", () => {
    const world = new World(of);
    const [one, other] = [world.start(), world.start()];
    world.write(one, BASE, 1);
    world.read(other, BASE);
    const before = other.minorFaults;
    world.write(one, BASE + 9 * PAGE, 5);
    expect([world.read(other, BASE + 9 * PAGE), other.minorFaults]).toEqual([5, before]);
    world.clean();
  });

  test("rights differ by the entries above the file's tables", () => {
    const world = new World(of);
    const [writer, reader, runner] = [world.start(), world.start(BASE, READ), world.start(BASE, RX)];
    world.write(writer, BASE, 3);
    expect([world.read(reader, BASE), world.read(runner, BASE)]).toEqual([3, 3]);
    expect(world.table(reader, BASE)).toBe(world.table(writer, BASE));
    expect(world.access(reader, BASE, STORE)).toBe(SEGV_ACCERR);
    expect(world.access(runner, BASE, FETCH)).toBe(DONE);
    // PAE has no such bit before NX.
    const refuses = world.machine.kernel.format.hasNoExecute;
    expect(world.access(reader, BASE, FETCH)).toBe(refuses ? SEGV_ACCERR : DONE);
    world.write(writer, BASE, 4);
    expect(world.read(reader, BASE)).toBe(4);
    world.clean();
  });

  test("a reader's fault leaves a page that a writer can write", () => {
    const world = new World(of);
    const [reader, writer] = [world.start(BASE, READ), world.start()];
    expect(world.read(reader, BASE)).toBe(0);
    world.write(writer, BASE, 6);
    expect(world.read(reader, BASE)).toBe(6);
    world.clean();
  });

  test.each([
    ["are private", BASE, PRIVATE_FIXED],
    ["lie otherwise in their tables", BASE + PAGE, SHARED_FIXED],
  ])("mappings that %s have tables of their own", (_what, at, flags) => {
    const world = new World(of);
    const [one, other] = [world.start(), world.start(at, RW, 4, flags)];
    world.write(one, BASE, 1);
    expect(world.read(other, at)).toBe(1);
    expect(world.table(other, at)).not.toBe(world.table(one, BASE));
    expect(other.mm.residentPages).toBeGreaterThan(0);
    world.clean();
  });

  test.each([
    ["mprotect of a part", (w: World, p: Process) => w.call(p, "mprotect", BASE, PAGE, READ)],
    ["munmap of a part", (w: World, p: Process) => w.call(p, "munmap", BASE, PAGE)],
    ["mlock of a part", (w: World, p: Process) => w.call(p, "mlock", BASE, PAGE)],
    ["MADV_DONTNEED of a part", (w: World, p: Process) => w.call(p, "madvise", BASE, PAGE, 4)],
    ["mremap", (w: World, p: Process) => w.call(p, "mremap", BASE, PAGE, PAGE, 3, BASE + 64 * SPAN) - BASE - 64 * SPAN],
  ])("%s leaves, and others keep what they have", (_what, change) => {
    const world = new World(of);
    const [one, other] = [world.start(), world.start()];
    for (let at = 0; at < 4; at++) world.write(one, BASE + at * PAGE, at + 1);
    world.read(other, BASE);
    expect(change(world, other)).toBe(0);
    world.clean();
    expect(world.read(other, BASE + 2 * PAGE)).toBe(3);
    world.write(other, BASE + 3 * PAGE, 9);
    expect([world.read(one, BASE), world.read(one, BASE + 3 * PAGE)]).toEqual([1, 9]);
    world.clean();
  });

  test("mprotect of the whole comes back to the file's tables with other rights", () => {
    const world = new World(of);
    const [one, other] = [world.start(), world.start()];
    world.write(one, BASE, 1);
    world.read(other, BASE);
    expect(world.call(other, "mprotect", BASE, 4 * SPAN, READ)).toBe(0);
    expect(world.read(other, BASE)).toBe(1);
    expect(world.table(other, BASE)).toBe(world.table(one, BASE));
    expect(world.access(other, BASE, STORE)).toBe(SEGV_ACCERR);
    world.clean();
  });

  test("truncation clears each entry once, and nobody sees the pages again", () => {
    const world = new World(of);
    const [one, other] = [world.start(), world.start()];
    for (let at = 0; at < 6; at++) world.write(one, BASE + at * PAGE, at);
    world.read(other, BASE);
    const before = world.machine.kernel.counters.ptesZapped;
    expect(world.call(other, "ftruncate", world.open, 2 * PAGE)).toBe(0);
    expect(world.machine.kernel.counters.ptesZapped - before).toBe(4);
    expect(world.read(one, BASE + PAGE)).toBe(1);
    expect(world.access(one, BASE + 3 * PAGE, LOAD)).toBeGreaterThan(DONE);
    world.clean();
  });

  test("a child finds the file's tables by its faults", () => {
    const world = new World(of);
    const parent = world.start();
    world.write(parent, BASE, 2);
    const child = world.machine.fork(parent.threads[0]!) as Process;
    expect(world.read(child, BASE)).toBe(2);
    expect([world.table(child, BASE), world.leaves]).toEqual([world.table(parent, BASE), world.leaves]);
    world.clean();
  });

  test("the tree goes with the last who uses the file", () => {
    const world = new World(of);
    const before = world.machine.kernel.allocator.ownedBy(OWNER_PAGE_TABLES);
    const processes = [world.start(), world.start()];
    for (const process of processes) world.write(process, BASE, 1);
    for (const process of processes) world.machine.exit(process, 0);
    world.clean();
    expect(world.machine.kernel.spaces.size).toBe(0);
    expect(world.machine.kernel.allocator.ownedBy(OWNER_PAGE_TABLES)).toBe(before);
  });
});

test("with four levels a process that maps whole gigabytes pays for its top two tables alone", () => {
  const [gib, processes] = [4, 10];
  const world = new World(worlds["x86-64, 6.1"], 512 * gib, "256M");
  const { kernel } = world.machine;
  const before = kernel.allocator.ownedBy(OWNER_PAGE_TABLES);
  for (let at = 0; at < processes; at++) {
    const process = world.start(BASE, RW, 512 * gib);
    const step = at === 0 ? SPAN : GIB;
    for (let page = BASE; page < BASE + gib * GIB; page += step) expect(world.access(process, page, LOAD)).toBe(DONE);
  }
  const own = kernel.allocator.ownedBy(OWNER_PAGE_TABLES) - before;
  // The file's: 512 leaf tables and one above them for each gigabyte, and its own top two.
  expect(own).toBe(gib * 512 + gib + 2 + processes * 2);
  world.clean();
  // 5,000 processes that share 256 GiB, by the same count.
  expect(((256 * 512 + 256 + 2 + 5000 * 2) * PAGE) / 2 ** 20).toBeCloseTo(552.07, 2);
});

test("a PAE machine has 4 MiB of leaf tables for 2 GiB, whatever the number of processes", () => {
  const world = new World(worlds["PAE, 2.6.11"], 1024, "128M");
  for (let at = 0; at < 3; at++) {
    const process = world.start(BASE / 2, RW, 1024);
    for (let page = BASE / 2; page < BASE / 2 + 2 * GIB; page += SPAN)
      expect(world.access(process, page, LOAD)).toBe(DONE);
  }
  expect(world.leaves * PAGE).toBe(4 * 2 ** 20);
  world.clean();
});

test("is illegal where a table's references count its entries", () => {
  const cell = { pageTableSharing: "file-shared", pageTableFreeing: "when-empty" } as const;
  const { design } = specOf("piii-4g");
  const settled = settleDesign({ ...design, ...cell }, new Set(["pageTableSharing", "pageTableFreeing"]));
  expect(settled.illegal).toMatch(/cannot count its entries/);
});
