/** Scenarios about windows on highmem: a pool that tasks wait for while they hold some of it, and atomic maps. */
import { bug } from "../../base/errors.ts";
import type { Pfn } from "../../base/units.ts";
import { WANT_USER } from "../../mm/allocator.ts";
import { NO_FRAME } from "../../mm/frames.ts";
import { KM_USER0, KM_USER1 } from "../../mm/kmap/atomic-types.ts";
import { OWNER_USER } from "../../mm/zone.ts";
import { type Path, point } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import type { Scenario } from "./scenario.ts";
import { Stage } from "./stage.ts";

const TASKS = 2;

/** A copy of one highmem frame to another: both must be mapped at once. */
type Copy = (stage: Stage, from: Pfn, to: Pfn) => Path<void>;

function copiers(slots: number, copy: Copy, lockGraph: LockGraph): World {
  const stage = new Stage({ kind: "i386-highmem", cpus: TASKS, lockGraph, tunables: { kmapSlots: slots } });
  const { allocator } = stage.kernel;
  const frames = Array.from({ length: 2 * TASKS }, () => allocator.tryAllocate(0, WANT_USER, OWNER_USER));
  if (frames.includes(NO_FRAME)) bug("a scenario has no highmem frames");
  for (let at = 0; at < TASKS; at++) {
    const [from, to] = [frames[2 * at]!, frames[2 * at + 1]!];
    stage.kernelTask(`copier ${at}`, at, copy(stage, from, to));
  }
  return stage.starts(() => {
    for (const frame of frames) allocator.free(frame, 0);
    return undefined;
  });
}

const withKmap: Copy = function* ({ kernel, scheduler }, from, to) {
  for (const frame of [from, to]) {
    yield point("kmap");
    scheduler.touch("kmap", "write");
    yield* kernel.kmap.map(frame);
  }
  yield point("both mapped");
  scheduler.touch("kmap", "write");
  kernel.kmap.unmap(to);
  kernel.kmap.unmap(from);
};

const withAtomicMaps: Copy = function* ({ kernel }, from, to) {
  yield point("kmap_atomic");
  kernel.atomicMaps.map(from, KM_USER0);
  yield point("kmap_atomic");
  kernel.atomicMaps.map(to, KM_USER1);
  yield point("both mapped");
  kernel.atomicMaps.unmap(to, KM_USER1);
  kernel.atomicMaps.unmap(from, KM_USER0);
};

export const windows: readonly Scenario[] = [
  {
    name: "kmap-exhaustion",
    claim:
      "Tasks that hold a kmap slot and wait for another hang once the pool is theirs: n tasks of k slots each need n(k-1)+1. Atomic maps are each CPU's own, and nobody waits.",
    variants: [
      {
        name: "two-slots",
        says: "two tasks map two frames each, from a pool of two slots",
        expects: "breaks",
        build: (graph) => copiers(2, withKmap, graph),
      },
      {
        name: "three-slots",
        says: "the same from a pool of three",
        expects: "holds",
        build: (graph) => copiers(3, withKmap, graph),
      },
      {
        name: "atomic",
        says: "the same with kmap_atomic",
        expects: "holds",
        build: (graph) => copiers(2, withAtomicMaps, graph),
      },
    ],
  },
];
