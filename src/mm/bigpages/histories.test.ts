/** Random histories of areas of huge pages: after every step the machine keeps its laws, and shared bytes are where they were put. */
import { expect, test } from "vitest";
import { Rng } from "../../base/rng.ts";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { requireClean } from "../../check/audit/audit.ts";
import { OpenFile } from "../file.ts";
import { unlinkFile } from "../file-lifetime.ts";
import type { Thread } from "../process.ts";
import { MAP_FIXED, MAP_PRIVATE, MAP_SHARED, READ, READ_WRITE, type TestMachine } from "../test-kernel.ts";
import { createHugeFile } from "./huge-pages.ts";
import { HugeWorld, MAP_NORESERVE, PRIVATE, SHARED } from "./test-world.ts";

const STEPS = 600;
/** Places, in huge pages: few, so that areas meet; two gigabytes, so that tables may be shared. */
const PLACES = 3;
const FIRST = 512;

class History {
  readonly world: HugeWorld;
  readonly unit: number;
  private readonly rng: Rng;
  private readonly open: OpenFile;
  private readonly alive: Thread[];
  /** By place of the file: the byte that was written last. */
  private readonly bytes = new Map<number, number>();
  private truncations = 0;

  constructor(seed: number, machine: TestMachine) {
    this.world = new HugeWorld(4, { ...machine, tunables: { hugePagesOvercommit: seed % 3 } });
    this.unit = this.world.pool.pages;
    this.rng = new Rng(seed);
    this.open = new OpenFile(createHugeFile(this.world.kernel, "file", this.world.pool, 520 * this.unit), "read-write");
    this.alive = [this.world.thread];
  }

  private below(limit: number): number {
    return this.rng.below(limit);
  }

  private get place(): number {
    // At both ends of a gigabyte, and in it.
    return (FIRST + (this.below(2) === 0 ? this.below(PLACES) : 512 - this.below(PLACES))) * this.unit;
  }

  private get length(): number {
    return this.below(4) === 0 ? 512 + this.below(8) : 1 + this.below(3);
  }

  /** Mostly where something is mapped, near the start of an area or of the pages after it. */
  private aim(thread: Thread): number {
    const areas = [...thread.mm.vmas];
    if (areas.length === 0 || this.below(4) === 0) return this.place;
    const { start, pages } = areas[this.below(areas.length)]!;
    return start + this.below(Math.max(1, Math.min(3, pages / this.unit))) * this.unit;
  }

  step(): string {
    const { world, unit } = this;
    const thread = this.alive[this.below(this.alive.length)]!;
    const choice = this.below(24);
    const page = choice < 4 ? this.place : this.aim(thread);
    const length = choice < 4 ? this.length : 1 + this.below(2);
    const bytes = length * unit * PAGE_SIZE - (this.below(8) === 0 ? PAGE_SIZE : 0);
    const address = addressOf(page) + (this.below(20) === 0 ? PAGE_SIZE : 0);
    const call = (name: string, ...args: (number | OpenFile | null)[]) => {
      const result = world.call(name, args, thread);
      return `${thread.process.pid} ${name} ${args.map((arg) => (typeof arg === "number" ? arg.toString(16) : "file")).join(" ")} = ${result}`;
    };
    const prot = this.below(3) > 0 ? READ_WRITE : this.below(2) * READ;
    const lazy = this.below(2) * MAP_NORESERVE;
    switch (choice) {
      case 0:
        return call("mmap", address, bytes, prot, PRIVATE | MAP_FIXED | lazy, null, 0);
      case 1:
        return call("mmap", address, bytes, prot, SHARED | MAP_FIXED | lazy, null, 0);
      case 2:
      case 3: {
        const type = this.below(4) === 0 ? MAP_PRIVATE : MAP_SHARED;
        // All of it, mostly, so that there are gigabytes to be shared.
        if (this.below(2) === 0) {
          const all = 514 * unit * PAGE_SIZE;
          return call("mmap", addressOf(FIRST * unit), all, prot, type | MAP_FIXED | MAP_NORESERVE, this.open, 0);
        }
        return call(
          "mmap",
          address,
          bytes,
          prot,
          type | MAP_FIXED | MAP_NORESERVE,
          this.open,
          (page - FIRST * unit) * PAGE_SIZE,
        );
      }
      case 4:
        return call("munmap", address, bytes);
      case 5:
        return call("mprotect", address, bytes, prot);
      case 6:
        return call("mremap", address, bytes, bytes, 3, addressOf(this.place));
      case 7:
        return call("madvise", address, bytes, [4, 9, 10, 11, 23][this.below(5)]!);
      case 8:
        return this.below(6) > 0 ? "-" : call("ftruncate", this.open, (1 + this.below(3)) * 257 * unit * PAGE_SIZE);
      case 9:
        return this.forkOrExit(thread);
      case 10:
        return `pool of ${world.pool.resize(2 + this.below(4))}`;
      default:
        return this.touch(thread, page + this.below(unit));
    }
  }

