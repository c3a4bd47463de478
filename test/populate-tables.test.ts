/**
 * Making whole page tables present at once, and filling many holes of a file at once, leave behind what a fault for each
 * page does: the same words in the same frames, counts, lists, chains and costs, whatever the design, and whatever happens
 * to those pages afterwards.
 */
import { describe, expect, test } from "vitest";
import { addressOf, type Vpn } from "../src/base/units.ts";
import { audit } from "../src/check/audit/audit.ts";
import { nameOfCell } from "../src/check/cells.ts";
import { describe as picture } from "../src/check/describe.ts";
import { LOAD, STORE } from "../src/hw/access.ts";
import { MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE } from "../src/lab/import/calls.ts";
import { DONE, Machine } from "../src/machine.ts";
import { WANT_KERNEL } from "../src/mm/allocator.ts";
import { type FileKind, OpenFile } from "../src/mm/file.ts";
import { NO_FRAME } from "../src/mm/frames.ts";
import { meminfo } from "../src/mm/meminfo.ts";
import { populate } from "../src/mm/populate.ts";
import type { Process, Thread } from "../src/mm/process.ts";
import { DiscardByAge } from "../src/mm/tables/discard/by-age.ts";
import { OWNER_SLAB } from "../src/mm/zone.ts";
import { type MachineSpec, specOf } from "../src/presets.ts";
import type { Path } from "../src/sync/path.ts";
import { cells, specOfCell } from "./specs.ts";

const START: Vpn = 0x40000;

const MADV_REMOVE = 9;

/** How a range is made present: at once, or a page at a time, which is too little for a table and for a run of holes. */
type Way = "tables" | "pages";

class System {
  readonly machine: Machine;
  readonly file: OpenFile;
  readonly span: number;
  readonly way: Way;
  readonly tables: number;
  readonly started: Process[] = [];

  /** By the page, or by the big page. */
  readonly least: number;

  constructor(way: Way, spec: MachineSpec, tables: number, kind: FileKind = "shmem") {
    this.way = way;
    this.tables = tables;
    this.machine = new Machine(spec);
    const { files, bigPages, tables: pageTables } = this.machine.kernel;
    const pool = kind === "hugetlbfs" ? bigPages.pools[0]! : undefined;
    this.least = pool?.pages ?? 1;
    this.span = pageTables.span(pool?.level ?? 1);
    const sizeBytes = addressOf(tables * this.span);
    const file = files.create({ name: "segment", kind, sizeBytes, ...(pool === undefined ? {} : { pool }) });
    this.file = new OpenFile(file, "read-write");
  }

  /** Whichever the way, it is not what is looked at. */
  startAtOnce(name: string): void {
    this.startBy(this.tables * this.span, name, 0);
  }

  start(name: string, offset: number, prot = PROT_READ | PROT_WRITE): void {
    this.startBy(this.way === "tables" ? this.tables * this.span : this.least, name, offset, prot);
  }

  private startBy(most: number, name: string, offset: number, prot = PROT_READ | PROT_WRITE): void {
    const process = this.machine.spawn(name);
    const thread = process.threads[0]!;
    const pages = this.tables * this.span - offset;
    const args = [addressOf(START), addressOf(pages), prot, MAP_SHARED | MAP_FIXED, this.file, addressOf(offset)];
    expect(this.machine.call(thread, "mmap", args)).toBe(addressOf(START));
    expect(this.machine.run(thread, this.populateBy(Math.min(most, pages), thread, pages))).toBe(0);
    this.started.push(process);
  }

  /** One call's work, in steps of so many pages. */
  private *populateBy(step: number, thread: Thread, pages: number): Path<number> {
    let result = 0;
    for (let page = START; page < START + pages && result === 0; page += step) {
      result = yield* populate(this.machine.kernel, thread, page, page + step);
    }
    return result;
  }

  /** Somebody takes memory, until the kernel would have to free some. */
  makeShort(): void {
    const { allocator, reclaim } = this.machine.kernel;
    while (!reclaim.wake && allocator.tryAllocate(0, WANT_KERNEL, OWNER_SLAB) !== NO_FRAME);
    expect(reclaim.wake).toBe(true);
  }

  touch(process: Process, page: Vpn, kind: typeof LOAD | typeof STORE): void {
    expect(this.machine.access(process.threads[0]!, addressOf(page), kind)).toBe(DONE);
  }

