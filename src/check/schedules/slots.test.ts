/** What the validator says of slots while tasks are interleaved, and how a round of the pool reaches other CPUs. */
import { expect, test } from "vitest";
import type { Pfn } from "../../base/units.ts";
import { WANT_USER } from "../../mm/allocator.ts";
import { KM_USER0, KM_USER1 } from "../../mm/kmap/atomic-types.ts";
import { OWNER_USER } from "../../mm/zone.ts";
import { type Path, point } from "../../sync/path.ts";
import { Stage } from "./stage.ts";

/** A machine of two CPUs with a pool of two slots, and three frames of highmem. */
function highmem(): { stage: Stage; frames: readonly [Pfn, Pfn, Pfn] } {
  const stage = new Stage({ kind: "i386-highmem", cpus: 2, tunables: { kmapSlots: 2 } });
  const frame = () => stage.kernel.allocator.tryAllocate(0, WANT_USER, OWNER_USER);
  return { stage, frames: [frame(), frame(), frame()] };
}

/** Runs the tasks, whoever can first, and returns what the validator has found. */
function findings(stage: Stage): readonly string[] {
  const { scheduler } = stage.starts();
  while (scheduler.crash === undefined) {
    const [first] = scheduler.choices();
    if (first === undefined) break;
    scheduler.step(first);
  }
  return scheduler.validator.findings;
}

test("a slot that is used while it is live is a finding, and names who has it", () => {
  const { stage, frames } = highmem();
  const { atomicMaps } = stage.kernel;
  function* twice(): Path<void> {
    yield point("its start");
    atomicMaps.map(frames[0], KM_USER0);
    atomicMaps.map(frames[1], KM_USER0);
  }
  stage.kernelTask("copier", 1, twice());
  expect(findings(stage)).toEqual(["copier maps USER0 of CPU 1, which copier still uses"]);
  expect(stage.scheduler.crash).toContain("wants a slot that is live");
});

test("kmap with an atomic map in place is a finding, even if there is a slot", () => {
  const { stage, frames } = highmem();
  const { atomicMaps, kmap } = stage.kernel;
  function* nested(): Path<void> {
    yield point("its start");
    atomicMaps.map(frames[0], KM_USER1);
    yield* kmap.map(frames[1]);
  }
  stage.kernelTask("copier", 0, nested());
  expect(findings(stage)).toEqual(["copier comes to kmap, which may sleep, while it holds USER1 of CPU 0"]);
});

test("a map that is not taken down is a finding, and so is one that is taken down twice", () => {
  const { stage, frames } = highmem();
  const { atomicMaps } = stage.kernel;
  function* forgetful(): Path<void> {
    yield point("its start");
    atomicMaps.map(frames[0], KM_USER0);
  }
  function* eager(): Path<void> {
    yield point("its start");
    atomicMaps.unmap(frames[1], KM_USER0);
  }
  stage.kernelTask("forgetful", 0, forgetful());
  stage.kernelTask("eager", 1, eager());
  expect(findings(stage)).toEqual([
    "forgetful ends and has mapped USER0 of CPU 0",
    "eager unmaps USER0 of CPU 1, which nobody has mapped",
  ]);
});

test.each(["global", "per-task"] as const)("coming round the %s pool waits for the other CPU", (kmap) => {
  const stage = new Stage({ kind: "i386-highmem", cpus: 2, tunables: { kmapSlots: 2 }, design: { kmap } });
  const [reader, other] = stage.process("program", [0, 1]);
  stage.map(reader, 0x1_0000, 2);
  stage.store(reader, 0x1_0000, 1);
  stage.store(other, 0x1_0000, 1);
  const frame = () => stage.kernel.allocator.tryAllocate(0, WANT_USER, OWNER_USER);
  const frames = Array.from({ length: 5 }, frame);
  const { contents, tlbFlush } = stage.kernel;
  function* rounds(): Path<void> {
    yield point("its start");
    for (const shown of frames) {
      const wait = contents.hold(shown);
      if (wait !== undefined) yield* wait;
      contents.release(shown);
      expect(tlbFlush.owes).toBe(false);
    }
  }
  stage.scheduler.add(other, stage.doNothing());
  stage.scheduler.add(reader, rounds());
  expect(findings(stage)).toEqual([]);
  expect(stage.scheduler.crash).toBeUndefined();
  expect(stage.kernel.kmap.costs.flushes).toBeGreaterThan(1);
  const waits = stage.scheduler.steps.filter(({ then }) => then.includes("to acknowledge a flush"));
  expect(waits.length).toBe(stage.kernel.kmap.costs.flushes);
  expect(stage.scheduler.interrupted).toBe(waits.length);
});
