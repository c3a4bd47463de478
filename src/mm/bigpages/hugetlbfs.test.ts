import { describe, expect, test } from "vitest";
import { EINVAL, ENOMEM, EOPNOTSUPP } from "../../base/errno.ts";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { requireClean } from "../../check/audit/audit.ts";
import { OpenFile } from "../file.ts";
import { unlinkFile } from "../file-lifetime.ts";
import { MAP_FIXED, MAP_PRIVATE, MAP_SHARED, READ, READ_WRITE } from "../test-kernel.ts";
import { BUS_ADRERR, SEGV_ACCERR } from "../verdict.ts";
import { createHugeFile } from "./huge-pages.ts";
import { HUGE, HugeWorld, MAP_NORESERVE, PLACE, PRIVATE, SHARED } from "./test-world.ts";

const check = ({ kernel }: HugeWorld, when: string): void =>
  requireClean({ kernel, processes: kernel.processes }, when);

describe("MAP_HUGETLB", () => {
  test("promises pages when it maps, and gives them by faults, one entry of the second level each", () => {
    const world = new HugeWorld(4);
    expect(world.mapHuge(3, PRIVATE)).toBe(addressOf(PLACE));
    expect(world.pages).toBe("4 4 3 0");
    expect(world.write(PLACE + 7, 5)).toBe(0);
    expect(world.pages).toBe("4 3 2 0");
    expect(world.byteAt(PLACE + 7)).toBe(5);
    expect(world.byteAt(PLACE + 8)).toBe(0);
    expect(world.kernel.counters.minorFaults).toBe(1);
    expect(world.tables()[0]).toBe(0);
    check(world, "after a fault");
    expect(world.call("munmap", [addressOf(PLACE), 3 * HUGE * PAGE_SIZE])).toBe(0);
    expect(world.pages).toBe("4 4 0 0");
    check(world, "after munmap");
  });

  test("fails where the pool is short, unless nothing need be promised; then the fault that finds no page kills", () => {
    const world = new HugeWorld(1);
    expect(world.mapHuge(2, PRIVATE)).toBe(-ENOMEM);
    expect(world.pages).toBe("1 1 0 0");
    expect(world.mapHuge(2, PRIVATE | MAP_NORESERVE)).toBe(addressOf(PLACE));
    expect(world.store(PLACE)).toBe(0);
    expect(world.store(PLACE + HUGE)).toBe(BUS_ADRERR);
    check(world, "after a shortage");
  });

  test("a promise is kept: who maps without one does not get the promised page", () => {
    const world = new HugeWorld(1);
    world.mapHuge(1, PRIVATE);
    world.mapHuge(1, PRIVATE | MAP_NORESERVE, READ_WRITE, PLACE + 8 * HUGE);
    expect(world.store(PLACE + 8 * HUGE)).toBe(BUS_ADRERR);
    expect(world.store(PLACE)).toBe(0);
  });

  test("shared memory is one page for parent and child, and promised once", () => {
    const world = new HugeWorld(2);
    world.mapHuge(2, SHARED);
    world.write(PLACE, 9);
    const child = world.fork()!;
    expect(world.pages).toBe("2 1 1 0");
    expect(world.byteAt(PLACE, child)).toBe(9);
    world.write(PLACE + HUGE, 3, child);
    expect(world.byteAt(PLACE + HUGE)).toBe(3);
    check(world, "after both have touched");
    world.exit(child);
    world.call("munmap", [addressOf(PLACE), 2 * HUGE * PAGE_SIZE]);
    expect(world.pages).toBe("2 2 0 0");
    check(world, "at the end");
  });

  test("a private page is copied for whoever writes first, and the last one keeps it", () => {
    const world = new HugeWorld(2);
    world.mapHuge(1, PRIVATE);
    world.write(PLACE, 1);
    const child = world.fork()!;
    check(world, "after fork");
    expect(world.write(PLACE, 2, child)).toBe(0);
    expect(world.kernel.counters.hugePagesCopied).toBe(1);
    expect(world.byteAt(PLACE)).toBe(1);
    expect(world.write(PLACE, 3)).toBe(0);
    expect(world.kernel.counters.hugePagesCopied).toBe(1);
    expect(world.byteAt(PLACE, child)).toBe(2);
    check(world, "after both have written");
    world.exit(child);
    expect(world.pages).toBe("2 1 0 0");
  });

  test("an owner without a page for his copy takes it from his child, which is killed by its next access", () => {
    const world = new HugeWorld(1);
    world.mapHuge(1, PRIVATE);
    world.write(PLACE, 1);
    const child = world.fork()!;
    expect(world.store(PLACE, child)).toBe(BUS_ADRERR);
    expect(world.byteAt(PLACE, child)).toBe(1);
    expect(world.write(PLACE, 2)).toBe(0);
    expect(world.kernel.counters.hugePagesTaken).toBe(1);
    check(world, "after the page was taken");
    expect(world.load(PLACE, child)).toBe(BUS_ADRERR);
  });
});