  private forkOrExit(thread: Thread): string {
    const { world } = this;
    if (this.alive.length < 3) {
      const child = world.fork(thread);
      if (child !== null) this.alive.push(child);
      return "fork";
    }
    this.alive.splice(this.alive.indexOf(thread), 1);
    world.exit(thread);
    return `exit ${thread.process.pid}`;
  }

  /** Writes a byte, or reads one, which must be what was written last if it is the file's. */
  private touch(thread: Thread, page: number): string {
    const { world, unit } = this;
    const vma = thread.mm.vmas.containing(page);
    const isFiles = vma !== null && vma.file === this.open.file && (vma.flags & 8) !== 0;
    const at = isFiles ? vma.indexAt(page - (page % unit)) / unit : -1;
    const place = page - (page % unit);
    if (this.below(2) === 0) {
      const value = this.below(256);
      const verdict = world.write(place, value, thread);
      if (verdict === 0 && isFiles) this.written.set(at, value);
      return `${thread.process.pid} store ${page.toString(16)} = ${verdict}`;
    }
    const verdict = world.load(place, thread);
    const kept = this.written.get(at);
    if (verdict === 0 && kept !== undefined) expect(world.byteAt(place, thread)).toBe(kept);
    return `${thread.process.pid} load ${page.toString(16)} = ${verdict}`;
  }

  /** What was written to the file since pages were last taken from it. */
  private get written(): Map<number, number> {
    const { truncations } = this.open.file;
    if (truncations !== this.truncations) this.bytes.clear();
    this.truncations = truncations;
    return this.bytes;
  }

  end(): void {
    for (const thread of this.alive) this.world.exit(thread);
    unlinkFile(this.world.kernel, this.open.file);
  }
}

const machines: Record<string, TestMachine> = {
  "x86-64, 6.1": { hugePages: "hugetlbfs" },
  "x86-64, 6.18, shared tables": { hugePages: "hugetlbfs-shared-pmd", kernel: "linux-6.18", cpus: 2 },
  "x86-64, 6.1, shared tables, counted": { hugePages: "hugetlbfs-shared-pmd", tableFreeing: "when-empty" },
  "pae, 6.1": { hugePages: "hugetlbfs", format: "pae" },
  "pae, 2.6.11": { hugePages: "hugetlbfs", format: "pae", kernel: "linux-2.6.11" },
  "x86-64, 2.6.11, tables freed by spans": { hugePages: "hugetlbfs", kernel: "linux-2.6.11", tableFreeing: "spans" },
};

test.each(Object.entries(machines))("huge pages keep the laws through random histories: %s", (_name, machine) => {
  const seen = { hugeFaults: 0, hugeTablesShared: 0, hugeTablesUnshared: 0 };
  for (let seed = 1; seed <= 6; seed++) {
    const history = new History(seed, machine);
    const { kernel, pool } = history.world;
    const log: string[] = [];
    const check = (what: string) => {
      log.push(what);
      try {
        requireClean({ kernel, processes: kernel.processes }, `seed ${seed}: ${log.slice(-12).join("\n")}`);
      } catch (error) {
        (error as { state?: string }).state = "";
        throw error;
      }
    };
    for (let step = 0; step < STEPS; step++) check(history.step());
    history.end();
    check("the end");
    expect([pool.free, pool.reserved]).toEqual([pool.total, 0]);
    for (const key of Object.keys(seen) as (keyof typeof seen)[]) seen[key] += kernel.counters[key];
  }
  expect(seen.hugeFaults).toBeGreaterThan(100);
  const shares = machine.hugePages === "hugetlbfs-shared-pmd" ? 1 : 0;
  expect(Math.min(1, seen.hugeTablesShared)).toBe(shares);
  expect(seen.hugeTablesUnshared).toBe(seen.hugeTablesShared);
});
