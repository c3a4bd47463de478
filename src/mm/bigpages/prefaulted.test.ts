import { describe, expect, test } from "vitest";
import { EACCES, EINVAL, ENOENT, ENOMEM, EPERM } from "../../base/errno.ts";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { requireClean } from "../../check/audit/audit.ts";
import { OpenFile } from "../file.ts";
import { MAP_FIXED, MAP_PRIVATE, MAP_SHARED, READ, READ_WRITE } from "../test-kernel.ts";
import { BUS_ADRERR, SEGV_ACCERR } from "../verdict.ts";
import { createHugeFile } from "./huge-pages.ts";
import { HugeWorld, PLACE } from "./test-world.ts";

const check = ({ kernel }: HugeWorld, when: string): void =>
  requireClean({ kernel, processes: kernel.processes }, when);

describe.each([
  ["pae", 512],
  ["i386", 1024],
] as const)("hugetlbfs of 2.6.11 with %s paging", (format, HUGE) => {
  const bytes = (huge: number) => huge * HUGE * PAGE_SIZE;
  const at = (huge: number) => addressOf(PLACE + huge * HUGE);
  const start = (huge: number) => new HugeWorld(huge, { format, kernel: "linux-2.6.11", nonlinear: "tagged-search" });
  const opened = (world: HugeWorld, huge: number) =>
    new OpenFile(createHugeFile(world.kernel, "shared", world.pool, huge * HUGE), "read-write");

  test("an area has its pages at once, and page tables are as they were", () => {
    const world = start(2);
    const open = opened(world, 2);
    const before = world.tables();
    const map = (prot: number, flags: number, offset = 0) =>
      world.call("mmap", [at(0), bytes(2), prot, flags | MAP_FIXED, open, offset]);
    expect(map(READ_WRITE, MAP_PRIVATE)).toBe(-EINVAL);
    expect(map(READ_WRITE, MAP_SHARED, PAGE_SIZE)).toBe(-EINVAL);
    expect(map(READ, MAP_SHARED, bytes(1))).toBe(-ENOMEM);
    expect(world.call("mmap", [at(0) + PAGE_SIZE, bytes(1), READ, MAP_SHARED | MAP_FIXED, open, 0])).toBe(-EINVAL);
    expect(world.call("mmap", [at(0), bytes(1) - PAGE_SIZE, READ, MAP_SHARED | MAP_FIXED, open, 0])).toBe(-EINVAL);
    expect(map(READ_WRITE, MAP_SHARED)).toBe(at(0));
    expect(world.pages).toBe("2 0 0 0");
    world.write(PLACE + HUGE + 3, 6);
    expect(world.kernel.counters.minorFaults).toBe(0);
    expect(world.tables()).toEqual(before);
    check(world, "after mmap");

    expect(world.call("mprotect", [at(0), bytes(2), READ])).toBe(-EACCES);
    expect(world.call("mremap", [at(0), bytes(2), bytes(3), 1, 0])).toBe(-EINVAL);
    expect(world.call("madvise", [at(0), bytes(2), 4])).toBe(-EINVAL);
    expect(world.call("munmap", [at(0) + PAGE_SIZE, PAGE_SIZE])).toBe(-EINVAL);
    expect(world.call("pread", [open, new Uint8Array(1), 0])).toBe(-EINVAL);
    expect(world.call("remap_file_pages", [at(0), bytes(1), 0, 0, 0])).toBe(-EINVAL);
    expect(world.call("ftruncate", [open, PAGE_SIZE])).toBe(-EINVAL);

    const child = world.fork()!;
    expect(world.byteAt(PLACE + HUGE + 3, child)).toBe(6);
    check(world, "after fork");
    expect(world.call("ftruncate", [open, bytes(1)])).toBe(0);
    expect(world.load(PLACE + HUGE)).toBe(BUS_ADRERR);
    expect(world.load(PLACE + HUGE, child)).toBe(BUS_ADRERR);
    expect(world.pages).toBe("2 1 0 0");
    check(world, "after ftruncate");
    expect(world.call("munmap", [at(0), bytes(2)])).toBe(0);
    world.exit(child);
    check(world, "at the end");
  });

  test("a shortage leaves no area", () => {
    const world = start(1);
    const open = opened(world, 2);
    expect(world.call("mmap", [at(0), bytes(2), READ_WRITE, MAP_SHARED | MAP_FIXED, open, 0])).toBe(-ENOMEM);
    expect(world.thread.mm.vmas.count).toBe(0);
    check(world, "after a shortage");
  });
});

