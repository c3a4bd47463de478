/** What a process costs the kernel: its stack and its task, from its birth to its end, and when memory is short. */
import { describe, expect, test } from "vitest";
import { ENOMEM } from "../src/base/errno.ts";
import { audit } from "../src/check/audit/audit.ts";
import { Machine } from "../src/machine.ts";
import { Process, type Thread } from "../src/mm/process.ts";
import { OWNER_STACKS } from "../src/mm/zone.ts";
import { applySettings, specOf } from "../src/presets.ts";

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;

/** A machine whose kernel has nothing of its own, and its first process, which has mapped and written something. */
function start(name: string): { machine: Machine; thread: Thread } {
  const machine = new Machine(applySettings(specOf(name), ["geometry.memory=64M", "geometry.bootMemory=none"]));
  const [thread] = machine.spawn("first").threads;
  const at = machine.call(thread!, "mmap", [0, 8 * 4096, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, null, 0]);
  expect(machine.access(thread!, at, 2)).toBe(0);
  return { machine, thread: thread! };
}

const stackFrames = ({ kernel }: Machine) => kernel.allocator.ownedBy(OWNER_STACKS);

const state = ({ kernel }: Machine) => ({
  free: kernel.allocator.freePages,
  stacks: stackFrames({ kernel } as Machine),
  objects: kernel.slabs.all.map((cache) => `${cache.name} ${cache.objects}`),
  promised: kernel.commitment.pages,
});

describe.each([
  ["amd64-8g", 4],
  ["pae-8g", 2],
  ["piii-4g", 2],
])("on %s", (name, framesEach) => {
  test(`a thread has a kernel stack of ${framesEach} frames for as long as it lives`, () => {
    const { machine, thread } = start(name);
    expect(stackFrames(machine)).toBe(framesEach);
    const child = machine.fork(thread);
    const second = machine.spawnThread(thread.process);
    const sharing = machine.share(thread);
    expect(stackFrames(machine)).toBe(4 * framesEach);
    expect(machine.kernel.slabs.tasks.objects).toBe(4);
    expect(audit(machine)).toEqual([]);

    machine.exitThread(second as Thread);
    machine.exit(sharing as Process, 0);
    machine.exit(child as Process, 0);
    expect(stackFrames(machine)).toBe(framesEach);
    machine.kill(thread.process, 9);
    expect(stackFrames(machine)).toBe(0);
    expect(machine.kernel.slabs.tasks.objects).toBe(0);
    expect(audit(machine)).toEqual([]);
  });

  test("a fork that finds no memory changes nothing, wherever that happens", () => {
    const { machine, thread } = start(name);
    const { allocator } = machine.kernel;
    const before = state(machine);
    let attempt = 1;
    for (; ; attempt++) {
      // From that attempt on each fails, so that no smaller slab helps.
      allocator.failAt(attempt, 1);
      const child = machine.fork(thread);
      allocator.neverFail();
      if (child instanceof Process) break;
      expect(child).toBe(-ENOMEM);
      expect(state(machine)).toEqual(before);
      expect(audit(machine)).toEqual([]);
    }
    expect(attempt).toBeGreaterThan(framesEach);
  });

  test("a thread and a sharing process that find no memory do not come to be", () => {
    const { machine, thread } = start(name);
    const before = state(machine);
    machine.kernel.allocator.failAt(1, 1);
    expect([machine.spawnThread(thread.process), machine.share(thread)]).toEqual([-ENOMEM, -ENOMEM]);
    machine.kernel.allocator.neverFail();
    expect(state(machine)).toEqual(before);
    expect([thread.process.threads.length, thread.mm.users, machine.processes.length]).toEqual([1, 1, 1]);
  });
});

test("the kernel's own threads and slabs are there before the first program, and a small machine has fewer", () => {
  const stacks = (memory: string) =>
    stackFrames(new Machine(applySettings(specOf("amd64-8g"), [`geometry.memory=${memory}`])));
  expect(stacks("8G")).toBe(44 * 4);
  expect(stacks("1G")).toBe(44 * 4);
  expect(stacks("128M")).toBeLessThan(44 * 4);
});