  get state() {
    const { kernel, processes } = this.machine;
    const { reverseMap, counters, slabs, allocator } = kernel;
    return {
      costs: { ...reverseMap.costs },
      bytes: reverseMap.bytes,
      counters: { ...counters },
      slabs: slabs.all.map(({ name, objects, pages }) => [name, objects, pages]),
      zones: allocator.zones.map(({ use, perCpu }) => [use, perCpu?.taken, perCpu?.batches]),
      attempts: [allocator.attempts, allocator.failures],
      memory: meminfo(kernel),
      faults: processes.map(({ minorFaults }) => minorFaults),
      tables: processes.map(({ mm }) => [...mm.tablesByLevel]),
      resident: processes.map(({ mm }) => ({ ...mm.resident })),
      mapped: kernel.frames.mapped,
      windows: { ...kernel.structPages.windows?.costs },
      cached: [this.file.file.pages.count, this.file.file.pages.dirtyCount, this.file.file.pages.nodes],
    };
  }

  /** What is known of every frame in use, and the lists on which frames are: page lists, and those of free blocks. */
  get frames() {
    const { frames, allocator, reclaim, tableDiscard } = this.machine.kernel;
    const { refs, mapCount, flags, mapping, owner } = frames;
    const used: string[] = [];
    for (let frame = 0; frame < frames.count; frame++) {
      if (refs.read(frame) === 0) continue;
      used.push([frame, ...[refs, mapCount, flags, mapping, owner].map((array) => array.read(frame))].join(" "));
    }
    return [
      ...used,
      ...allocator.zones.flatMap((zone) => reclaim.listsOf(zone).map((list) => [list.name, ...list].join(" "))),
      ...allocator.zones.map(({ buddy }) =>
        Array.from(buddy.freeRanges(), ({ first, end }) => `${first}-${end}`).join(" "),
      ),
      ...(tableDiscard instanceof DiscardByAge ? [[...tableDiscard.tables].join(" ")] : []),
    ].join("\n");
  }
}

/** Two systems, one each way, through the same history; they must be alike after each step. */
class Twins {
  readonly systems: readonly [System, System];

  constructor(spec: MachineSpec, tables: number, kind: FileKind = "shmem") {
    this.systems = [new System("tables", spec, tables, kind), new System("pages", spec, tables, kind)];
  }

  both(doing: (system: System) => void): void {
    const [fast, slow] = this.systems;
    doing(fast);
    doing(slow);
    expect(fast.state).toEqual(slow.state);
  }

  start(name: string, offset: number, prot?: number): void {
    this.both((system) => system.start(name, offset, prot));
  }

  compare(): void {
    const [fast, slow] = this.systems;
    expect(fast.frames).toBe(slow.frames);
    expect(picture(fast.machine)).toBe(picture(slow.machine));
  }
}

const history = (twins: Twins): void => {
  const [{ span }] = twins.systems;
  twins.start("first", 0);
  for (const name of ["second", "third"]) twins.start(name, 0);
  twins.start("shifted by a table", span);
  twins.start("shifted by some pages", 100);
  twins.start("reader", 0, PROT_READ);
  twins.both((system) => {
    const [, one, two] = system.started;
    system.touch(one!, START + 3, STORE);
    system.touch(two!, START + span + 3, LOAD);
  });
  twins.compare();
  twins.both(({ machine, started }) => {
    const [first, one, two] = started;
    machine.call(two!.threads[0]!, "munmap", [addressOf(START + 5), addressOf(span)]);
    machine.exit(one!, 0);
    machine.exit(first!, 0);
  });
  twins.start("after", 0);
  twins.compare();
  for (const { machine } of twins.systems) expect(audit(machine)).toEqual([]);
  twins.both(({ machine, started }) => {
    for (const process of started) if (process.state === "alive") machine.exit(process, 0);
  });
  twins.compare();
};

/** What is populated here begins at any page of 4 KiB, which is no place of a page in BSD's style. */
const chosen = cells().filter(({ softPageStyle }) => softPageStyle !== "bsd");

describe.each(chosen.map((cell) => [nameOfCell(cell), cell] as const))("%s", (_name, cell) => {
  test("tables at once leave behind what pages one by one do", () => history(new Twins(specOfCell(cell), 3)));
});

const large = (machine: string, settings: readonly string[] = []): MachineSpec =>
  specOf(machine, undefined, ["geometry.memory=1G", ...settings]);