describe("the calls of 2.5.36", () => {
  const bytes = (huge: number) => huge * 512 * PAGE_SIZE;
  const start = (huge: number) =>
    new HugeWorld(huge, { format: "pae", kernel: "linux-2.6.11", hugePages: "hugetlb-syscalls" });
  const CREATE = 0o1000;

  test("processes share a segment by its key, and it goes with the last of them", () => {
    const world = start(3);
    const place = addressOf(PLACE);
    expect(world.call("alloc_hugepages", [-1, 0, bytes(1), READ_WRITE, CREATE])).toBe(-EINVAL);
    expect(world.call("alloc_hugepages", [5, 0, PAGE_SIZE, READ_WRITE, CREATE])).toBe(-EINVAL);
    expect(world.call("alloc_hugepages", [5, 0, bytes(1), READ_WRITE, 0])).toBe(-ENOENT);
    expect(world.call("alloc_hugepages", [5, place, bytes(2), READ_WRITE, CREATE])).toBe(place);
    world.write(PLACE, 4);
    const other = world.fork()!;
    expect(world.call("free_hugepages", [place], other)).toBe(0);
    const again = world.call("alloc_hugepages", [5, 0, bytes(1), READ, 0], other);
    expect(again % bytes(1)).toBe(0);
    expect(world.byteAt(again / PAGE_SIZE, other)).toBe(4);
    expect(world.store(again / PAGE_SIZE, other)).toBe(SEGV_ACCERR);
    expect(world.pages).toBe("3 1 0 0");
    check(world, "with two users");
    expect(world.call("free_hugepages", [place + PAGE_SIZE])).toBe(-EINVAL);
    expect(world.call("free_hugepages", [place])).toBe(0);
    world.exit(other);
    expect(world.pages).toBe("3 3 0 0");
    expect(world.call("alloc_hugepages", [5, 0, bytes(1), READ, 0])).toBe(-ENOENT);
  });

  test("a shortage maps nothing; key 0 is nobody else's segment", () => {
    const world = start(2);
    expect(world.call("alloc_hugepages", [0, 0, bytes(3), READ_WRITE, 0])).toBe(-ENOMEM);
    expect(world.pages).toBe("2 2 0 0");
    const one = world.call("alloc_hugepages", [0, 0, bytes(1), READ_WRITE, 0]);
    const two = world.call("alloc_hugepages", [0, 0, bytes(1), READ_WRITE, 0]);
    world.write(one / PAGE_SIZE, 1);
    expect(world.byteAt(two / PAGE_SIZE)).toBe(0);
    check(world, "with two areas");
  });
});

describe("map_large_page", () => {
  const bytes = (huge: number) => huge * 512 * PAGE_SIZE;
  const at = (huge: number) => addressOf(PLACE + huge * 512);
  const start = (huge: number) =>
    new HugeWorld(huge, { format: "pae", kernel: "linux-2.6.11", hugePages: "magic-syscall" });

  test("maps the pages of the indices it is given, which all who name them share", () => {
    const world = start(3);
    expect(world.call("map_large_page", [at(0), bytes(2), 7])).toBe(bytes(2));
    world.write(PLACE + 512, 3);
    expect(world.tables()[0]).toBe(0);
    const child = world.fork()!;
    expect(child.mm.vmas.count).toBe(0);
    expect(world.call("map_large_page", [at(4), bytes(1), 8], child)).toBe(bytes(1));
    expect(world.byteAt(PLACE + 4 * 512, child)).toBe(3);
    expect(world.pages).toBe("3 1 0 0");
    check(world, "with two users");
    world.exit(child);
    expect(world.call("munmap", [at(0), bytes(2)])).toBe(0);
    expect(world.call("map_large_page", [at(0), bytes(1), 8])).toBe(bytes(1));
    expect(world.byteAt(PLACE)).toBe(3);
    check(world, "at the end");
  });

  test("checks what it is given, never maps over anything, and returns less where pages run out", () => {
    const world = start(2);
    expect(world.call("map_large_page", [at(0) + PAGE_SIZE, bytes(1), 0])).toBe(-EINVAL);
    expect(world.call("map_large_page", [at(0), PAGE_SIZE, 0])).toBe(-EINVAL);
    expect(world.call("map_large_page", [0xc000_0000, bytes(1), 0])).toBe(-EINVAL);
    expect(world.call("map_large_page", [at(0), 0, 0])).toBe(0);
    world.map(PLACE + 600, 1, READ_WRITE, MAP_PRIVATE);
    expect(world.call("map_large_page", [at(0), bytes(2), 0])).toBe(-ENOMEM);
    expect(world.call("map_large_page", [at(8), bytes(2), 1024])).toBe(0);
    expect(world.call("map_large_page", [at(8), bytes(3), 1022])).toBe(bytes(2));
    expect(world.thread.mm.vmas.find(PLACE + 8 * 512)!.pages).toBe(1024);
    expect(world.call("map_large_page", [at(20), bytes(1), 0])).toBe(0);
    check(world, "with nothing left");
    world.thread.mm.limits.privilege = "user";
    expect(world.call("map_large_page", [at(20), bytes(1), 0])).toBe(-EPERM);
  });

  test("is met by nobody else: every other call refuses its areas", () => {
    const world = start(2);
    world.call("map_large_page", [at(0), bytes(2), 0]);
    expect(world.call("mprotect", [at(0), bytes(1), READ])).toBe(-EINVAL);
    expect(world.call("mremap", [at(0), bytes(2), bytes(3), 1, 0])).toBe(-EINVAL);
    expect(world.call("madvise", [at(0), bytes(1), 4])).toBe(-EINVAL);
    expect(world.call("munmap", [at(0) + PAGE_SIZE, PAGE_SIZE])).toBe(-EINVAL);
    expect(world.call("mlock", [at(0), bytes(1)])).toBe(0);
    expect(world.thread.mm.lockedPages).toBe(0);
    expect(world.call("munmap", [at(0), bytes(1)])).toBe(0);
    expect(world.thread.mm.vmas.count).toBe(1);
    check(world, "after all");
  });

  test("takes the place of an empty page table that was left there", () => {
    const world = new HugeWorld(1, {
      format: "pae",
      kernel: "linux-2.6.11",
      hugePages: "magic-syscall",
      tableFreeing: "spans",
    });
    world.map(PLACE + 3, 1, READ_WRITE, MAP_PRIVATE);
    world.map(PLACE + 1024, 1, READ_WRITE, MAP_PRIVATE);
    world.store(PLACE + 3);
    world.call("munmap", [addressOf(PLACE + 3), PAGE_SIZE]);
    expect(world.tables()[0]).toBe(1);
    expect(world.call("map_large_page", [at(0), bytes(1), 0])).toBe(bytes(1));
    expect(world.tables()[0]).toBe(0);
    expect(world.write(PLACE + 3, 1)).toBe(0);
    check(world, "where a table was");
  });
});
