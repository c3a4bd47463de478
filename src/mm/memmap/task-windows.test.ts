import { describe, expect, test } from "vitest";
import { audit } from "../../check/audit/audit.ts";
import { oracleSpec } from "../../check/oracle-machine.ts";
import { STORE } from "../../hw/access.ts";
import { DONE, Machine } from "../../machine.ts";
import { AddressSpace } from "../address-space.ts";
import { NO_FRAME } from "../frames.ts";
import { Limits } from "../limits.ts";
import type { Thread } from "../process.ts";
import { OWNER_KMAP, ZONE_NORMAL } from "../zone.ts";
import type { PageHandleName } from "./page-handle.ts";
import { TaskWindows } from "./task-windows.ts";

const READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;

function machineWith(pageHandle: PageHandleName, slots: number): Machine {
  const spec = oracleSpec("pae", "linux-2.6.11", { memMap: "per-task-window", pageHandle });
  return new Machine({ ...spec, tunables: { ...spec.tunables, memMapSlots: slots } });
}

const windowsOf = ({ kernel }: Machine): TaskWindows => kernel.structPages.windows!;
const lawsBrokenBy = (machine: Machine): string[] => audit(machine).map(({ law }) => law);

function store(machine: Machine, thread: Thread, pages: number): number {
  const area = machine.call(thread, "mmap", [0, pages * 4096, READ_WRITE, MAP_PRIVATE_ANONYMOUS, null, 0]);
  expect(area).toBeGreaterThan(0);
  for (let page = 0; page < pages; page++) expect(machine.access(thread, area + page * 4096, STORE)).toBe(DONE);
  return area;
}

describe("a task's window onto mem_map", () => {
  test("takes lowmem for its tables and its index, and gives it back when the task ends", () => {
    const machine = machineWith("pfn", 1024);
    const { allocator } = machine.kernel;
    const before = allocator.ownedBy(OWNER_KMAP);
    const process = machine.spawn("task");
    expect(allocator.ownedBy(OWNER_KMAP) - before).toBe(TaskWindows.framesFor(1024, 512));
    expect([...windowsOf(machine).windows()].map(({ mm }) => mm?.id)).toEqual([undefined, process.mm.id]);
    machine.exit(process, 0);
    expect(allocator.ownedBy(OWNER_KMAP)).toBe(before);
  });

  test("is each task's own: what one has mapped, another must map again", () => {
    const machine = machineWith("pfn", 64);
    const [one, other] = [machine.spawn("one").threads[0]!, machine.spawn("other").threads[0]!];
    store(machine, one, 16);
    const { costs } = windowsOf(machine);
    const [misses, switches] = [costs.misses, costs.switches];
    store(machine, other, 16);
    expect(costs.switches).toBe(switches + 1);
    expect(costs.misses).toBeGreaterThan(misses);
    expect(lawsBrokenBy(machine)).toEqual([]);
  });

  test("flushes a translation only when a slot is recycled, and no other CPU that runs other tasks", () => {
    // 2 slots: neighbouring frames of mem_map at once, and no third.
    const [narrow, wide] = [machineWith("pfn", 2), machineWith("pfn", 1024)];
    for (const machine of [narrow, wide]) {
      const thread = machine.spawn("task").threads[0]!;
      const area = store(machine, thread, 600);
      expect(machine.call(thread, "munmap", [area, 600 * 4096])).toBe(0);
      expect(lawsBrokenBy(machine)).toEqual([]);
    }
    expect(windowsOf(wide).costs).toMatchObject({ flushes: 0, remoteFlushes: 0, strays: 0 });
    const { flushes, misses } = windowsOf(narrow).costs;
    expect(flushes).toBeGreaterThan(0);
    // Each slot is filled once for nothing, in each of two windows.
    const filled = [...windowsOf(narrow).windows()].reduce(
      (sum, { window }) => sum + [...window.shown].filter((frame) => frame !== NO_FRAME).length,
      0,
    );
    expect(misses - flushes).toBe(filled);
    expect(windowsOf(narrow).costs.remoteFlushes).toBe(0);
  });

  test("is the shared one where lowmem has no room for its own", () => {
    const machine = machineWith("pfn", 1024);
    const { allocator } = machine.kernel;
    const taken: number[] = [];
    for (let frame = allocator.tryAllocate(0, ZONE_NORMAL, OWNER_KMAP); frame !== NO_FRAME; ) {
      taken.push(frame);
      frame = allocator.tryAllocate(0, ZONE_NORMAL, OWNER_KMAP);
    }
    for (const frame of taken.splice(0, 6)) allocator.free(frame, 0);
    windowsOf(machine).spaceBorn(new AddressSpace(1, NO_FRAME, new Limits()));
    expect([...windowsOf(machine).windows()]).toHaveLength(1);
    for (const frame of taken) allocator.free(frame, 0);
    expect(lawsBrokenBy(machine)).toEqual([]);
  });

  test("shows struct pages that lie across two frames through two slots", () => {
    const spec = oracleSpec("pae", "linux-2.6.11", { memMap: "per-task-window" });
    const machine = new Machine({ ...spec, geometry: { ...spec.geometry, pageStructBytes: 44 } });
    store(machine, machine.spawn("task").threads[0]!, 600);
    expect(windowsOf(machine).costs.straddles).toBeGreaterThan(0);
    expect(lawsBrokenBy(machine)).toEqual([]);
  });
});
