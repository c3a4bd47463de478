import { describe, expect, test } from "vitest";
import { ENOMEM } from "../base/errno.ts";
import { Rng } from "../base/rng.ts";
import { runToCompletion } from "../sync/path.ts";
import { Current } from "../sync/task.ts";
import { Allocator, WANT_DMA, WANT_KERNEL, WANT_USER } from "./allocator.ts";
import { Buddy } from "./buddy.ts";
import { Frames, NO_FRAME } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import type { Reclaim } from "./reclaim/reclaim.ts";
import { tableDiscards } from "./tables/discard/table-discard.ts";
import { HugeFrames } from "./thp/huge-frames.ts";
import { type WatermarkPolicy, watermarkPolicies } from "./watermarks.ts";
import {
  OWNER_KERNEL_IMAGE,
  OWNER_PAGE_TABLES,
  OWNER_SLAB,
  OWNER_USER,
  ownerNames,
  ZONE_DMA,
  ZONE_HIGHMEM,
  ZONE_NORMAL,
  Zone,
} from "./zone.ts";

//  0        16          48           64
//  | DMA    | NORMAL    | HIGHMEM    |       frames 16 to 19 are the kernel's image
function machine(policy: WatermarkPolicy = watermarkPolicies["linux-2.6"], minFreeKiB: number | undefined = 0) {
  const frames = new Frames(64);
  const zone = (kind: number, first: number, end: number) => new Zone(kind, first, end, new Buddy(frames, first, end));
  const dma = zone(ZONE_DMA, 0, 16);
  const normal = zone(ZONE_NORMAL, 16, 48);
  const high = zone(ZONE_HIGHMEM, 48, 64);
  dma.addFree(0, 16);
  normal.addReserved(4, OWNER_KERNEL_IMAGE);
  normal.addFree(20, 48);
  high.addFree(48, 64);
  const forgotten: number[] = [];
  const allocator = new Allocator(frames, [dma, normal, high], policy, {
    forget: (frame) => forgotten.push(frame),
    forgetRun(first, end) {
      for (let frame = first; frame < end; frame++) forgotten.push(frame);
    },
  });
  allocator.setMinFree(minFreeKiB);
  return { frames, dma, normal, high, allocator, forgotten };
}

/** A policy without marks: only memory itself is the limit. */
const noMarks: WatermarkPolicy = {
  name: "none",
  setMarks() {},
  floor: () => 0,
  leavesBlocks: () => true,
};

function allocateAll(allocator: Allocator, want: number, owner = OWNER_USER): number[] {
  const taken: number[] = [];
  for (;;) {
    const frame = allocator.tryAllocate(0, want, owner);
    if (frame === NO_FRAME) return taken;
    taken.push(frame);
  }
}

describe("zones", () => {
  test("a user's request takes highmem first, then lowmem, then what DMA has", () => {
    const { allocator } = machine(noMarks);
    const taken = allocateAll(allocator, WANT_USER);
    expect(taken.slice(0, 16).every((frame) => frame >= 48)).toBe(true);
    expect(taken.slice(16, 44).every((frame) => frame >= 20 && frame < 48)).toBe(true);
    expect(taken.slice(44).every((frame) => frame < 16)).toBe(true);
    expect(taken.length).toBe(60);
  });

  test("the kernel's requests never take highmem; DMA's only DMA", () => {
    const { allocator, high, normal } = machine(noMarks);
    expect(allocateAll(allocator, WANT_DMA).length).toBe(16);
    expect(normal.free).toBe(28);
    expect(allocateAll(allocator, WANT_KERNEL).length).toBe(28);
    expect(high.free).toBe(16);
  });

  test("a request for highmem leaves lowmem its reserve", () => {
    const { allocator, normal } = machine();
    normal.reserve[ZONE_HIGHMEM] = 10;
    const reserving: WatermarkPolicy = { ...noMarks, floor: (route, at) => route[at].reserve[route[0].kind] };
    const again = new Allocator(allocator.frames, allocator.zones, reserving, { forget() {}, forgetRun() {} });
    allocateAll(again, WANT_USER);
    expect(normal.free).toBe(10);
    expect(again.tryAllocate(0, WANT_KERNEL, OWNER_SLAB)).not.toBe(NO_FRAME);
  });

  test("zones are used down to their low marks first, and then down to min", () => {
    const marked: WatermarkPolicy = {
      ...noMarks,
      floor: (route, at, mark) => (route[at].kind === ZONE_HIGHMEM ? (mark === "low" ? 8 : 4) : 24),
    };
    const { allocator, high, normal, dma } = machine(marked);
    const taken = allocateAll(allocator, WANT_USER);
    expect([high.free, normal.free, dma.free]).toEqual([4, 24, 16]);
    //  8 of HIGHMEM, 4 of NORMAL, 4 more of HIGHMEM
    expect(taken.map((frame) => (frame >= 48 ? "h" : "n")).join("")).toBe("hhhhhhhhnnnnhhhh");
  });
});

