/** When empty page tables go: by spans of areas, or with their last entry. */
import { describe, expect, test } from "vitest";
import { audit } from "../../check/audit/audit.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import { Machine } from "../../machine.ts";
import { applySettings, specOf } from "../../presets.ts";
import { runToCompletion } from "../../sync/path.ts";
import { WANT_USER } from "../allocator.ts";
import { OpenFile } from "../file.ts";
import { scanClusters } from "../nonlinear/cluster-scan.ts";
import type { Thread } from "../process.ts";
import { FAULT_MINOR } from "../verdict.ts";
import type { TableFreeingName } from "./freeing.ts";

const PAGE = 4096;
const GIB = 2 ** 30;
const RW = 3;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED_ANONYMOUS = 0x30;
const MADV_DONTNEED = 4;

class Program {
  readonly machine: Machine;
  readonly thread: Thread;

  constructor(
    freeing: TableFreeingName,
    machine = "piii-4g",
    settings: readonly string[] = ["geometry.memory=64M", "tunables.overcommitMode=1"],
  ) {
    this.machine = new Machine(applySettings(specOf(machine), [...settings, `pageTableFreeing=${freeing}`]));
    this.thread = this.machine.spawn("test").threads[0]!;
  }

  call(name: string, ...args: (number | OpenFile | null)[]): number {
    return this.machine.call(this.thread, name, args);
  }

  map(address: number, bytes: number): void {
    expect(this.call("mmap", address, bytes, RW, MAP_PRIVATE | MAP_FIXED_ANONYMOUS, null, 0)).toBe(address);
  }

  store(address: number): void {
    expect(this.machine.access(this.thread, address, STORE)).toBe(FAULT_MINOR);
  }

  get leaves(): number {
    return this.thread.mm.tablesByLevel[1]!;
  }

  get violations(): readonly unknown[] {
    return audit(this.machine);
  }
}

/** One page a leaf table over a gigabyte that starts at one; then all but one page are unmapped. */
function hoard(freeing: TableFreeingName): Program {
  const program = new Program(freeing);
  program.map(GIB, GIB);
  for (let at = 0; at < GIB; at += 2 ** 21) program.store(GIB + at);
  expect(program.leaves).toBe(512);
  expect(program.call("munmap", GIB + PAGE, GIB - PAGE)).toBe(0);
  return program;
}

describe("a PAE process that unmaps all but one page of a gigabyte", () => {
  test("keeps 512 leaf tables where whole spans are freed, and one elsewhere", () => {
    expect(hoard("spans").leaves).toBe(512);
    expect(hoard("pmd-ranges").leaves).toBe(1);
    expect(hoard("when-empty").leaves).toBe(1);
  });

  test("gives the span back with its last area", () => {
    const program = hoard("spans");
    program.call("munmap", GIB, PAGE);
    expect([program.leaves, program.violations]).toEqual([0, []]);
  });
});

test("with two levels a span is that of one leaf table", () => {
  const program = new Program("spans", "nonpae-3g", ["geometry.memory=64M"]);
  program.map(GIB, 2 ** 24);
  for (let at = 0; at < 2 ** 24; at += 2 ** 22) program.store(GIB + at);
  program.call("munmap", GIB + PAGE, 2 ** 24 - 2 * PAGE);
  expect(program.leaves).toBe(2);
});

