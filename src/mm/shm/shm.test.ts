import { describe, expect, test } from "vitest";
import { EACCES, EIDRM, EINVAL, ENOMEM, ENOSPC, ENOSYS, EPERM } from "../../base/errno.ts";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { requireClean } from "../../check/audit/audit.ts";
import { HUGE, HugeWorld, PLACE } from "../bigpages/test-world.ts";
import type { PersonalityName } from "../personality.ts";
import { TestKernel } from "../test-kernel.ts";
import { BUS_ADRERR } from "../verdict.ts";

const MAKE = 0o1600;
const SHM_HUGETLB = 0o4000;
const NORESERVE = 0o10000;
const RMID = 0;
const AT = 0x4000_0000;
const HUGE_BYTES = HUGE * PAGE_SIZE;

const check = ({ kernel }: TestKernel, when: string): void =>
  requireClean({ kernel, processes: kernel.processes }, when);

describe.each(["linux-2.6.11", "linux-6.1", "linux-6.18"] as const)("segments of %s", (kernel) => {
  test("are shared by whoever attaches them, and live until they are removed and nobody has them", () => {
    const world = new TestKernel({ kernel, nonlinear: "emulated" });
    const id = world.call("shmget", [9, 3 * PAGE_SIZE, MAKE]);
    expect(world.call("shmat", [id, AT, 0])).toBe(AT);
    expect(world.store(AT / PAGE_SIZE)).toBe(0);
    const child = world.fork()!;
    const also = world.call("shmat", [id, 0, 0], child);
    expect(world.load(also / PAGE_SIZE, child)).toBe(0);
    check(world, "with two attachments of the child's");
    expect(world.call("shmctl", [id, RMID])).toBe(0);
    expect(world.call("shmget", [9, PAGE_SIZE, 0])).toBe(-2);
    world.call("shmdt", [AT]);
    world.call("shmdt", [AT], child);
    expect([...world.kernel.segments.all()]).toHaveLength(1);
    expect(world.call("shmat", [id, AT, 0], child)).toBe(AT);
    world.exit(child);
    expect([...world.kernel.segments.all()]).toHaveLength(0);
    expect([world.kernel.segments.pages, world.kernel.files.count]).toEqual([0, 0]);
    expect(world.call("shmat", [id, AT, 0])).toBe(-EINVAL);
    check(world, "at the end");
  });

  test("are promised whole when they are made, and taken back when they go", () => {
    const world = new TestKernel({ kernel });
    const { commitment } = world.kernel;
    const before = commitment.pages;
    const id = world.call("shmget", [0, 10 * PAGE_SIZE - 5, MAKE]);
    expect(commitment.pages - before).toBe(10);
    world.call("shmat", [id, AT, 0]);
    expect(commitment.pages - before).toBe(10);
    world.call("shmctl", [id, RMID]);
    world.call("shmdt", [AT]);
    expect(commitment.pages).toBe(before);
  });

  test("cannot be attached for more than their owner's mode allows, but by root", () => {
    const world = new TestKernel({ kernel });
    const id = world.call("shmget", [0, PAGE_SIZE, 0o1400]);
    world.thread.mm.limits.privilege = "user";
    expect(world.call("shmat", [id, AT, 0])).toBe(-EACCES);
    expect(world.call("shmat", [id, AT, 0o10000])).toBe(AT);
    world.thread.mm.limits.privilege = "root";
    expect(world.call("shmat", [id, 2 * AT, 0])).toBe(2 * AT);
  });

  test("are at most 4096", () => {
    const world = new TestKernel({ kernel });
    for (let made = 0; made < 4096; made++) expect(world.call("shmget", [0, 1, MAKE])).toBeGreaterThanOrEqual(0);
    expect(world.call("shmget", [0, 1, MAKE])).toBe(-ENOSPC);
    check(world, "with all segments");
  });
});

/** The numbers that six segments get, the first of which is removed after the second. */
function numbers(kernel: PersonalityName) {
  const world = new TestKernel({ kernel });
  const make = () => world.call("shmget", [0, PAGE_SIZE, MAKE]);
  const first = make();
  const ids = [first, make()];
  world.call("shmctl", [first, RMID]);
  const third = make();
  return { world, first, ids: [...ids, third, make()] };
}

test("a number tells a segment from those that had its place before, and each kernel says so in its way", () => {
  const old = numbers("linux-2.6.11");
  expect(old.ids).toEqual([0, 0x8001, 0x1_0000, 0x1_8002]);
  expect(old.world.call("shmat", [old.first, AT, 0])).toBe(-EIDRM);
  // As 6.18 numbers them: places are not used again before 64 have been.
  const now = numbers("linux-6.18");
  expect(now.ids).toEqual([0, 1, 2, 3]);
  expect(now.world.call("shmat", [now.first, AT, 0])).toBe(-EINVAL);
  for (let made = 4; made < 64; made++) now.world.call("shmctl", [now.world.call("shmget", [0, 1, MAKE]), RMID]);
  expect(now.world.call("shmget", [0, 1, MAKE])).toBe(0x8000);
});

