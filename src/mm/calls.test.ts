import { describe, expect, test } from "vitest";
import { errnoName } from "../base/errno.ts";
import { addressOf } from "../base/units.ts";
import { areaPicture, layOut } from "./area-picture.ts";
import { OpenFile } from "./file.ts";
import type { PersonalityName } from "./personality.ts";
import { READ_WRITE, TestKernel } from "./test-kernel.ts";

const AT = 0x4_0000;
const W = addressOf(AT);
const PAGE = 4096;
/** unsigned long -1, as near as a double comes. */
const HUGE = -1;

/** "EINVAL", or the number. */
const outcome = (result: number): string | number => (result < 0 ? errnoName(result) : result);

/**
 * One page of each kind to be refused for, from page 0 of the window:
 *
 *     AAAA.BBCCDD   A read-write  B none  C a file open for reading, shared  D the same file, read-write
 */
function machineWith(kernel: PersonalityName): { machine: TestKernel; reader: OpenFile; writer: OpenFile } {
  const machine = new TestKernel({ kernel, format: kernel === "linux-6.1" ? "x86-64" : "pae" });
  layOut(machine, AT, "AAAA.BB", { A: READ_WRITE, B: 0 });
  const file = machine.file(8);
  const reader = new OpenFile(file, "read");
  const writer = new OpenFile(file, "read-write");
  machine.call("mmap", [W + 7 * PAGE, 2 * PAGE, 1, 0x11, reader, 0]);
  machine.call("mmap", [W + 9 * PAGE, 2 * PAGE, 3, 0x11, writer, 0]);
  return { machine, reader, writer };
}

type Row = readonly [
  what: string,
  name: string,
  args: readonly (number | "reader" | "writer" | null)[],
  expected: string | number,
];

function check(kernel: PersonalityName, rows: readonly Row[]): void {
  test.each(rows)("%s: %s %j is %s", (_what, name, args, expected) => {
    const { machine, reader, writer } = machineWith(kernel);
    const before = areaPicture(machine.thread.mm, AT, 12);
    const resolved = args.map((arg) => (arg === "reader" ? reader : arg === "writer" ? writer : arg));
    expect(outcome(machine.call(name, resolved))).toBe(expected);
    // What is refused before anything is done changes nothing.
    if (typeof expected === "string" && expected !== "ENOMEM") {
      expect(areaPicture(machine.thread.mm, AT, 12)).toBe(before);
    }
  });
}

