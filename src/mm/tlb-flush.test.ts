import { describe, expect, test } from "vitest";
import { addressOf } from "../base/units.ts";
import { LOAD } from "../hw/access.ts";
import { Thread } from "./process.ts";
import { MAP_PRIVATE, READ_WRITE, TestKernel } from "./test-kernel.ts";
import { tlbFlushes } from "./tlb/tlb-flushes.ts";

const AT = 0x40000;
const MADV_DONTNEED = 4;
const strategies = Object.keys(tlbFlushes) as (keyof typeof tlbFlushes)[];

describe.each(strategies)("%s", (tlbFlush) => {
  test("no CPU keeps a translation of what was unmapped", () => {
    const machine = new TestKernel({ tlbFlush, cpus: 2 });
    const second = new Thread(2, machine.thread.process);
    second.cpu = 1;
    machine.map(AT, 50, READ_WRITE, MAP_PRIVATE);
    for (let page = 0; page < 50; page++) {
      machine.store(AT + page);
      machine.load(AT + page, second);
    }
    machine.runs(machine.thread);
    machine.call("madvise", [addressOf(AT), addressOf(50), MADV_DONTNEED]);
    for (const cpu of machine.kernel.cpus) {
      for (let page = 0; page < 50; page++) expect(cpu.touch(AT + page, LOAD)).toBe(false);
    }
    expect(machine.kernel.counters.tlbShootdowns).toBeGreaterThan(0);
  });

  test("a CPU that runs something else is not interrupted", () => {
    const machine = new TestKernel({ tlbFlush, cpus: 2 });
    machine.map(AT, 2, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    machine.call("madvise", [addressOf(AT), addressOf(2), MADV_DONTNEED]);
    expect(machine.kernel.counters.tlbShootdowns).toBe(0);
  });
});

describe("what a flush of 3 pages costs a TLB that knows another", () => {
  /** Whether the translation of a page outside the range is still there. */
  function keepsOthers(tlbFlush: keyof typeof tlbFlushes, pages: number): boolean {
    const machine = new TestKernel({ tlbFlush });
    machine.map(AT, pages, READ_WRITE, MAP_PRIVATE);
    machine.map(AT + 1000, 1, READ_WRITE, MAP_PRIVATE);
    for (let page = 0; page < pages; page++) machine.store(AT + page);
    machine.load(AT + 1000);
    machine.call("madvise", [addressOf(AT), addressOf(pages), MADV_DONTNEED]);
    const { mmu } = machine.kernel.cpus[0]!;
    const walks = mmu.walks;
    mmu.touch(AT + 1000, LOAD);
    return mmu.walks === walks;
  }

  test("nothing, if pages are dropped one by one", () => {
    expect(keepsOthers("per-page", 3)).toBe(true);
    expect(keepsOthers("per-range", 3)).toBe(true);
  });

  test("everything, if the range is large or the whole address space goes", () => {
    expect(keepsOthers("whole-mm", 3)).toBe(false);
    expect(keepsOthers("per-range", 40)).toBe(false);
    expect(keepsOthers("per-page", 40)).toBe(true);
  });
});
