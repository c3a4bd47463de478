/** Whoever waits for memory in vain asks for more, until he has enough or there is no more. */
import { describe, expect, test } from "vitest";
import { runToCompletion } from "../../sync/path.ts";
import { WANT_KERNEL, WANT_USER } from "../allocator.ts";
import { NO_FRAME } from "../frames.ts";
import { MAP_SHARED, READ_WRITE, TestKernel } from "../test-kernel.ts";
import { OWNER_SLAB } from "../zone.ts";
import { makeRoom } from "./make-room.ts";

const AREA = 0x1000;
const FRAMES = 512;
const FRAME = { order: 0, want: WANT_USER };

/** A machine whose memory is full of clean pages of a file, to the last frame that is for anybody. */
function fullMachine(): TestKernel {
  const machine = new TestKernel({ frames: FRAMES });
  const { allocator } = machine.kernel;
  machine.map(AREA, FRAMES, READ_WRITE, MAP_SHARED, machine.file(FRAMES, "regular"));
  for (let page = AREA; page < AREA + 300; page++) machine.load(page);
  while (allocator.tryAllocate(0, WANT_KERNEL, OWNER_SLAB) !== NO_FRAME);
  return machine;
}

const room = ({ kernel }: TestKernel, frames: number): boolean => kernel.allocator.hasRoom(FRAME, frames);

/** The largest number of frames for which there is room. */
function roomIn(machine: TestKernel): number {
  let frames = 0;
  while (room(machine, frames + 1)) frames++;
  return frames;
}

const wait = ({ kernel }: TestKernel, failures: number): boolean =>
  runToCompletion(kernel.allocator.waitForMemory(failures));

describe("waiting for memory", () => {
  test("each failure in vain makes room for twice as many frames", () => {
    for (const [failures, frames] of [
      [1, 1],
      [2, 2],
      [6, 32],
      [8, 128],
    ] as const) {
      const machine = fullMachine();
      expect([room(machine, 1), wait(machine, failures)]).toEqual([false, true]);
      expect(roomIn(machine)).toBeGreaterThanOrEqual(frames);
      expect(machine.kernel.oomVictims).toEqual([]);
    }
  });

  test("frees no more than it takes, by the batch", () => {
    const machine = fullMachine();
    wait(machine, 1);
    expect(roomIn(machine)).toBeLessThanOrEqual(64);
  });

  test("ends with somebody killed once all that can be freed was not enough", () => {
    const machine = fullMachine();
    expect(wait(machine, 9)).toBe(true);
    expect([roomIn(machine) >= 256, machine.kernel.oomVictims.length]).toEqual([true, 0]);
    // More than the machine has; the one who asks is the only one there.
    expect(wait(machine, 10)).toBe(false);
    expect(machine.kernel.oomVictims.length).toBe(1);
  });

  test("a block that is not worth a life is looked for once, and kills nobody", () => {
    const machine = fullMachine();
    const { kernel } = machine;
    const request = { order: 8, want: WANT_USER };
    let rounds = 0;
    while (runToCompletion(makeRoom(kernel, request, 1))) rounds++;
    expect(rounds).toBeGreaterThan(1);
    expect([roomIn(machine) > 200, kernel.oomVictims.length]).toEqual([true, 0]);
  });
});