describe("linux-6.1: errors in the order of evaluation", () => {
  check("linux-6.1", [
    ["an offset inside a page comes first", "mmap", [0, 0, 3, 0, null, 1], "EINVAL"],
    ["then the descriptor", "mmap", [0, 0, 3, 0x2, null, 0], "EBADF"],
    ["then the length", "mmap", [0, 0, 3, 0x22, null, 0], "EINVAL"],
    ["a length that wraps", "mmap", [0, HUGE, 3, 0x22, null, 0], "ENOMEM"],
    ["a length beyond the address space", "mmap", [0, 2 ** 47, 3, 0x22, null, 0], "ENOMEM"],
    ["a fixed place inside a page", "mmap", [W + 1, PAGE, 3, 0x32, null, 0], "EINVAL"],
    ["the place before the type", "mmap", [W, PAGE, 3, 0x10_0020, null, 0], "EEXIST"],
    ["neither shared nor private", "mmap", [0, PAGE, 3, 0x20, null, 0], "EINVAL"],
    ["MAP_SHARED_VALIDATE without a file", "mmap", [0, PAGE, 3, 0x23, null, 0], "EINVAL"],
    ["shared memory does not grow down", "mmap", [0, PAGE, 3, 0x121, null, 0], "EINVAL"],
    ["a file does not grow down", "mmap", [0, PAGE, 1, 0x102, "reader", 0], "EINVAL"],
    ["shared and written, open for reading", "mmap", [0, PAGE, 3, 0x1, "reader", 0], "EACCES"],
    ["flags that MAP_SHARED_VALIDATE does not know", "mmap", [0, PAGE, 1, 0x8_0003, "writer", 0], "EOPNOTSUPP"],
    ["among them MAP_FIXED_NOREPLACE", "mmap", [W + 0x100000, PAGE, 1, 0x10_0003, "writer", 0], "EOPNOTSUPP"],
    ["an offset that no file has", "mmap", [0, PAGE, 1, 0x2, "reader", 2 ** 63], "EOVERFLOW"],
    ["huge pages of a size that does not exist", "mmap", [0, PAGE, 3, 0x22 | 0x4_0000 | (22 << 26), null, 0], "EINVAL"],
    ["huge pages, of which there are none", "mmap", [0, PAGE, 3, 0x4_0022, null, 0], "ENOMEM"],
    ["huge pages of a file that has none", "mmap", [0, PAGE, 1, 0x4_0002, "reader", 0], "EINVAL"],

    ["munmap inside a page", "munmap", [W + 1, PAGE], "EINVAL"],
    ["munmap of nothing", "munmap", [W, 0], "EINVAL"],
    ["munmap beyond the end", "munmap", [2 ** 47, PAGE], "EINVAL"],
    ["munmap of a hole", "munmap", [W + 4 * PAGE, PAGE], 0],

    ["both directions of growth", "mprotect", [W + 1, 0, 0x300_0000], "EINVAL"],
    ["inside a page before length 0", "mprotect", [W + 1, 0, 1], "EINVAL"],
    ["length 0 before the rights", "mprotect", [W, 0, 0x40], 0],
    ["a wrap before the rights", "mprotect", [W, HUGE, 0x40], "ENOMEM"],
    ["unknown rights before the hole", "mprotect", [W + 4 * PAGE, PAGE, 0x40], "EINVAL"],
    ["a hole", "mprotect", [W + 4 * PAGE, PAGE, 1], "ENOMEM"],
    ["write to a file open for reading", "mprotect", [W + 7 * PAGE, PAGE, 3], "EACCES"],
    ["grows down, and is no stack", "mprotect", [W, PAGE, 0x100_0001], "EINVAL"],
    ["grows up: nothing does", "mprotect", [W, PAGE, 0x200_0001], "EINVAL"],

    ["unknown flag", "mremap", [W, PAGE, PAGE, 8], "EINVAL"],
    ["fixed, but may not move", "mremap", [W, PAGE, PAGE, 2, W], "EINVAL"],
    ["kept, and resized", "mremap", [W, PAGE, 2 * PAGE, 5], "EINVAL"],
    ["inside a page", "mremap", [W + 1, PAGE, PAGE, 1], "EINVAL"],
    ["to nothing", "mremap", [W, PAGE, 0, 1], "EINVAL"],
    ["a hole before a bad target", "mremap", [W + 4 * PAGE, PAGE, PAGE, 3, 1], "EFAULT"],
    ["a target inside a page", "mremap", [W, PAGE, PAGE, 3, 1], "EINVAL"],
    ["overlapping", "mremap", [W, 2 * PAGE, 2 * PAGE, 3, W + PAGE], "EINVAL"],
    ["a second mapping of private memory", "mremap", [W, 0, PAGE, 1], "EINVAL"],
    ["grows beyond its area", "mremap", [W, 8 * PAGE, 9 * PAGE, 1], "EFAULT"],
    ["no room, and may not move", "mremap", [W + 5 * PAGE, 2 * PAGE, 3 * PAGE, 0], "ENOMEM"],

    ["unknown advice before alignment", "madvise", [W + 1, PAGE, 99], "EINVAL"],
    ["inside a page", "madvise", [W + 1, PAGE, 4], "EINVAL"],
    ["a wrap", "madvise", [W, HUGE, 4], "EINVAL"],
    ["nothing", "madvise", [W, 0, 4], 0],
    ["a hole on the way", "madvise", [W, 6 * PAGE, 4], "ENOMEM"],
    ["MADV_FREE of a file", "madvise", [W + 7 * PAGE, PAGE, 8], "EINVAL"],
    ["MADV_REMOVE of private memory", "madvise", [W, PAGE, 9], "EINVAL"],
    ["MADV_REMOVE of a file open for reading", "madvise", [W + 7 * PAGE, PAGE, 9], "EACCES"],
    ["MADV_WIPEONFORK of a file", "madvise", [W + 7 * PAGE, PAGE, 18], "EINVAL"],
    ["MADV_POPULATE_WRITE where none may write", "madvise", [W + 7 * PAGE, PAGE, 23], "EINVAL"],
    ["MADV_POPULATE_READ without any rights", "madvise", [W + 5 * PAGE, PAGE, 22], "EINVAL"],

    ["both ways to sync", "msync", [W, PAGE, 5], "EINVAL"],
    ["unknown flag", "msync", [W, PAGE, 8], "EINVAL"],
    ["inside a page", "msync", [W + 1, PAGE, 1], "EINVAL"],
    ["nothing", "msync", [W, 0, 1], 0],
    ["a hole on the way", "msync", [W, 6 * PAGE, 4], "ENOMEM"],

    ["unknown flag before anything", "mlock2", [W, PAGE, 2], "EINVAL"],
    ["a hole on the way", "mlock", [W, 6 * PAGE], "ENOMEM"],
    ["no rights at all: locked, but not present", "mlock", [W + 5 * PAGE, PAGE], "ENOMEM"],
    ["nothing", "mlock", [W, 0], 0],
    ["flags 0", "mlockall", [0], "EINVAL"],
    ["only on fault", "mlockall", [4], "EINVAL"],
    ["unknown flag", "mlockall", [8], "EINVAL"],
  ]);
});

