import { describe, expect, test } from "vitest";
import { EAGAIN, ENOMEM, EPERM } from "../base/errno.ts";
import { addressOf } from "../base/units.ts";
import { areaPicture, layOut, protect } from "./area-picture.ts";
import { FAULT_MINOR, SEGV_MAPERR } from "./fault.ts";
import { RLIMIT_DATA, RLIMIT_STACK } from "./limits.ts";
import { Commitment, type CommitmentSource } from "./overcommit.ts";
import { MAP_PRIVATE, MAP_SHARED, PROT_NONE, READ, READ_WRITE, TestKernel } from "./test-kernel.ts";
import { VM_ACCOUNT, VM_LOCKED, VM_LOCKONFAULT, VM_MERGEABLE } from "./vma.ts";
import { MAP_GROWSDOWN, permissions, smapsFlags } from "./vma-flags.ts";
import { alignUpWrapped, sumWrapped, unsigned } from "./words.ts";

const AT = 0x40000;

describe("brk", () => {
  const withBreak = (): TestKernel => {
    const machine = new TestKernel();
    machine.thread.mm.startBrk = addressOf(AT);
    machine.thread.mm.brk = addressOf(AT);
    return machine;
  };
  const brk = (machine: TestKernel, address: number): number => machine.call("brk", [address]);

  test("grows one area, shrinks it, and says where the break is when it does not move", () => {
    const machine = withBreak();
    expect(brk(machine, 0)).toBe(addressOf(AT));
    expect(brk(machine, addressOf(AT + 2) + 5)).toBe(addressOf(AT + 2) + 5);
    expect(areaPicture(machine.thread.mm, AT, 4)).toBe("AAA.");
    brk(machine, addressOf(AT + 4));
    expect(areaPicture(machine.thread.mm, AT, 5)).toBe("AAAA.");
    brk(machine, addressOf(AT + 1));
    expect(areaPicture(machine.thread.mm, AT, 5)).toBe("A....");
    expect(machine.kernel.commitment.pages).toBe(1);
  });

  test("stops a page below the next area, a stack's gap below a stack, and at RLIMIT_DATA", () => {
    const machine = withBreak();
    machine.map(AT + 4, 1, PROT_NONE, MAP_PRIVATE);
    expect(brk(machine, addressOf(AT + 4))).toBe(addressOf(AT));
    expect(brk(machine, addressOf(AT + 3))).toBe(addressOf(AT + 3));
    machine.call("setrlimit", [RLIMIT_DATA, addressOf(2)]);
    expect(brk(machine, addressOf(AT + 2) + 1)).toBe(addressOf(AT + 3));

    const below = withBreak();
    below.map(AT + 300, 1, READ_WRITE, MAP_PRIVATE | MAP_GROWSDOWN);
    expect(brk(below, addressOf(AT + 44))).toBe(addressOf(AT));
    expect(brk(below, addressOf(AT + 43))).toBe(addressOf(AT + 43));
  });

  test("an area that ends where the heap begins is not the heap", () => {
    const machine = withBreak();
    machine.map(AT - 2, 2, READ_WRITE, MAP_PRIVATE);
    brk(machine, addressOf(AT + 2));
    expect(areaPicture(machine.thread.mm, AT - 2, 4)).toBe("AABB");
  });
});