test("2.6.11 has no segment of more than 32 MiB, and keeps room below a stack", () => {
  const world = new TestKernel({ kernel: "linux-2.6.11", format: "pae" });
  const most = 32 * 2 ** 20;
  expect(world.call("shmget", [0, most + 1, MAKE])).toBe(-EINVAL);
  const id = world.call("shmget", [0, 4 * PAGE_SIZE, MAKE]);
  world.thread.mm.stackStart = AT;
  expect(world.call("shmat", [id, AT - addressOf(8), 0])).toBe(-EINVAL);
  expect(world.call("shmat", [id, AT - addressOf(9), 0])).toBe(AT - addressOf(9));
});

describe("SHM_HUGETLB", () => {
  const make = (world: HugeWorld, huge: number, more = 0) =>
    world.call("shmget", [0, huge * HUGE_BYTES, MAKE | SHM_HUGETLB | more]);
  const at = addressOf(PLACE);

  test("today: pages are promised to the segment, and come as they are touched", () => {
    const world = new HugeWorld(3);
    const id = world.call("shmget", [0, HUGE_BYTES + 1, MAKE | SHM_HUGETLB]);
    expect(world.pages).toBe("3 3 2 0");
    expect(make(world, 2)).toBe(-ENOMEM);
    expect(world.call("shmat", [id, at + PAGE_SIZE, 0])).toBe(-EINVAL);
    expect(world.call("shmat", [id, at, 0])).toBe(at);
    expect(world.write(PLACE + HUGE, 4)).toBe(0);
    const child = world.fork()!;
    expect(world.byteAt(PLACE + HUGE, child)).toBe(4);
    expect(world.pages).toBe("3 2 1 0");
    check(world, "with a child");
    world.call("shmctl", [id, RMID]);
    world.call("shmdt", [at]);
    world.exit(child);
    expect(world.pages).toBe("3 3 0 0");
    check(world, "at the end");
  });

  test("today: a segment without a promise is attached whatever the pool has, and killed for what it has not", () => {
    const world = new HugeWorld(1);
    const id = make(world, 2, NORESERVE);
    expect(world.call("shmat", [id, at, 0])).toBe(at);
    expect(world.pages).toBe("1 1 0 0");
    expect([world.store(PLACE), world.store(PLACE + HUGE)]).toEqual([0, BUS_ADRERR]);
    check(world, "after a shortage");
  });

  test("today: sizes are named by their logarithm", () => {
    const world = new HugeWorld(1);
    const ask = (log: number) => make(world, 1, log * 2 ** 26);
    expect([ask(22), ask(30), ask(21)]).toEqual([-EINVAL, -ENOMEM, 0]);
  });

  test("today: only for root and the group of vm.hugetlb_shm_group, however much one may lock", () => {
    const world = new HugeWorld(1);
    world.thread.mm.limits.privilege = "user";
    world.thread.mm.limits.lockedBytes = Number.POSITIVE_INFINITY;
    expect(make(world, 1)).toBe(-EPERM);
    expect(make(world, 9)).toBe(-EPERM);
    expect(make(world, 1, 22 * 2 ** 26)).toBe(-EINVAL);
    const grouped = new HugeWorld(1, { tunables: { hugetlbShmGroup: "everybody" } });
    grouped.thread.mm.limits.privilege = "user";
    expect(make(grouped, 1)).toBe(0);
  });

  test("2.6.11: for whoever may lock memory, as far as he may; all pages come when it is attached", () => {
    const world = new HugeWorld(4, { kernel: "linux-2.6.11", format: "pae" });
    const { limits } = world.thread.mm;
    expect(make(world, 5)).toBe(-ENOMEM);
    limits.privilege = "user";
    limits.lockedBytes = 0;
    expect(make(world, 1)).toBe(-EPERM);
    expect(make(world, 5)).toBe(-EPERM);
    limits.lockedBytes = 3 * HUGE_BYTES;
    expect(make(world, 4)).toBe(-ENOMEM);
    const two = make(world, 2);
    expect(two).toBeGreaterThanOrEqual(0);
    expect(make(world, 2)).toBe(-ENOMEM);
    expect(world.pages).toBe("4 4 0 0");
    expect(world.call("shmat", [two, at, 0])).toBe(at);
    expect(world.pages).toBe("4 2 0 0");
    check(world, "with an attachment");
    world.call("shmctl", [two, RMID]);
    world.call("shmdt", [at]);
    expect([world.pages, world.kernel.segments.lockedBytes]).toEqual(["4 4 0 0", 0]);
    expect(make(world, 2)).toBeGreaterThanOrEqual(0);
    // One that is not of whole huge pages can be made, and never attached.
    limits.privilege = "root";
    const odd = world.call("shmget", [0, HUGE_BYTES + 1, MAKE | SHM_HUGETLB]);
    expect(world.call("shmat", [odd, at, 0])).toBe(-EINVAL);
    expect(world.call("shmat", [odd, 0, 0])).toBe(-EINVAL);
    check(world, "at the end");
  });

  test("where there are no huge pages", () => {
    const old = new TestKernel({ kernel: "linux-2.6.11" });
    const now = new TestKernel();
    const ask = (world: TestKernel, log = 0) =>
      world.call("shmget", [0, HUGE_BYTES, (MAKE | SHM_HUGETLB) + log * 2 ** 26]);
    expect([ask(old), ask(now), ask(now, 21), ask(now, 30)]).toEqual([-ENOSYS, -ENOMEM, -ENOMEM, -EINVAL]);
  });
});