describe("linux-2.6.11: where it differs", () => {
  check("linux-2.6.11", [
    ["length 0 is a success", "mmap", [W, 0, 3, 0x22, null, 0], W],
    ["a length beyond the address space", "mmap", [0, 0xc000_1000, 3, 0x22, null, 0], "EINVAL"],
    ["MAP_SHARED_VALIDATE does not exist", "mmap", [0, PAGE, 1, 0x3, "writer", 0], "EINVAL"],
    [
      "MAP_FIXED_NOREPLACE is no flag: a mere hint",
      "mmap",
      [W + 0x10_0000, PAGE, 3, 0x10_0022, null, 0],
      W + 0x10_0000,
    ],
    ["unknown rights before length 0", "mprotect", [W, 0, 0x40], "EINVAL"],
    ["MREMAP_DONTUNMAP does not exist", "mremap", [W, PAGE, PAGE, 5], "EINVAL"],
    ["shrinking does not look for the area", "mremap", [W + 4 * PAGE, PAGE, PAGE, 0], W + 4 * PAGE],
    ["growing does", "mremap", [W + 4 * PAGE, PAGE, 2 * PAGE, 0], "EFAULT"],
    ["unknown advice is found out at an area", "madvise", [W + 4 * PAGE, PAGE, 99], "ENOMEM"],
    ["MADV_FREE does not exist", "madvise", [W, PAGE, 8], "EINVAL"],
    ["MADV_WILLNEED of memory without a file", "madvise", [W, PAGE, 3], "EBADF"],
    ["MCL_ONFAULT does not exist", "mlockall", [5], "EINVAL"],
  ]);

  test("mincore knows files only, and reports what is cached", () => {
    const { machine } = machineWith("linux-2.6.11");
    const vector = new Uint8Array(4);
    expect(outcome(machine.call("mincore", [W, PAGE, vector]))).toBe("ENOMEM");
    machine.load(AT + 8);
    expect(outcome(machine.call("mincore", [W + 7 * PAGE, 4 * PAGE, vector]))).toBe(0);
    expect([...vector]).toEqual([0, 1, 0, 1]);
  });

  test("mlock2 is no call", () => {
    expect(machineWith("linux-2.6.11").machine.kernel.personality.calls).not.toHaveProperty("mlock2");
  });

  test("sequential reading splits an area for good", () => {
    const { machine } = machineWith("linux-2.6.11");
    machine.call("madvise", [W + PAGE, PAGE, 2]);
    machine.call("madvise", [W + PAGE, PAGE, 0]);
    expect(areaPicture(machine.thread.mm, AT, 4)).toBe("ABCC");
  });
});