describe("an owner who takes his page back", () => {
  test("leaves a child alone that has a page of its own, whatever it shares with others", () => {
    const world = new HugeWorld(2);
    world.mapHuge(1, PRIVATE);
    world.write(PLACE, 1);
    const first = world.fork()!;
    expect(world.write(PLACE, 7, first)).toBe(0);
    const second = world.fork()!;
    expect(world.write(PLACE, 2)).toBe(0);
    expect(world.kernel.counters.hugePagesTaken).toBe(1);
    expect(world.byteAt(PLACE, first)).toBe(7);
    expect(world.load(PLACE, second)).toBe(BUS_ADRERR);
    check(world, "after one page was taken");
  });

  test("both parts of a robbed area are killed by their next missing page", () => {
    const world = new HugeWorld(2);
    world.mapHuge(2, PRIVATE);
    world.write(PLACE, 1);
    world.write(PLACE + HUGE, 1);
    const child = world.fork()!;
    expect(world.write(PLACE, 2)).toBe(0);
    world.call("munmap", [addressOf(PLACE), HUGE * PAGE_SIZE], child);
    world.call("madvise", [addressOf(PLACE + HUGE), HUGE * PAGE_SIZE, 4], child);
    world.call("munmap", [addressOf(PLACE), 2 * HUGE * PAGE_SIZE]);
    expect(world.pages).toBe("2 2 0 0");
    expect(world.load(PLACE + HUGE, child)).toBe(BUS_ADRERR);
  });
});