describe("stacks", () => {
  const STACK = AT + 1000;
  const withStack = (kernel: "linux-6.1" | "linux-2.6.11" = "linux-6.1"): TestKernel => {
    const machine = new TestKernel({ kernel, format: kernel === "linux-6.1" ? "x86-64" : "pae" });
    machine.map(STACK, 2, READ_WRITE, MAP_PRIVATE | MAP_GROWSDOWN);
    return machine;
  };

  test("grow down to the page that is touched", () => {
    const machine = withStack();
    expect(machine.store(STACK - 3)).toBe(FAULT_MINOR);
    const vma = machine.thread.mm.vmas.first!;
    expect([vma.start, vma.fileIndex, vma.pages]).toEqual([STACK - 3, STACK - 3, 5]);
    expect(machine.thread.mm.stackPages).toBe(5);
    expect(machine.kernel.commitment.pages).toBe(5);
  });

  test("stop 256 pages above what can be touched; what cannot be is no neighbour; 2.6.11 has no gap", () => {
    const machine = withStack();
    machine.map(STACK - 300, 1, READ, MAP_PRIVATE);
    expect(machine.store(STACK - 44)).toBe(SEGV_MAPERR);
    expect(machine.store(STACK - 43)).toBe(FAULT_MINOR);
    const guarded = withStack();
    guarded.map(STACK - 300, 1, PROT_NONE, MAP_PRIVATE);
    expect(guarded.store(STACK - 299)).toBe(FAULT_MINOR);
    const old = withStack("linux-2.6.11");
    old.map(STACK - 300, 1, READ, MAP_PRIVATE);
    expect(old.store(STACK - 299)).toBe(FAULT_MINOR);
  });

  test("stop at RLIMIT_STACK", () => {
    const machine = withStack();
    machine.call("setrlimit", [RLIMIT_STACK, addressOf(4)]);
    expect(machine.store(STACK - 3)).toBe(SEGV_MAPERR);
    expect(machine.store(STACK - 2)).toBe(FAULT_MINOR);
  });
});

describe("locked memory", () => {
  test("counts pages, once; brings them in; and splits and joins areas", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AAAA", { A: READ_WRITE });
    machine.store(AT);
    machine.call("mlock", [addressOf(AT + 1), addressOf(2)]);
    machine.call("mlock", [addressOf(AT + 2) + 1, 1]);
    const { mm } = machine.thread;
    expect(areaPicture(mm, AT, 4)).toBe("ABBC");
    expect(mm.lockedPages).toBe(2);
    expect(machine.picture(AT, 4)).toBe("wad! wad! wad! .");
    machine.call("munlockall", []);
    expect(areaPicture(mm, AT, 4)).toBe("AAAA");
    expect(mm.lockedPages).toBe(0);
  });

  test("MLOCK_ONFAULT brings nothing in", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AA", { A: READ_WRITE });
    expect(machine.call("mlock2", [addressOf(AT), addressOf(2), 1])).toBe(0);
    expect(machine.thread.mm.vmas.first!.flags & (VM_LOCKED | VM_LOCKONFAULT)).toBe(VM_LOCKED | VM_LOCKONFAULT);
    expect(machine.picture(AT, 2)).toBe(". .");
  });

  test("MCL_FUTURE locks what comes, and the break", () => {
    const machine = new TestKernel();
    machine.call("mlockall", [2]);
    machine.map(AT, 2, READ_WRITE, MAP_PRIVATE);
    expect(machine.picture(AT, 2)).toBe("wad! wad!");
    machine.thread.mm.startBrk = addressOf(AT + 4);
    machine.thread.mm.brk = addressOf(AT + 4);
    machine.call("brk", [addressOf(AT + 5)]);
    expect(machine.picture(AT + 4, 1)).toBe("wad!");
    expect(machine.thread.mm.lockedPages).toBe(3);
  });

  test("a user has RLIMIT_MEMLOCK, counted without what is locked already; with none, nothing at all", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AAAA", { A: READ_WRITE });
    const { limits } = machine.thread.mm;
    limits.privilege = "user";
    limits.lockedBytes = addressOf(3);
    const lock = (first: number, pages: number) => machine.call("mlock", [addressOf(first), addressOf(pages)]);
    expect(lock(AT, 2)).toBe(0);
    expect(lock(AT, 4)).toBe(-ENOMEM);
    expect(lock(AT + 1, 2)).toBe(0);
    expect(machine.call("mmap", [0, addressOf(1), 3, 0x2022, null, 0])).toBe(-EAGAIN);
    expect(machine.call("mlockall", [1])).toBe(-ENOMEM);
    limits.lockedBytes = 0;
    expect(lock(AT, 1)).toBe(-EPERM);
    expect(machine.call("mmap", [0, addressOf(1), 3, 0x2022, null, 0])).toBe(-EPERM);
    expect(machine.call("mlockall", [1])).toBe(-EPERM);
  });
});

