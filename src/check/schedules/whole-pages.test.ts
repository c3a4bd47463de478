/**
 * Pages that come and go whole, while two CPUs come by: whatever one does between two steps of the other, a page has all of its
 * entries in the end, or none, and each program sees its own bytes. `BIGMEM_SCHEDULES=all` searches all interleavings of all
 * pairs, which takes minutes; otherwise those of the short ones, and some of the others.
 */
import { describe, expect, test } from "vitest";
import { addressOf } from "../../base/units.ts";
import type { Design } from "../../design.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import { pageOut } from "../../mm/cool-pages.ts";
import { OpenFile } from "../../mm/file.ts";
import type { Thread } from "../../mm/process.ts";
import type { Argument } from "../../mm/syscalls.ts";
import type { Path } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { explore } from "./explore.ts";
import { PAGE, PRIVATE_FIXED, SHARED_FIXED, Stage } from "./stage.ts";

const PARTS = 4;
const READ_WRITE = 3;
const MADV_DONTNEED = 4;
/** Where the file is mapped: to be seen by all, and to be copied. */
const SHARED_AT = PAGE + 4 * PARTS;
const COPIED_AT = PAGE + 8 * PARTS;

type Move = (stage: Stage, thread: Thread, file: OpenFile) => Path<unknown>;

const touch =
  (page: number, kind: typeof LOAD | typeof STORE): Move =>
  (stage, thread) =>
    stage.access(thread, page, kind);
const calling =
  (name: string, ...args: readonly Argument[]): Move =>
  (stage, thread) =>
    stage.call(thread, name, args);

/** Two moves that meet at the same page. */
const pairs: Readonly<Record<string, readonly [Move, Move]>> = {
  "a read and a write, both the first": [touch(PAGE + 5, LOAD), touch(PAGE + 7, STORE)],
  "two writes, of a page that a child has too": [touch(PAGE + 1, STORE), touch(PAGE + 2, STORE)],
  "a write, and a fork": [touch(PAGE + 1, STORE), (stage, thread) => stage.fork(thread)],
  "a write, and giving the page up": [
    touch(PAGE + 3, STORE),
    calling("madvise", addressOf(PAGE), addressOf(PARTS), MADV_DONTNEED),
  ],
  "a write, and new rights": [touch(PAGE + 2, STORE), calling("mprotect", addressOf(PAGE), addressOf(PARTS), 1)],
  "a write, and a move elsewhere": [
    touch(PAGE + 2, STORE),
    calling("mremap", addressOf(PAGE), addressOf(PARTS), addressOf(PARTS), 3, addressOf(PAGE + 16 * PARTS)),
  ],
  "a write to a file's page, and a truncation to within it": [
    touch(SHARED_AT + 3, STORE),
    (stage, thread, file) => stage.call(thread, "ftruncate", [file, addressOf(1)]),
  ],
  "a private copy, and a truncation": [
    touch(COPIED_AT + 2, STORE),
    (stage, thread, file) => stage.call(thread, "ftruncate", [file, 0]),
  ],
  "a write, and the page on its way to swap": [
    touch(PAGE + 1, STORE),
    (stage, thread) => {
      const vma = thread.mm.vmas.containing(PAGE)!;
      return pageOut(stage.kernel, vma, PAGE, PAGE + PARTS);
    },
  ],
};

/** Pairs of which all interleavings are searched within seconds. */
const short: ReadonlySet<string> = new Set([
  "a write to a file's page, and a truncation to within it",
  "a private copy, and a truncation",
  "a write, and new rights",
]);

function meeting(moves: readonly [Move, Move], design: Partial<Design>, lockGraph: LockGraph): World {
  const stage = new Stage({
    kind: "pae",
    cpus: 2,
    kernel: "linux-6.1",
    design: {
      softPageShift: "2",
      softPageStyle: "bsd",
      pfnMappings: "refuse-cow",
      transparentPages: "never",
      ...design,
    },
    swap: "1M",
    lockGraph,
  });
  const file = stage.kernel.files.create({ name: "data", kind: "shmem", sizeBytes: addressOf(PARTS) });
  const opened = new OpenFile(file, "read-write");
  const threads = stage.process("program", [0, 1]);
  stage.map(threads[0], PAGE, 2 * PARTS);
  for (const [at, how] of [
    [SHARED_AT, SHARED_FIXED],
    [COPIED_AT, PRIVATE_FIXED],
  ] as const)
    stage.machine.call(threads[0], "mmap", [addressOf(at), addressOf(PARTS), READ_WRITE, how, opened, 0]);
  for (let part = 0; part < PARTS; part++) stage.store(threads[0], PAGE + part, part + 1);
  const child = stage.machine.fork(threads[0]);
  if (typeof child === "number") throw new Error("no memory for a child");
  for (const [at, move] of moves.entries()) stage.scheduler.add(threads[at]!, move(stage, threads[at]!, opened));
  return stage.starts(() => {
    const bytes = Array.from({ length: PARTS }, (_, part) => stage.machine.peekByte(child, addressOf(PAGE + part)));
    return bytes.join() === "1,2,3,4" ? undefined : `the child's page holds ${bytes.join()}`;
  });
}

describe.each([
  ["object-anon", {}],
  ["pte-chain-e", { reverseMap: "pte-chain-e", chainedParts: "first-part" }],
] as const)("with %s", (_name, design) => {
  test.each(Object.entries(pairs))("%s: all laws hold at the end, in whatever order", (what, moves) => {
    const variant = {
      name: "as-is",
      says: "nothing is left out",
      expects: "holds",
      build: (graph: LockGraph) => meeting(moves, design, graph),
    } as const;
    const isShort = short.has(what) || process.env.BIGMEM_SCHEDULES === "all";
    const { searched, asExpected } = explore(
      variant,
      isShort ? { how: "exhaustive" } : { how: "random", seed: 1, runs: 60 },
    );
    expect(asExpected, searched.failure?.reason).toBe(true);
    expect(searched.runs).toBeGreaterThan(1);
  });
});