describe("areas of huge pages", () => {
  test("are cut only between huge pages", () => {
    const world = new HugeWorld(2);
    world.mapHuge(2, PRIVATE);
    const half = addressOf(PLACE + 256);
    expect(world.call("munmap", [half, PAGE_SIZE])).toBe(-EINVAL);
    expect(world.call("mprotect", [half, PAGE_SIZE, READ])).toBe(-EINVAL);
    expect(world.call("madvise", [half, PAGE_SIZE, 10])).toBe(-EINVAL);
    expect(world.call("munmap", [addressOf(PLACE), HUGE * PAGE_SIZE])).toBe(0);
    expect(world.pages).toBe("2 2 1 0");
    check(world, "after half is gone");
  });

  test("mprotect changes the entries, and a write afterwards needs the right again", () => {
    const world = new HugeWorld(1);
    world.mapHuge(1, SHARED);
    world.write(PLACE, 7);
    expect(world.call("mprotect", [addressOf(PLACE), HUGE * PAGE_SIZE, READ])).toBe(0);
    expect(world.store(PLACE)).toBe(SEGV_ACCERR);
    expect(world.call("mprotect", [addressOf(PLACE), HUGE * PAGE_SIZE, 0])).toBe(0);
    check(world, "without rights");
    expect(world.load(PLACE)).toBe(SEGV_ACCERR);
    expect(world.call("mprotect", [addressOf(PLACE), HUGE * PAGE_SIZE, READ_WRITE])).toBe(0);
    expect(world.byteAt(PLACE)).toBe(7);
    expect(world.write(PLACE, 8)).toBe(0);
  });

  test("mremap moves them whole, to aligned places, and never makes them larger", () => {
    const world = new HugeWorld(2);
    world.mapHuge(2, PRIVATE);
    world.write(PLACE, 7);
    const bytes = 2 * HUGE * PAGE_SIZE;
    const to = addressOf(PLACE + 16 * HUGE);
    expect(world.call("mremap", [addressOf(PLACE), bytes, 2 * bytes, 1, 0])).toBe(-EINVAL);
    expect(world.call("mremap", [addressOf(PLACE), bytes, bytes, 3, to + PAGE_SIZE])).toBe(-EINVAL);
    expect(world.call("mremap", [addressOf(PLACE), bytes, bytes, 3, to])).toBe(to);
    expect(world.byteAt(PLACE + 16 * HUGE)).toBe(7);
    expect(world.pages).toBe("2 1 1 0");
    check(world, "after the move");
    expect(world.call("munmap", [to, bytes])).toBe(0);
    expect(world.pages).toBe("2 2 0 0");
  });

  test("MADV_DONTNEED gives whole huge pages back; what the process was promised is used up", () => {
    const world = new HugeWorld(2);
    world.mapHuge(2, PRIVATE);
    world.store(PLACE);
    world.store(PLACE + HUGE);
    expect(world.call("madvise", [addressOf(PLACE), (HUGE + 5) * PAGE_SIZE, 4])).toBe(0);
    expect(world.pages).toBe("2 1 0 0");
    expect(world.call("madvise", [addressOf(PLACE + 3), PAGE_SIZE, 4])).toBe(-EINVAL);
    expect(world.call("madvise", [addressOf(PLACE), HUGE * PAGE_SIZE, 8])).toBe(-EINVAL);
    expect(world.byteAt(PLACE)).toBe(0);
    check(world, "after MADV_DONTNEED");
  });

  test("mincore says of every page in an entry that it is there; mlock and MAP_POPULATE bring huge pages in", () => {
    const world = new HugeWorld(2);
    world.mapHuge(2, PRIVATE);
    world.store(PLACE + HUGE);
    const vector = new Uint8Array(2);
    expect(world.call("mincore", [addressOf(PLACE + HUGE - 1), 2 * PAGE_SIZE, vector])).toBe(0);
    expect([...vector]).toEqual([0, 1]);
    expect(world.call("mlock", [addressOf(PLACE), 2 * HUGE * PAGE_SIZE])).toBe(0);
    expect(world.pages).toBe("2 0 0 0");
    check(world, "after mlock");
  });
});