describe("what is promised", () => {
  test("private writable memory, once it may be written; shared memory by its file; NORESERVE by nobody", () => {
    const machine = new TestKernel();
    const { commitment } = machine.kernel;
    machine.map(AT, 4, READ, MAP_PRIVATE);
    expect(commitment.pages).toBe(0);
    protect(machine, AT, 2, READ_WRITE);
    expect(commitment.pages).toBe(2);
    protect(machine, AT, 2, READ);
    expect(commitment.pages).toBe(2);
    expect(machine.thread.mm.vmas.first!.flags & VM_ACCOUNT).toBe(VM_ACCOUNT);
    machine.map(AT + 8, 3, READ, MAP_SHARED);
    expect(commitment.pages).toBe(5);
    machine.map(AT + 16, 8, READ_WRITE, MAP_PRIVATE | 0x4000);
    expect(commitment.pages).toBe(5);
    machine.call("munmap", [addressOf(AT), addressOf(64)]);
    expect(commitment.pages).toBe(0);
  });

  test("RLIMIT_AS and RLIMIT_DATA: new areas, and rights that make data; what a fixed place frees counts", () => {
    const machine = new TestKernel();
    const { limits } = machine.thread.mm;
    machine.map(AT, 4, READ, MAP_PRIVATE);
    limits.dataBytes = addressOf(2);
    expect(protect(machine, AT, 3, READ_WRITE)).toBe(-ENOMEM);
    expect(protect(machine, AT, 2, READ_WRITE)).toBe(0);
    limits.addressSpaceBytes = addressOf(4);
    expect(machine.call("mmap", [0, addressOf(1), 1, 0x22, null, 0])).toBe(-ENOMEM);
    expect(machine.call("mmap", [addressOf(AT + 2), addressOf(2), 1, 0x32, null, 0])).toBe(addressOf(AT + 2));
  });

  const source = (mode: number): CommitmentSource => ({
    mode,
    ratio: 50,
    totalPages: () => 1000,
    hugePages: () => 0,
    swapPages: 100,
    adminReservePages: 10,
    userReservePages: 50,
    obviousOvercommit: (pages) => pages > 1000,
  });

  test("mode 0 refuses the obvious, mode 1 nothing, mode 2 all from the limit on", () => {
    const guess = new Commitment(source(0));
    expect([guess.charge(1000, null), guess.charge(1000, null), guess.charge(1001, null)]).toEqual([0, 0, -ENOMEM]);
    expect(guess.pages).toBe(2000);
    expect(new Commitment(source(1)).charge(1_000_000, null)).toBe(0);
    const never = new Commitment(source(2));
    expect(never.limitPages).toBe(600);
    const { mm } = new TestKernel().thread;
    expect([never.charge(599, mm), never.charge(1, mm)]).toEqual([0, -ENOMEM]);
    // Huge pages are nothing that could be promised.
    expect(new Commitment({ ...source(2), hugePages: () => 400 }).limitPages).toBe(400);
    never.uncharge(599);
    mm.totalPages = 320;
    expect([never.charge(590, mm), never.charge(589, mm)]).toEqual([-ENOMEM, 0]);
    never.uncharge(589);
    mm.limits.privilege = "user";
    expect([never.charge(580, mm), never.charge(579, mm)]).toEqual([-ENOMEM, 0]);
    expect(never.peakPages).toBe(599);
  });
});

describe("flags and words", () => {
  test("as smaps and maps spell them", () => {
    expect(smapsFlags(0x10_0073)).toBe("rd wr mr mw me ac");
    expect(smapsFlags(VM_MERGEABLE | VM_LOCKED)).toBe("lo mg");
    expect([permissions(0x10_0073), permissions(0xfd)]).toEqual(["rw-p", "r-xs"]);
  });

  test("unsigned longs wrap where the machine's do", () => {
    const { layout } = new TestKernel().kernel;
    const narrow = new TestKernel({ format: "pae" }).kernel.layout;
    expect(unsigned(narrow, -1)).toBe(2 ** 32 - 1);
    expect(unsigned(layout, -4096)).toBe(2 ** 64 - 4096);
    expect(alignUpWrapped(layout, unsigned(layout, -1))).toBe(0);
    expect(alignUpWrapped(narrow, 2 ** 32 - 4095)).toBe(0);
    expect(sumWrapped(layout, unsigned(layout, -1), 16)).toBe(15);
    expect(sumWrapped(narrow, 2 ** 32 - 1, 16)).toBe(15);
  });
});