describe("when the last entry is cleared", () => {
  test("MADV_DONTNEED leaves the tables that it empties, unless they go when they are empty", () => {
    const left = (freeing: TableFreeingName): number => {
      const program = new Program(freeing);
      program.map(GIB, 2 ** 22);
      program.store(GIB);
      program.store(GIB + 2 ** 21);
      program.store(GIB + 2 ** 21 + PAGE);
      program.call("madvise", GIB, 2 ** 21 + PAGE, MADV_DONTNEED);
      expect(program.violations).toEqual([]);
      return program.leaves;
    };
    expect([left("spans"), left("pmd-ranges"), left("when-empty")]).toEqual([2, 2, 1]);
  });

  test("truncation frees the tables of everybody who mapped what is gone", () => {
    const program = new Program("when-empty");
    const file = program.machine.kernel.files.create({ name: "f", kind: "shmem", sizeBytes: 2 ** 22 });
    const open = new OpenFile(file, "read-write");
    program.call("mmap", GIB, 2 ** 22, RW, MAP_SHARED | 0x10, open, 0);
    program.store(GIB);
    program.store(GIB + 2 ** 21);
    program.call("ftruncate", open, 2 ** 21);
    expect([program.leaves, program.violations]).toEqual([1, []]);
  });

  test("nonlinear areas lose their tables with their last pages, and those that remember pages keep theirs", () => {
    const left = (discard: (program: Program, open: OpenFile) => void): number => {
      const program = new Program("when-empty");
      const file = program.machine.kernel.files.create({ name: "f", kind: "shmem", sizeBytes: 2 ** 22 });
      const open = new OpenFile(file, "read-write");
      program.call("mmap", GIB, 2 ** 22, RW, MAP_SHARED | 0x10, open, 0);
      program.call("remap_file_pages", GIB, PAGE, 0, 3, 0);
      program.store(GIB + 2 ** 21);
      expect(program.leaves).toBe(2);
      discard(program, open);
      expect(program.violations).toEqual([]);
      return program.leaves;
    };
    expect(left((program) => program.call("madvise", GIB, 2 ** 22, MADV_DONTNEED))).toBe(1);
    expect(left((program, open) => program.call("ftruncate", open, 2 ** 21))).toBe(1);
  });

  test.each([
    ["pte-chain-e", "linux-2.6"],
    ["object-anon", "linux-2.6"],
    ["pte-chain-b", "rmap15"],
    ["none", "linux-2.4"],
  ])("reclaim of a file's pages frees the tables of those who mapped them: %s, %s", (reverseMap, reclaim) => {
    const settings = ["geometry.memory=64M", `reverseMap=${reverseMap}`, `reclaim=${reclaim}`];
    const program = new Program("when-empty", "pae-8g", [...settings, "pageTableAccess=kmap-atomic"]);
    const { kernel } = program.machine;
    const file = kernel.files.create({ name: "f", kind: "regular", sizeBytes: 2 ** 22 });
    program.call("mmap", GIB, 2 ** 22, RW, MAP_SHARED | 0x10, new OpenFile(file, "read-write"), 0);
    for (const address of [GIB, GIB + 2 ** 21]) program.machine.access(program.thread, address, LOAD);
    expect(program.leaves).toBe(2);
    for (let turn = 0; turn < 10 && program.leaves > 0; turn++) {
      runToCompletion(kernel.reclaim.freePages(kernel, { order: 0, want: WANT_USER }));
    }
    expect([program.leaves, program.violations]).toEqual([0, []]);
  });

  test("a scan of nonlinear areas frees the tables that it empties, and keeps those that remember pages", () => {
    const program = new Program("when-empty", "piii-4g", ["geometry.memory=64M", "reverseMap=object-anon"]);
    const { kernel } = program.machine;
    const file = kernel.files.create({ name: "f", kind: "regular", sizeBytes: 2 ** 22 });
    program.call("mmap", GIB, 2 ** 22, RW, MAP_SHARED | 0x10, new OpenFile(file, "read-write"), 0);
    program.call("remap_file_pages", GIB, PAGE, 0, 3, 0);
    program.machine.access(program.thread, GIB + 2 ** 21, LOAD);
    const frame = file.pages.find(3);
    for (let turn = 0; turn < 100 && program.leaves > 1; turn++) runToCompletion(scanClusters(kernel, frame));
    expect([program.leaves, program.violations]).toEqual([1, []]);
  });

  test("mremap leaves no empty table behind, and a table that moves keeps its count", () => {
    const program = new Program("when-empty", "amd64-8g", ["geometry.memory=64M"]);
    program.map(GIB, 2 ** 21);
    program.store(GIB);
    program.store(GIB + 5 * PAGE);
    const MREMAP_MAYMOVE_FIXED = 3;
    program.call("mremap", GIB, 2 ** 21, 2 ** 21, MREMAP_MAYMOVE_FIXED, 2 * GIB);
    program.call("mremap", 2 * GIB + 5 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE_FIXED, 3 * GIB);
    expect(program.leaves).toBe(2);
    program.call("munmap", 3 * GIB, PAGE);
    program.call("madvise", 2 * GIB, PAGE, MADV_DONTNEED);
    expect([program.leaves, program.violations]).toEqual([0, []]);
    expect(program.machine.access(program.thread, 2 * GIB, LOAD)).toBe(FAULT_MINOR);
  });
});
