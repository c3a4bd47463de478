/**
 * Windows on page tables that must be waited for: a task keeps the few slots busy, time and again, while programs come by
 * every way on which the kernel opens a table.
 */
import { expect, test } from "vitest";
import { Rng } from "../../base/rng.ts";
import { addressOf, PAGE_SIZE, type Pfn } from "../../base/units.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import { WANT_USER } from "../../mm/allocator.ts";
import { OpenFile } from "../../mm/file.ts";
import type { Thread } from "../../mm/process.ts";
import { readRemote } from "../../mm/remote.ts";
import type { Argument } from "../../mm/syscalls.ts";
import { giveTableRoom, takeTableRoom } from "../../mm/table-lock.ts";
import { TABLE_USES } from "../../mm/tables/access.ts";
import { OWNER_USER } from "../../mm/zone.ts";
import { type Path, point } from "../../sync/path.ts";
import { searchAtRandom, type World } from "../../sync/search.ts";
import { LockGraph } from "../../sync/validator.ts";
import { PAGE, READ_WRITE, SHARED_FIXED, Stage } from "./stage.ts";

const FILE_AT = PAGE + 16;
const MOVED_TO = PAGE + 4096 + 8;
const bytes = addressOf;

type Move = (stage: Stage, thread: Thread, opened: OpenFile) => Path<unknown>;

const calling =
  (name: string, ...args: readonly Argument[]): Move =>
  (stage, thread) =>
    stage.call(thread, name, args);

/** Every way to a page table that a program has. */
const moves: readonly Move[] = [
  (stage, thread) => stage.access(thread, PAGE, STORE),
  (stage, thread) => stage.access(thread, PAGE + 2, LOAD),
  (stage, thread) => stage.access(thread, FILE_AT, STORE),
  calling("mprotect", bytes(PAGE), bytes(4), 1),
  calling("mprotect", bytes(PAGE), bytes(4), READ_WRITE),
  calling("mincore", bytes(FILE_AT), bytes(2), new Uint8Array(2)),
  calling("mincore", bytes(PAGE), bytes(4), new Uint8Array(4)),
  calling("mlock", bytes(PAGE), bytes(4)),
  calling("munlock", bytes(PAGE), bytes(4)),
  calling("msync", bytes(FILE_AT), bytes(2), 4),
  ...[4, 8, 20, 21].map((advice) => calling("madvise", bytes(PAGE), bytes(2), advice)),
  calling("mremap", bytes(PAGE), bytes(4), bytes(4), 3, bytes(MOVED_TO)),
  calling("mremap", bytes(MOVED_TO), bytes(4), bytes(4), 3, bytes(PAGE)),
  calling("remap_file_pages", bytes(FILE_AT), bytes(1), 0, 1, 0),
  (stage, thread) => readRemote(stage.kernel, thread, thread.process, bytes(FILE_AT)),
  (stage, thread, opened) => stage.call(thread, "ftruncate", [opened, PAGE_SIZE]),
  (stage, thread, opened) => stage.call(thread, "ftruncate", [opened, 2 * PAGE_SIZE]),
  (stage, thread) => stage.munmap(thread, PAGE + 1, 1),
  (stage, thread) => stage.fork(thread),
];

function* program(stage: Stage, thread: Thread, opened: OpenFile, rng: Rng): Path<void> {
  for (let moved = 0; moved < 12; moved++) yield* rng.pick(moves)(stage, thread, opened);
}

/** Opens a table of each use, and sleeps with them. */
function* holder({ kernel }: Stage, table: Pfn): Path<void> {
  const { access } = kernel.tables;
  for (let round = 0; round < 20; round++) {
    yield* takeTableRoom(kernel);
    for (let use = 0; use < TABLE_USES; use++) access.show(table, use);
    for (let steps = 0; steps < 5; steps++) yield { on: "something slow", ready: () => true };
    for (let use = 0; use < TABLE_USES; use++) access.hide(table, use);
    giveTableRoom(kernel);
    yield point("nothing", "user");
  }
}

function build(kernel: string, slots: number, seed: number, stages: Stage[]): World {
  const design = { pageTablePlacement: "highmem", pageTableAccess: "kmap-blocking" } as const;
  const shape = { kind: "i386-highmem", cpus: 2, preemption: "on", lockGraph: new LockGraph() } as const;
  const stage = new Stage({ ...shape, kernel, design, tunables: { kmapSlots: slots } });
  stages.push(stage);
  const threads = stage.process("program", [0, 1]);
  const [other] = stage.process("other", [1]);
  const file = stage.kernel.files.create({ name: "data", kind: "regular", sizeBytes: 2 * PAGE_SIZE });
  const opened = new OpenFile(file, "read-write");
  for (const thread of [threads[0], other]) {
    stage.map(thread, PAGE, 4);
    stage.store(thread, PAGE + 1, 1);
    stage.machine.call(thread, "mmap", [bytes(FILE_AT), bytes(2), READ_WRITE, SHARED_FIXED, opened, 0]);
    stage.store(thread, FILE_AT, 1);
  }
  const table = stage.kernel.allocator.tryAllocate(0, WANT_USER, OWNER_USER);
  const rng = new Rng(seed);
  for (const thread of [...threads, other]) {
    stage.scheduler.add(thread, program(stage, thread, opened, new Rng(rng.next())));
  }
  stage.kernelTask("holder", 0, holder(stage, table));
  const world = stage.starts();
  const given = () => {
    stage.kernel.allocator.free(table, 0);
    return undefined;
  };
  const sound = () => stage.scheduler.validator.findings[0] ?? given() ?? world.wrongAtEnd();
  return { ...world, wrongAtEnd: sound };
}

test.each([
  ["linux-2.6.11", 1],
  ["linux-2.6.11", 2],
  ["linux-6.1", 1],
  ["linux-6.1", 2],
] as const)(
  "%s with %i slots: nothing opens a table for which there is no window",
  (kernel, slots) => {
    const stages: Stage[] = [];
    const seeds = new Rng(slots);
    const world = () => build(kernel, slots, seeds.next(), stages);
    const { failure } = searchAtRandom(world, new Rng(7), { runs: 25 });
    expect(failure?.reason).toBeUndefined();
    expect(stages.some((stage) => stage.kernel.tables.access.costs.waits > 10)).toBe(true);
    const users = stages.flatMap((stage) => [...stage.kernel.tables.access.pools()].map((pool) => pool.users));
    expect(users.every((count) => count === 0)).toBe(true);
  },
  60_000,
);