describe("accounts", () => {
  test("free and owned frames add up to those present, whatever happens", () => {
    const rng = new Rng(9);
    const { allocator } = machine(noMarks);
    const blocks: { block: number; order: number }[] = [];
    for (let step = 0; step < 2000; step++) {
      if (rng.chance(0.5)) {
        const order = rng.below(3);
        const block = allocator.tryAllocate(order, rng.pick([WANT_USER, WANT_KERNEL, WANT_DMA]), rng.below(12));
        if (block !== NO_FRAME) blocks.push({ block, order });
      } else if (blocks.length > 0) {
        const [{ block, order }] = blocks.splice(rng.below(blocks.length), 1);
        allocator.free(block, order);
      }
      allocator.check();
      const owned = ownerNames.reduce((sum, _, owner) => sum + allocator.ownedBy(owner), 0);
      expect(owned + allocator.freePages).toBe(64);
    }
    for (const { block, order } of blocks) allocator.free(block, order);
    expect(allocator.freePages).toBe(60);
  });

  test("a frame is accounted to whom it was allocated for, in the zone where it lies", () => {
    const { allocator, high, normal } = machine(noMarks);
    const table = allocator.tryAllocate(0, WANT_KERNEL, OWNER_PAGE_TABLES);
    allocator.tryAllocate(1, WANT_USER, OWNER_USER);
    expect([normal.ownedBy(OWNER_PAGE_TABLES), high.ownedBy(OWNER_USER)]).toEqual([1, 2]);
    allocator.free(table, 0);
    expect(allocator.ownedBy(OWNER_PAGE_TABLES)).toBe(0);
    expect(normal.ownedBy(OWNER_KERNEL_IMAGE)).toBe(4);
  });

  test("a leak is found", () => {
    const { allocator, normal } = machine();
    normal.account(OWNER_SLAB, 1);
    expect(() => allocator.check()).toThrow("zone Normal: 28 free, 0 listed and 5 owned frames, 32 present");
  });
});

describe("references", () => {
  test("a frame comes with one; releasing the last frees it and forgets its contents", () => {
    const { allocator, frames, forgotten } = machine(noMarks);
    const frame = allocator.tryAllocate(0, WANT_USER, OWNER_USER);
    expect(frames.refs.read(frame)).toBe(1);
    frames.addReference(frame);
    allocator.release(frame);
    expect(forgotten).toEqual([]);
    allocator.release(frame);
    expect(forgotten).toEqual([frame]);
    expect(allocator.freePages).toBe(60);
  });

  test("a frame that is mapped or referenced by others cannot be freed; nor twice", () => {
    const { allocator, frames } = machine(noMarks);
    const frame = allocator.tryAllocate(0, WANT_USER, OWNER_USER);
    frames.mapCount.write(frame, 1);
    expect(() => allocator.free(frame, 0)).toThrow("1 PTEs map it");
    frames.mapCount.write(frame, 0);
    frames.addReference(frame);
    expect(() => allocator.free(frame, 0)).toThrow("2 references");
    frames.dropReference(frame);
    allocator.free(frame, 0);
    expect(() => allocator.free(frame, 0)).toThrow("given back with order 0");
  });
});