describe("files of huge pages", () => {
  test("are mapped in whole huge pages, keep their pages, and lose them by ftruncate", () => {
    const world = new HugeWorld(3);
    const file = createHugeFile(world.kernel, "shared", world.pool, 2 * HUGE);
    const open = new OpenFile(file, "read-write");
    const args = [addressOf(PLACE), 2 * HUGE * PAGE_SIZE, READ_WRITE, MAP_SHARED | MAP_FIXED, open] as const;
    expect(world.call("mmap", [...args, PAGE_SIZE])).toBe(-EINVAL);
    expect(world.call("mmap", [...args, 0])).toBe(addressOf(PLACE));
    world.write(PLACE + HUGE, 4);
    expect(world.pages).toBe("3 2 1 0");
    world.call("munmap", [addressOf(PLACE), 2 * HUGE * PAGE_SIZE]);
    expect(world.pages).toBe("3 2 1 0");
    const byte = new Uint8Array(1);
    expect(world.call("pread", [open, byte, HUGE * PAGE_SIZE])).toBe(1);
    expect(byte[0]).toBe(4);
    expect(world.call("pwrite", [open, byte, 0])).toBe(-EINVAL);
    world.call("mmap", [...args, 0]);
    world.load(PLACE + HUGE);
    expect(world.call("ftruncate", [open, PAGE_SIZE])).toBe(-EINVAL);
    expect(world.call("ftruncate", [open, HUGE * PAGE_SIZE])).toBe(0);
    expect(world.load(PLACE + HUGE)).toBe(BUS_ADRERR);
    expect(world.pages).toBe("3 3 1 0");
    check(world, "after ftruncate");
    world.call("munmap", [addressOf(PLACE), 2 * HUGE * PAGE_SIZE]);
    unlinkFile(world.kernel, file);
    expect(world.pages).toBe("3 3 0 0");
  });

  test("a hole frees whole huge pages, and zeroes what it covers of others", () => {
    const world = new HugeWorld(3);
    const file = createHugeFile(world.kernel, "shared", world.pool, 3 * HUGE);
    const open = new OpenFile(file, "read-write");
    world.call("mmap", [addressOf(PLACE), 3 * HUGE * PAGE_SIZE, READ_WRITE, MAP_SHARED | MAP_FIXED, open, 0]);
    for (const page of [0, HUGE - 2, HUGE - 1, HUGE, 2 * HUGE, 2 * HUGE + 1]) world.write(PLACE + page, 9);
    const punch = (first: number, pages: number) =>
      world.call("fallocate", [open, 3, first * PAGE_SIZE, pages * PAGE_SIZE]);
    expect(punch(HUGE - 1, HUGE + 2)).toBe(0);
    expect(world.pages).toBe("3 1 0 0");
    const bytes = [0, HUGE - 2, HUGE - 1, 2 * HUGE, 2 * HUGE + 1].map((page) => world.byteAt(PLACE + page));
    expect(bytes).toEqual([9, 9, 0, 0, 9]);
    expect(punch(0, 1)).toBe(0);
    expect(world.byteAt(PLACE)).toBe(0);
    check(world, "after holes");
  });

  test("a private mapping reads the file's page and writes to a copy", () => {
    const world = new HugeWorld(2);
    const file = createHugeFile(world.kernel, "shared", world.pool, HUGE);
    const open = new OpenFile(file, "read-write");
    expect(world.call("fallocate", [open, 0, 0, HUGE * PAGE_SIZE])).toBe(0);
    expect(world.pages).toBe("2 1 0 0");
    world.call("mmap", [addressOf(PLACE), HUGE * PAGE_SIZE, READ_WRITE, MAP_PRIVATE | MAP_FIXED, open, 0]);
    expect(world.byteAt(PLACE)).toBe(0);
    world.write(PLACE, 5);
    expect(world.pages).toBe("2 0 0 0");
    const byte = new Uint8Array(1);
    world.call("pread", [open, byte, 0]);
    expect(byte[0]).toBe(0);
    check(world, "after a private write");
  });
});

