import { describe, expect, test } from "vitest";
import { addressOf } from "../base/units.ts";
import { WANT_KERNEL } from "./allocator.ts";
import { BUS_ADRERR, SEGV_ACCERR, SEGV_MAPERR } from "./fault.ts";
import { OpenFile } from "./file.ts";
import { NO_FRAME } from "./frames.ts";
import { MAP_PRIVATE, MAP_SHARED, PROT_NONE, READ, READ_WRITE, TestKernel } from "./test-kernel.ts";
import { OWNER_BOOT } from "./zone.ts";

const AT = 0x40000;

describe("anonymous memory", () => {
  test("a read maps the zero page, and counts nothing as resident", () => {
    const machine = new TestKernel();
    machine.map(AT, 4, READ_WRITE, MAP_PRIVATE);
    expect(machine.load(AT + 1)).toBe(0);
    expect(machine.picture(AT, 4)).toBe(". Z . .");
    expect(machine.thread.mm.resident.anon).toBe(0);
    expect(machine.thread.process.minorFaults).toBe(1);
  });

  test("a write gives a page of one's own, written and writable", () => {
    const machine = new TestKernel();
    machine.map(AT, 2, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    expect(machine.picture(AT, 2)).toBe("wad! .");
    expect(machine.thread.mm.resident.anon).toBe(1);
    expect(machine.thread.process.minorFaults).toBe(1);
  });

  test("a write to the zero page is a fault of its own", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.load(AT);
    machine.store(AT);
    expect(machine.picture(AT, 1)).toBe("wad!");
    expect(machine.thread.process.minorFaults).toBe(2);
    expect(machine.kernel.counters.pagesCopied).toBe(0);
  });

  test("faults on 2.6.11 leave no exclusive pages", () => {
    const machine = new TestKernel({ kernel: "linux-2.6.11", format: "pae" });
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    expect(machine.picture(AT, 1)).toBe("wad");
  });

  test("without memory the access ends with FAULT_OOM, and what was counted is counted back", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.load(AT);
    machine.kernel.allocator.failAt(1);
    expect(machine.store(AT)).toBe(2);
    expect(machine.picture(AT, 1)).toBe("Z");
    expect(machine.thread.mm.resident.anon).toBe(0);
    expect(machine.store(AT)).toBe(0);
  });
});

describe("kernel objects that find no memory", () => {
  /** A machine whose frames are all taken, but for those of 64 pages of a file on disk. */
  const fullMachine = (prepare: (machine: TestKernel) => void): TestKernel => {
    const machine = new TestKernel({ frames: 512, reverseMap: "pte-chain-e", kernel: "linux-2.6.11", format: "pae" });
    prepare(machine);
    const { allocator } = machine.kernel;
    machine.call("pread", [new OpenFile(machine.file(64, "regular"), "read-write"), addressOf(64), 0]);
    while (allocator.tryAllocate(0, WANT_KERNEL, OWNER_BOOT) !== NO_FRAME);
    return machine;
  };

  test("a chain: the fault waits until reclaim has freed some, and tries again", () => {
    const machine = fullMachine((empty) => {
      const file = empty.file(1);
      for (const page of [AT, AT + 8]) empty.map(page, 1, READ_WRITE, MAP_SHARED, file);
      empty.store(AT);
    });
    // The frame has one entry, which needs no chain; the second one does.
    expect(machine.store(AT + 8)).toBe(0);
    expect(machine.kernel.reverseMap.costs.adds).toBe(2);
    expect(machine.kernel.reclaim.costs.pagesFreed).toBeGreaterThan(0);
  });

  test("an anon_vma, and a page: the fault ends well as long as there is something to reclaim", () => {
    const machine = fullMachine((empty) => {
      empty.map(AT, 2, READ_WRITE, MAP_PRIVATE);
      empty.load(AT);
    });
    expect(machine.store(AT)).toBe(0);
    expect(machine.picture(AT, 2)).toBe("wad .");
  });
});