describe("a segment of more than a few tables", () => {
  test.each([
    ["amd64-8g", "none"],
    ["pae-8g", "none"],
    ["amd64-8g", "fork-shared"],
    ["pae-8g", "fork-shared"],
    ["amd64-8g", "file-shared"],
    ["pae-8g", "file-shared"],
  ])("is the same, and settled as runs (%s, tables shared: %s)", (machine, sharing) => {
    const twins = new Twins(large(machine, [`pageTableSharing=${sharing}`]), 40);
    for (const name of ["first", "second", "third"]) twins.start(name, 0);
    twins.compare();
    twins.start("shifted", 5000);
    twins.both((system) => {
      const [one, two, three] = system.started;
      for (let page = START; page < START + 40 * 512; page += 777) system.touch(two!, page, STORE);
      system.machine.exit(one!, 0);
      system.machine.call(three!.threads[0]!, "munmap", [addressOf(START + 7000), addressOf(9000)]);
    });
    twins.compare();
    twins.both((system) => {
      const thread = system.machine.spawn("writer").threads[0]!;
      const half = addressOf(20 * 512);
      expect(system.machine.call(thread, "ftruncate", [system.file, half])).toBe(0);
    });
    twins.compare();
    for (const { machine } of twins.systems) expect(audit(machine)).toEqual([]);
  });
});

test("is the same where memory is short, and somebody is woken to free some", () => {
  const twins = new Twins(specOf("amd64-8g", undefined, ["geometry.memory=4G"]), 200);
  twins.start("first", 0);
  twins.both((system) => system.makeShort());
  for (const name of ["second", "third"]) twins.start(name, 0);
  const [fast, slow] = twins.systems.map(({ machine }) => machine.kernel);
  expect(fast!.reclaim.costs.kswapdTurns).toBeGreaterThan(0);
  expect(slow!.memory.literalFrames - fast!.memory.literalFrames).toBeGreaterThanOrEqual(2 * 200);
});

test("a gigabyte that a file's tree has whole is the same in every tree that it hangs in", () => {
  const spec = specOf("amd64-8g", undefined, ["geometry.memory=3G", "pageTableSharing=file-shared"]);
  const twins = new Twins(spec, 514);
  twins.both((system) => system.startAtOnce("first"));
  twins.start("second", 0);
  twins.both(({ machine, started }) => {
    const [one, two] = started;
    // The gigabyte's is the file's; its own is that of the two tables after it.
    expect(two!.mm.tablesByLevel).toEqual([0, 0, 1, 1, 1, 0]);
    expect(machine.call(one!.threads[0]!, "madvise", [addressOf(START), addressOf(600), MADV_REMOVE])).toBe(0);
    expect(machine.call(two!.threads[0]!, "munmap", [addressOf(START + 7000), addressOf(9000)])).toBe(0);
  });
  twins.both((system) => system.startAtOnce("after"));
  const [fast, slow] = twins.systems;
  expect(fast.frames).toBe(slow.frames);
  expect(audit(fast.machine)).toEqual([]);
});

describe("a segment of big pages", () => {
  const settings = (hugePages: string) => ["geometry.memory=4G", `hugePages=${hugePages}`, "tunables.hugePages=1024"];
  test.each([
    ["amd64-8g", "hugetlbfs"],
    ["amd64-8g", "hugetlbfs-shared-pmd"],
    ["pae-8g", "hugetlbfs"],
  ])("is the same (%s, %s)", (machine, hugePages) => {
    const twins = new Twins(specOf(machine, undefined, settings(hugePages)), 2, "hugetlbfs");
    for (const name of ["first", "second", "third"]) twins.start(name, 0);
    twins.start("shifted", 512 * 512);
    twins.start("reader", 0, PROT_READ);
    twins.compare();
    twins.both(({ machine, started, ...system }) => {
      const [one, two, three] = started;
      expect(machine.access(two!.threads[0]!, addressOf(START + 1000), STORE)).toBe(DONE);
      machine.call(three!.threads[0]!, "munmap", [addressOf(START + system.least), addressOf(2 * system.least)]);
      machine.exit(one!, 0);
    });
    twins.start("after", 0);
    twins.compare();
    for (const { machine } of twins.systems) expect(audit(machine)).toEqual([]);
    twins.both(({ machine, started }) => {
      for (const process of started) if (process.state === "alive") machine.exit(process, 0);
    });
    twins.compare();
  });
});

test("tables made present at once take less of the host", () => {
  for (const spec of [large("piii-4g", ["reverseMap=pte-chain-a"]), large("amd64-8g")]) {
    const [fast, slow] = new Twins(spec, 3).systems;
    for (let at = 0; at < 10; at++) for (const system of [fast, slow]) system.start(`process ${at}`, 0);
    const literal = ({ machine }: System) => machine.kernel.memory.literalFrames;
    expect(literal(slow) - literal(fast)).toBeGreaterThanOrEqual(8 * 3);
  }
});