/** What Linux 6.18 answered, with a pool of four pages of 2 MiB; see the operations on its left. */
describe("as 6.18 answered", () => {
  const bytes = (huge: number) => huge * HUGE * PAGE_SIZE;
  const at = (huge: number, page = 0) => addressOf(PLACE + huge * HUGE + page);
  const start = () => new HugeWorld(4, { kernel: "linux-6.18" });

  test("the pool after each step of a private area's life", () => {
    const world = start();
    world.mapHuge(3, PRIVATE);
    expect(world.pages).toBe("4 4 3 0");
    world.write(PLACE + 7, 5);
    expect(world.call("madvise", [at(0, 3), PAGE_SIZE, 4])).toBe(-EINVAL);
    world.write(PLACE + HUGE, 1);
    expect(world.call("madvise", [at(0), bytes(1) + 5 * PAGE_SIZE, 4])).toBe(0);
    expect(world.pages).toBe("4 3 2 0");
    for (const refused of [8, 20, 21, 25]) expect(world.call("madvise", [at(0), bytes(1), refused])).toBe(-EINVAL);
    for (const taken of [3, 14, 15, 12]) expect(world.call("madvise", [at(0), bytes(1), taken])).toBe(0);
    expect(world.call("munmap", [at(0), bytes(0.5)])).toBe(-EINVAL);
    expect(world.call("mremap", [at(0), bytes(3), bytes(4), 1, 0])).toBe(-EINVAL);
    expect(world.call("mremap", [at(0), bytes(3) - PAGE_SIZE, bytes(3) - PAGE_SIZE, 1, 0])).toBe(at(0));
    expect(world.call("mremap", [at(0), bytes(3), bytes(2), 1, 0])).toBe(at(0));
    expect(world.pages).toBe("4 3 1 0");
    expect(world.call("mremap", [at(0), bytes(2), bytes(2), 3, at(64)])).toBe(at(64));
    expect(world.byteAt(PLACE + 65 * HUGE)).toBe(1);
    expect(world.pages).toBe("4 3 1 0");
    expect(world.call("munmap", [at(64), bytes(2)])).toBe(0);
    expect(world.pages).toBe("4 4 0 0");
    check(world, "at the end");
  });

  test("faults that populate are counted, and an owner takes the page back from his child", () => {
    const world = start();
    world.mapHuge(2, PRIVATE | 0x8000);
    expect([world.thread.process.minorFaults, world.pages]).toEqual([2, "4 2 0 0"]);
    world.call("munmap", [at(0), bytes(2)]);
    world.mapHuge(3, PRIVATE, READ_WRITE, PLACE + 100 * HUGE);
    expect(world.mapHuge(2, PRIVATE)).toBe(-ENOMEM);
    world.mapHuge(2, PRIVATE | MAP_NORESERVE);
    expect([world.store(PLACE), world.store(PLACE + HUGE)]).toEqual([0, BUS_ADRERR]);
    world.call("munmap", [at(0), bytes(2)]);
    world.mapHuge(1, PRIVATE);
    world.write(PLACE, 1);
    const child = world.fork()!;
    expect([world.store(PLACE, child), world.byteAt(PLACE, child)]).toEqual([BUS_ADRERR, 1]);
    expect([world.write(PLACE, 2), world.pages]).toEqual([0, "4 3 3 0"]);
    expect(world.load(PLACE, child)).toBe(BUS_ADRERR);
    check(world, "after the theft");
  });

  test("the pool after each step of a file's life", () => {
    const world = start();
    const file = createHugeFile(world.kernel, "memfd", world.pool, 0);
    const open = new OpenFile(file, "read-write");
    const map = (place: number, length: number) =>
      world.call("mmap", [place, length, READ_WRITE, MAP_SHARED | MAP_FIXED, open, 0]);
    expect(world.call("ftruncate", [open, bytes(0.5)])).toBe(-EINVAL);
    expect(world.call("ftruncate", [open, bytes(2)])).toBe(0);
    map(at(0), bytes(2));
    world.write(PLACE + HUGE, 4);
    expect(world.pages).toBe("4 3 1 0");
    expect(world.call("ftruncate", [open, bytes(1)])).toBe(0);
    expect(world.pages).toBe("4 4 1 0");
    expect(map(at(10), PAGE_SIZE)).toBe(at(10));
    expect(world.call("fallocate", [open, 0, 0, PAGE_SIZE])).toBe(0);
    expect(world.call("fallocate", [open, 1, 0, bytes(3)])).toBe(0);
    expect(world.call("fallocate", [open, 16, 0, bytes(1)])).toBe(-EOPNOTSUPP);
    expect(world.pages).toBe("4 1 0 0");
    expect(world.call("fallocate", [open, 3, 0, bytes(1)])).toBe(0);
    expect(world.pages).toBe("4 2 0 0");
    expect(world.call("madvise", [at(0), bytes(1), 9])).toBe(0);
    expect(world.call("remap_file_pages", [at(0), bytes(1), 0, 0, 0])).toBe(0);
    expect(world.call("msync", [at(0), bytes(1), 4])).toBe(0);
    expect([world.call("fsync", [open]), world.call("fadvise", [open, 0, bytes(1), 4])]).toEqual([0, 0]);
    world.call("munmap", [at(0), bytes(2)]);
    world.call("munmap", [at(10), bytes(1)]);
    unlinkFile(world.kernel, file);
    expect(world.pages).toBe("4 4 0 0");
    check(world, "at the end");
  });

  test("sizes that there are, and one that there is not", () => {
    const world = start();
    const ask = (log: number) => world.call("mmap", [0, bytes(1), 3, PRIVATE + log * 2 ** 26, null, 0]);
    expect([ask(30), ask(22)]).toEqual([-ENOMEM, -EINVAL]);
  });
});