describe("signals", () => {
  test("no area, no right, and beyond the end of a file", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, PROT_NONE, MAP_PRIVATE);
    machine.map(AT + 1, 1, READ, MAP_PRIVATE);
    machine.map(AT + 2, 2, READ, MAP_SHARED, machine.file(1));
    expect(machine.load(AT - 1)).toBe(SEGV_MAPERR);
    expect(machine.load(AT)).toBe(SEGV_ACCERR);
    expect(machine.store(AT + 1)).toBe(SEGV_ACCERR);
    expect(machine.load(AT + 2)).toBe(0);
    expect(machine.load(AT + 3)).toBe(BUS_ADRERR);
    expect(machine.thread.process.minorFaults).toBe(1);
  });

  test("a page that must not be executed is mapped by the fetch, and then refused", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    expect(machine.fetch(AT)).toBe(SEGV_ACCERR);
    expect(machine.picture(AT, 1)).toBe("Z");
  });

  test("a bus error leaves upper tables behind, and a leaf table only on 2.6.11", () => {
    const today = new TestKernel();
    today.map(AT, 1, READ, MAP_SHARED, today.file(0));
    today.load(AT);
    expect(today.tables()).toEqual([0, 1, 1]);

    const old = new TestKernel({ kernel: "linux-2.6.11" });
    old.map(AT, 1, READ, MAP_SHARED, old.file(0));
    old.load(AT);
    expect(old.tables()).toEqual([1, 1, 1]);
  });
});

describe("files", () => {
  test("a read maps the cached pages of its aligned window too", () => {
    const machine = new TestKernel();
    const file = machine.file(40);
    machine.map(AT, 40, READ, MAP_SHARED, file);
    for (const page of [3, 8, 9, 15, 16, 31]) machine.load(AT + page);
    machine.map(AT, 40, READ, MAP_SHARED, file);
    const before = machine.thread.process.minorFaults;
    machine.load(AT + 8);
    expect(machine.picture(AT, 18)).toBe(". . . ra . . . . ra ra . . . . . ra . .");
    expect(machine.thread.process.minorFaults - before).toBe(1);
  });

  test("the window ends with the leaf table", () => {
    const machine = new TestKernel();
    const file = machine.file(16);
    const start = AT + 504; // the file's pages 0 to 7, then another table
    machine.map(start, 16, READ, MAP_SHARED, file);
    for (let page = 0; page < 16; page++) machine.load(start + page);
    machine.map(start, 16, READ, MAP_SHARED, file);
    machine.load(start);
    expect(machine.picture(start, 16)).toBe("ra ra ra ra ra ra ra ra . . . . . . . .");
  });

  test("2.6.11 maps the page and no other", () => {
    const machine = new TestKernel({ kernel: "linux-2.6.11" });
    const file = machine.file(4);
    machine.map(AT, 4, READ, MAP_SHARED, file);
    machine.load(AT);
    machine.load(AT + 1);
    machine.map(AT, 4, READ, MAP_SHARED, file);
    machine.load(AT);
    expect(machine.picture(AT, 4)).toBe("ra . . .");
  });

  test("a private write copies at once; a private read maps the file's own page", () => {
    const machine = new TestKernel();
    machine.map(AT, 2, READ_WRITE, MAP_PRIVATE, machine.file(2));
    machine.store(AT);
    machine.load(AT + 1);
    expect(machine.picture(AT, 2)).toBe("wad! ra");
    expect(machine.thread.mm.resident).toEqual({ anon: 1, file: 0, shmem: 1, swap: 0 });
  });

  test("a page of a disk's file stays read-only until it is written", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_SHARED, machine.file(1, "regular"));
    machine.load(AT);
    expect(machine.picture(AT, 1)).toBe("ra");
    expect(machine.thread.process.majorFaults).toBe(1);
    machine.store(AT);
    expect(machine.picture(AT, 1)).toBe("wad");
    expect(machine.thread.mm.resident.file).toBe(1);
  });
});

describe("copy on write", () => {
  test("after a fork the first writer copies, and the last one keeps the page", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    const child = machine.fork()!;
    expect(machine.picture(AT, 1)).toBe("rad");
    expect(machine.picture(AT, 1, child)).toBe("rd");

    machine.store(AT, child);
    expect(machine.entry(AT, child).frame).not.toBe(machine.entry(AT).frame);
    expect(machine.kernel.counters.pagesCopied).toBe(1);

    machine.store(AT);
    expect(machine.picture(AT, 1)).toBe("wad!");
    expect(machine.kernel.counters.pagesCopied).toBe(1);
    expect(machine.kernel.counters.reusedPages).toBe(1);
  });

  test("a page is kept once the child is gone", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    const { frame } = machine.entry(AT);
    machine.exit(machine.fork()!);
    machine.store(AT);
    expect(machine.entry(AT).frame).toBe(frame);
  });
});
