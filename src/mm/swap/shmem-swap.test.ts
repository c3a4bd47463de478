import { describe, expect, test } from "vitest";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { type FileObject, OpenFile } from "../file.ts";
import { unlinkFile } from "../file-lifetime.ts";
import { MAP_PRIVATE, MAP_SHARED, READ_WRITE, TestKernel } from "../test-kernel.ts";
import { evict, get, put, swapOutOfFile } from "./test-swap.ts";

const AREA = 0x1000;
const PUNCH = 3;

describe.each(["linux-2.6.11", "linux-6.1"] as const)("%s", (kernel) => {
  const machine = (): { made: TestKernel; file: FileObject } => {
    const made = new TestKernel({ kernel, swap: [128] });
    const file = made.file(16);
    made.map(AREA, 16, READ_WRITE, MAP_SHARED, file);
    return { made, file };
  };

  test("a page of shared memory goes to swap, and comes back to its file by a major fault", () => {
    const { made, file } = machine();
    put(made, AREA + 3, 4711);
    const frame = swapOutOfFile(made, file, 3);
    expect([made.picture(AREA + 3, 1), file.pages.count, file.swapped.count]).toEqual([".", 0, 1]);
    // The file's place and the swap cache.
    expect(made.kernel.swap.usersOf(file.swapped.find(3))).toBe(2);
    evict(made, frame);
    expect(get(made, AREA + 3)).toBe(4711);
    expect([file.pages.count, file.swapped.count, made.kernel.swap.freePages]).toEqual([1, 0, 127]);
    expect(made.thread.process.majorFaults).toBe(1);
    expect(made.thread.mm.resident.shmem).toBe(1);
  });

  test("a page that is in the swap cache still comes back without a read", () => {
    const { made, file } = machine();
    put(made, AREA, 1);
    const frame = swapOutOfFile(made, file, 0);
    expect([get(made, AREA), made.entry(AREA).frame]).toEqual([1, frame]);
    expect([made.kernel.swap.costs.pagesIn, made.kernel.swap.freePages]).toEqual([0, 127]);
  });

  test("what is written after a page has come back is what leaves the next time", () => {
    const { made, file } = machine();
    put(made, AREA, 1);
    evict(made, swapOutOfFile(made, file, 0));
    put(made, AREA, 2);
    evict(made, swapOutOfFile(made, file, 0));
    expect(get(made, AREA)).toBe(2);
  });

  test("all who map it find it", () => {
    const { made, file } = machine();
    put(made, AREA, 1);
    const child = made.fork()!;
    put(made, AREA, 2, child);
    evict(made, swapOutOfFile(made, file, 0));
    expect([get(made, AREA), get(made, AREA, child)]).toEqual([2, 2]);
    expect(made.entry(AREA).frame).toBe(made.entry(AREA, child).frame);
  });

  test("a private copy is made of what is in swap", () => {
    const { made, file } = machine();
    put(made, AREA, 1);
    evict(made, swapOutOfFile(made, file, 0));
    made.map(0x2000, 1, READ_WRITE, MAP_PRIVATE, file);
    put(made, 0x2000, 2);
    expect([get(made, 0x2000), get(made, AREA)]).toEqual([2, 1]);
  });

  test("read and write find it too, and a write keeps the rest of the page", () => {
    const { made, file } = machine();
    const open = new OpenFile(file, "read-write");
    put(made, AREA + 1, 0x01020304);
    evict(made, swapOutOfFile(made, file, 1));
    const bytes = new Uint8Array(4);
    expect(made.call("pread", [open, bytes, PAGE_SIZE])).toBe(4);
    expect([...bytes]).toEqual([4, 3, 2, 1]);
    evict(made, swapOutOfFile(made, file, 1));
    expect(made.call("pwrite", [open, new Uint8Array([9]), PAGE_SIZE + 1])).toBe(1);
    expect(get(made, AREA + 1)).toBe(0x01020904);
  });

  test("truncation frees slots, and zeroes what it cuts of a page in swap", () => {
    const { made, file } = machine();
    for (const at of [0, 1, 2]) put(made, AREA + at, 0x01020304);
    for (const at of [0, 1, 2]) evict(made, swapOutOfFile(made, file, at));
    const open = new OpenFile(file, "read-write");
    expect(made.call("ftruncate", [open, PAGE_SIZE + 2])).toBe(0);
    expect([file.swapped.count, made.kernel.swap.freePages]).toEqual([1, 126]);
    expect(made.call("ftruncate", [open, 3 * PAGE_SIZE])).toBe(0);
    expect([0, 1, 2].map((at) => get(made, AREA + at))).toEqual([0x01020304, 0x0304, 0]);
  });

  test.runIf(kernel === "linux-6.1")("a hole frees the slots within it", () => {
    const { made, file } = machine();
    for (const at of [0, 1, 2]) put(made, AREA + at, at + 1);
    for (const at of [0, 1, 2]) evict(made, swapOutOfFile(made, file, at));
    const open = new OpenFile(file, "read-write");
    expect(made.call("fallocate", [open, PUNCH, addressOf(1), addressOf(1)])).toBe(0);
    expect([file.swapped.count, made.kernel.swap.freePages]).toEqual([2, 125]);
    expect([0, 1, 2].map((at) => get(made, AREA + at))).toEqual([1, 0, 3]);
  });

  test.runIf(kernel === "linux-6.1")("MADV_WILLNEED reads what is in swap", () => {
    const { made, file } = machine();
    put(made, AREA + 1, 7);
    evict(made, swapOutOfFile(made, file, 1));
    expect(made.call("madvise", [addressOf(AREA), addressOf(16), 3])).toBe(0);
    expect([made.kernel.swap.cachedPages, file.swapped.count]).toEqual([1, 1]);
    expect([get(made, AREA + 1), made.thread.process.majorFaults]).toEqual([7, 0]);
  });

  test("with the file go its slots, and what was promised for its pages", () => {
    const { made, file } = machine();
    const promised = made.kernel.commitment.pages;
    for (const at of [0, 1]) put(made, AREA + at, at);
    expect(made.kernel.commitment.pages).toBe(promised + 2);
    evict(made, swapOutOfFile(made, file, 0));
    expect(made.kernel.commitment.pages).toBe(promised + 2);
    made.call("munmap", [addressOf(AREA), addressOf(16)]);
    unlinkFile(made.kernel, file);
    expect([made.kernel.swap.freePages, made.kernel.commitment.pages]).toEqual([127, promised]);
  });
});