describe("failure", () => {
  test("a path that finds no memory ends with -ENOMEM", () => {
    const { allocator } = machine(noMarks);
    allocateAll(allocator, WANT_KERNEL);
    expect(runToCompletion(allocator.allocate(0, WANT_KERNEL, OWNER_SLAB))).toBe(-ENOMEM);
  });

  test("a path reclaims as long as that frees something", () => {
    const { allocator } = machine(noMarks);
    const taken = allocateAll(allocator, WANT_KERNEL);
    let rounds = 0;
    const reclaim: Pick<Reclaim, "wake" | "freePages"> = {
      wake: false,
      *freePages() {
        rounds++;
        if (rounds === 2) for (const frame of taken.filter((frame) => frame < 32)) allocator.free(frame, 0);
        return rounds < 4 ? 1 : 0;
      },
    };
    const tableDiscard = tableDiscards.none();
    const transparent: Pick<Kernel["transparent"], "pages"> = { pages: new HugeFrames(9) };
    const tlbFlush: Pick<Kernel["tlbFlush"], "owes"> = { owes: false };
    const parts = { reclaim, tableDiscard, transparent, tlbFlush, allocator, current: new Current() };
    allocator.reclaimFor(parts as unknown as Kernel);
    expect(runToCompletion(allocator.allocate(1, WANT_KERNEL, OWNER_SLAB))).toBeGreaterThanOrEqual(0);
    expect(rounds).toBe(2);
    expect(runToCompletion(allocator.allocate(5, WANT_KERNEL, OWNER_SLAB))).toBe(-ENOMEM);
    expect(rounds).toBe(4);
  });

  test("a chosen attempt fails, and then every so many", () => {
    const { allocator } = machine(noMarks);
    allocator.failAt(3, 2);
    const outcomes = Array.from({ length: 8 }, () => allocator.tryAllocate(0, WANT_USER, OWNER_USER) !== NO_FRAME);
    expect(outcomes).toEqual([true, true, false, true, false, true, false, true]);
    allocator.neverFail();
    expect(allocateAll(allocator, WANT_USER).length).toBe(60 - 5);
  });

  test("an attempt that was made to fail fails on the slow path too, once", () => {
    const { allocator } = machine(noMarks);
    allocator.failAt(1);
    expect(allocator.tryAllocate(0, WANT_USER, OWNER_USER)).toBe(NO_FRAME);
    expect(runToCompletion(allocator.allocate(0, WANT_USER, OWNER_USER))).toBe(-ENOMEM);
    expect(runToCompletion(allocator.allocate(0, WANT_USER, OWNER_USER))).toBeGreaterThanOrEqual(0);
  });

  test("failed attempts change nothing and are counted", () => {
    const { allocator } = machine(noMarks);
    expect(allocator.tryAllocate(6, WANT_USER, OWNER_USER)).toBe(NO_FRAME);
    expect([allocator.freePages, allocator.failures]).toEqual([60, 1]);
    allocator.check();
  });
});

describe("frames released together", () => {
  test("end as those released one after the other: counts, owners, contents and which frame comes next", () => {
    const rng = new Rng(11);
    for (let round = 0; round < 100; round++) {
      const worlds = [machine(noMarks), machine(noMarks)] as const;
      const lists = worlds.map(({ allocator, frames }) => {
        const taken = allocateAll(allocator, WANT_USER).sort((a, b) => a - b);
        for (const frame of taken) {
          if (frame % 7 === round % 7) frames.addReference(frame);
          if (frame % 5 === round % 5) allocator.reassign(frame, OWNER_SLAB);
        }
        return taken;
      });
      const released = lists[0]!.filter(() => rng.chance(0.9));
      for (const frame of released) worlds[0].allocator.release(frame);
      worlds[1].allocator.releaseAll(released);
      const [one, all] = worlds.map(({ allocator, frames, forgotten }) => ({
        forgotten,
        owned: ownerNames.map((_, owner) => allocator.ownedBy(owner)),
        refs: Array.from({ length: 64 }, (_, frame) => frames.refs.read(frame)),
        next: allocateAll(allocator, WANT_USER),
      }));
      expect(all).toEqual(one);
      worlds[1].allocator.check();
    }
  });

  test("a frame that an entry still maps is refused", () => {
    const { allocator, frames } = machine(noMarks);
    const taken = allocateAll(allocator, WANT_DMA).sort((a, b) => a - b);
    frames.mapCount.write(taken[3]!, 1);
    expect(() => allocator.releaseAll(taken)).toThrow(
      `frame ${taken[3]} is freed with 0 references, and 1 PTEs map it`,
    );
  });
});
