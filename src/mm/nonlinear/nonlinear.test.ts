/** remap_file_pages by a program of one process, whose file's pages say which they are. */
import { describe, expect, test } from "vitest";
import { EINVAL, ENOSYS } from "../../base/errno.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import { Machine } from "../../machine.ts";
import { applySettings, specOf } from "../../presets.ts";
import { OpenFile } from "../file.ts";
import type { Thread } from "../process.ts";
import { FAULT_MINOR } from "../verdict.ts";

const PAGE = 4096;
const BASE = 0x1000_0000;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NONBLOCK = 0x1_0000;

class Program {
  readonly machine: Machine;
  readonly thread: Thread;
  readonly open: OpenFile;

  constructor(nonlinear: "emulated" | "unsupported" = "emulated") {
    const spec = applySettings(specOf("amd64-8g"), ["geometry.memory=64M", `nonlinear=${nonlinear}`]);
    this.machine = new Machine(spec);
    this.thread = this.machine.spawn("test").threads[0]!;
    const file = this.machine.kernel.files.create({ name: "f", kind: "shmem", sizeBytes: 16 * PAGE });
    this.open = new OpenFile(file, "read-write");
    for (let index = 0; index < 16; index++) this.call("pwrite", this.open, Uint8Array.of(65 + index), index * PAGE);
  }

  call(name: string, ...args: (number | OpenFile | Uint8Array | null)[]): number {
    return this.machine.call(this.thread, name, args);
  }

  map(first: number, pages: number, flags = MAP_SHARED, index = 0): number {
    const anonymous = (flags & MAP_ANONYMOUS) !== 0;
    const prot = PROT_READ | PROT_WRITE;
    const file = anonymous ? null : this.open;
    return this.call("mmap", BASE + first * PAGE, pages * PAGE, prot, flags | MAP_FIXED, file, index * PAGE);
  }

  remap(first: number, pages: number, index: number, flags = 0): number {
    return this.call("remap_file_pages", BASE + first * PAGE, pages * PAGE, 0, index, flags);
  }

  /** What the pages from `first` on say, `#` for one that cannot be read. */
  pages(first: number, count: number): string {
    let text = "";
    for (let page = first; page < first + count; page++) {
      const repaired = this.machine.access(this.thread, BASE + page * PAGE, LOAD) === FAULT_MINOR;
      const byte = repaired ? this.machine.readByte(this.thread, BASE + page * PAGE) : 35;
      text += byte === 0 ? "." : String.fromCharCode(byte);
    }
    return text;
  }

  store(page: number, letter: string): void {
    expect(this.machine.access(this.thread, BASE + page * PAGE, STORE)).toBe(FAULT_MINOR);
    this.machine.writeByte(this.thread, BASE + page * PAGE, letter.charCodeAt(0));
  }

  get areas(): string[] {
    return [...this.thread.mm.vmas].map(
      (vma) => `${vma.start - BASE / PAGE}..${vma.end - BASE / PAGE}@${vma.fileIndex}`,
    );
  }
}

describe("emulated remap_file_pages", () => {
  test("maps pages in another order, with an area for each piece", () => {
    const program = new Program();
    program.map(0, 8);
    expect(program.remap(2, 2, 6)).toBe(0);
    expect(program.pages(0, 8)).toBe("ABGHEFGH");
    expect(program.areas).toEqual(["0..2@0", "2..4@6", "4..8@4"]);
  });

  test("makes one area again of pieces that are put back in order", () => {
    const program = new Program();
    program.map(0, 8);
    program.remap(2, 2, 6);
    program.remap(2, 2, 2);
    expect([program.pages(0, 8), program.areas]).toEqual(["ABCDEFGH", ["0..8@0"]]);
  });

  test("does so for shared anonymous memory, whose pages stay", () => {
    const program = new Program();
    program.map(0, 4, MAP_SHARED | MAP_ANONYMOUS);
    for (let page = 0; page < 4; page++) program.store(page, "wxyz"[page]!);
    expect(program.remap(0, 4, 0)).toBe(0);
    program.remap(0, 1, 3);
    expect(program.pages(0, 4)).toBe("zxyz");
    program.remap(0, 1, 0);
    expect([program.pages(0, 4), program.areas]).toEqual(["wxyz", ["0..4@0"]]);
  });

  test("makes the pages present at once, unless it is told not to", () => {
    const program = new Program();
    program.map(0, 8);
    program.remap(0, 2, 8);
    expect(program.thread.mm.residentPages).toBe(2);
    program.remap(4, 2, 8, MAP_NONBLOCK);
    expect(program.thread.mm.residentPages).toBe(2);
  });

  test("reaches over areas of the same kind that touch, and over no hole and no other kind", () => {
    const program = new Program();
    program.map(0, 4);
    program.map(4, 4, MAP_SHARED, 10);
    expect(program.remap(2, 4, 0)).toBe(0);
    expect(program.pages(0, 8)).toBe("ABABCDMN");

    program.call("mprotect", BASE + 7 * PAGE, PAGE, PROT_READ);
    expect(program.remap(5, 3, 0)).toBe(-EINVAL);
    program.call("munmap", BASE + 6 * PAGE, 2 * PAGE);
    expect(program.remap(4, 3, 0)).toBe(-EINVAL);
    expect(program.remap(6, 1, 0)).toBe(-EINVAL);
  });

  test("refuses rights, empty ranges, private areas and what wraps", () => {
    const program = new Program();
    program.map(0, 4);
    program.map(8, 4, MAP_PRIVATE);
    expect(program.call("remap_file_pages", BASE, PAGE, PROT_READ, 0, 0)).toBe(-EINVAL);
    expect(program.call("remap_file_pages", BASE, PAGE - 1, 0, 0, 0)).toBe(-EINVAL);
    expect(program.call("remap_file_pages", 2 ** 64 - PAGE, 2 * PAGE, 0, 0, 0)).toBe(-EINVAL);
    expect(program.remap(8, 1, 0)).toBe(-EINVAL);
  });

  test("rounds place and length down to whole pages", () => {
    const program = new Program();
    program.map(0, 4);
    expect(program.call("remap_file_pages", BASE + PAGE + 5, 2 * PAGE + 5, 0, 7, 0)).toBe(0);
    expect(program.pages(0, 4)).toBe("AHID");
  });

  test("keeps pages of a locked area locked", () => {
    const program = new Program();
    program.map(0, 4);
    program.call("mlock", BASE, 4 * PAGE);
    program.remap(1, 1, 9, MAP_NONBLOCK);
    const { mm } = program.thread;
    expect(mm.lockedPages).toBe(4);
    expect(mm.residentPages).toBe(4);
  });
});

test("a kernel without remap_file_pages has no such call", () => {
  const program = new Program("unsupported");
  program.map(0, 4);
  expect(program.remap(0, 1, 2)).toBe(-ENOSYS);
  expect(program.pages(0, 2)).toBe("AB");
});
