/**
 * A page's conversion from the file's areas to a chain, while others map and unmap it: whatever comes in between the marking
 * of the page and the chaining of its last entry, every entry is on the chain in the end, and none that is gone.
 */
import { describe, expect, test } from "vitest";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { LOAD } from "../../hw/access.ts";
import { OpenFile } from "../../mm/file.ts";
import type { Thread } from "../../mm/process.ts";
import type { Path } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { explore } from "./explore.ts";
import { PAGE, READ_WRITE, SHARED_FIXED, Stage } from "./stage.ts";

type Meanwhile = (stage: Stage, thread: Thread) => Path<unknown>;

/** Where the other process maps the file a second time. */
const ELSEWHERE = PAGE + 32;

const changes: Readonly<Record<string, Meanwhile>> = {
  "another process forks": (stage, thread) => stage.fork(thread),
  "another process unmaps it": (stage, thread) => stage.call(thread, "munmap", [addressOf(PAGE + 1), PAGE_SIZE]),
  "another process moves it": (stage, thread) =>
    stage.call(thread, "mremap", [addressOf(PAGE + 1), PAGE_SIZE, PAGE_SIZE, 3, addressOf(PAGE + 64)]),
  "another process maps it out of order too": (stage, thread) =>
    stage.call(thread, "remap_file_pages", [addressOf(PAGE), PAGE_SIZE, 0, 1, 0]),
  "another process touches it at one more place": (stage, thread) => stage.access(thread, ELSEWHERE + 1, LOAD),
};

/** Two processes map a file, and page 1 of it; the first, on CPU 0, maps that page where page 0 belongs. */
function converting(meanwhile: Meanwhile, places: readonly number[], lockGraph: LockGraph): World {
  const design = { reverseMap: "object-chain-convert", nonlinear: "tagged-search" } as const;
  const stage = new Stage({ kind: "pae", cpus: 2, lockGraph, design });
  const file = stage.kernel.files.create({ name: "data", kind: "shmem", sizeBytes: addressOf(2) });
  const opened = new OpenFile(file, "read-write");
  const [first] = stage.process("first", [0]);
  const [second] = stage.process("second", [1]);
  for (const thread of [first, second]) {
    for (const at of thread === second ? places : [PAGE])
      stage.machine.call(thread, "mmap", [addressOf(at), addressOf(2), READ_WRITE, SHARED_FIXED, opened, 0]);
    stage.machine.access(thread, addressOf(PAGE + 1), LOAD);
  }
  stage.scheduler.add(first, stage.call(first, "remap_file_pages", [addressOf(PAGE), PAGE_SIZE, 0, 1, 0]));
  stage.scheduler.add(second, meanwhile(stage, second));
  return stage.starts(() =>
    stage.kernel.reverseMap.costs.conversions === 1 ? undefined : "the page has not been converted",
  );
}

describe.each(Object.entries(changes))("%s while a page is converted:", (name, meanwhile) => {
  const places = name.includes("one more place") ? [PAGE, ELSEWHERE] : [PAGE];

  test("all laws hold at the end, in whatever order it happens", () => {
    const variant = {
      name: "as-is",
      says: "nothing is left out",
      expects: "holds",
      build: (graph: LockGraph) => converting(meanwhile, places, graph),
    } as const;
    const { searched, asExpected } = explore(variant, { how: "exhaustive" });
    expect(asExpected, searched.failure?.reason).toBe(true);
    expect(searched.complete).toBe(true);
    expect(searched.runs).toBeGreaterThan(1);
  }, 60_000);
});
