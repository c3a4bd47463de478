import { beforeEach, expect, describe as group, test } from "vitest";
import { addressOf } from "../base/units.ts";
import { LOAD, STORE } from "../hw/access.ts";
import { Machine } from "../machine.ts";
import { OpenFile } from "../mm/file.ts";
import type { Process } from "../mm/process.ts";
import { kernelPreset } from "../presets.ts";
import { describe } from "./describe.ts";
import { oracleSpec } from "./oracle-machine.ts";
import { pressureSpec } from "./pressure.ts";

const PAGE = 0x8000;
const FIXED_PRIVATE = 0x12;
const FIXED_SHARED = 0x11;
const ANONYMOUS = 0x20;

let machine: Machine;
let parent: Process;

const map = (page: number, pages: number, prot: number, flags: number, file: OpenFile | null = null, index = 0) =>
  machine.call(parent.threads[0]!, "mmap", [addressOf(page), addressOf(pages), prot, flags, file, addressOf(index)]);

/** The notation with frames numbered by order of appearance, since where frames come from is not this test's business. */
function state(): string[] {
  const names = new Map<string, string>();
  const text = describe(machine).replace(
    /(frames? )(\d+)(?:\.\.(\d+))?/g,
    (_all, word: string, first: string, last?: string) => {
      if (!names.has(first)) names.set(first, String.fromCharCode(65 + names.size));
      return last === undefined
        ? `${word}${names.get(first)}`
        : `${word}${names.get(first)}..${Number(last) - Number(first) + 1}`;
    },
  );
  return text.split("\n").slice(0, -1);
}

beforeEach(() => {
  machine = new Machine(oracleSpec("i386", "linux-6.1"));
  parent = machine.spawn("parent");
});

group("the state notation", () => {
  test("shows a frame that parent and child share after a fork", () => {
    map(PAGE, 3, 3, FIXED_PRIVATE | ANONYMOUS);
    machine.access(parent.threads[0]!, addressOf(PAGE), STORE);
    const child = machine.fork(parent.threads[0]!) as Process;
    child.name = "child";
    expect(state()).toEqual([
      "parent  VMA  0x08000..0x08003 rw-p anon",
      "        PTE  0x08000 -> frame A r--  ad  2 maps",
      "child   VMA  0x08000..0x08003 rw-p anon",
      "        PTE  0x08000 -> frame A r--  -d  2 maps",
      "frame A  highmem  refs 2  anon  active",
    ]);
  });

  test("writes neighbouring pages with following frames as one line, and the zero page by name", () => {
    map(PAGE, 8, 3, FIXED_PRIVATE | ANONYMOUS);
    for (let page = 0; page < 3; page++) machine.access(parent.threads[0]!, addressOf(PAGE + page), STORE);
    machine.access(parent.threads[0]!, addressOf(PAGE + 4), LOAD);
    machine.access(parent.threads[0]!, addressOf(PAGE + 5), LOAD);
    expect(state()).toEqual([
      "parent  VMA  0x08000..0x08008 rw-p anon",
      "        PTE  0x08000..0x08003 -> frames A..3 rw-  ad  1 map",
      "        PTE  0x08004..0x08006 -> zero page r--  a-",
      "frames A..3  highmem  refs 1  anon  exclusive  active",
    ]);
  });

  test("names a file, the place in it, and pages without rights", () => {
    const file = machine.kernel.files.create({ name: "data", kind: "shmem", sizeBytes: addressOf(8) });
    map(PAGE, 2, 3, FIXED_SHARED, new OpenFile(file, "read-write"), 4);
    machine.access(parent.threads[0]!, addressOf(PAGE + 1), STORE);
    machine.call(parent.threads[0]!, "mprotect", [addressOf(PAGE), addressOf(2), 0]);
    expect(state()).toEqual([
      "parent  VMA  0x08000..0x08002 ---s data+4",
      "        PTE  0x08001 -> frame A ---  ad  1 map",
      expect.stringMatching(/^frame A {2}highmem {2}refs 2 {2}data\+5/),
    ]);
  });

  test("leaves out pages and processes that nobody asked for", () => {
    map(PAGE, 2, 3, FIXED_PRIVATE | ANONYMOUS);
    map(PAGE + 16, 2, 1, FIXED_PRIVATE | ANONYMOUS);
    const pages = { first: PAGE + 16, end: PAGE + 17 };
    expect(describe(machine, { pages })).toBe("parent  VMA  0x08010..0x08012 r--p anon\n");
    expect(describe(machine, { pids: new Set([parent.pid + 1]) })).toBe("");
  });

  test("shows places in swap as runs, and the list and the slot of a page that has come back", () => {
    const design = kernelPreset("linux-2.6.11").design;
    machine = new Machine(pressureSpec({ paging: "i386", kernel: "linux-2.6.11", ...design }, 0));
    parent = machine.spawn("parent");
    map(PAGE, 400, 3, FIXED_PRIVATE | ANONYMOUS);
    for (let page = PAGE; page < PAGE + 400; page++) machine.access(parent.threads[0]!, addressOf(page), STORE);
    expect(describe(machine)).toMatch(/PTE {2}0x08000\.\.0x08\w{3} -> swap \d+\.\.\d+\n/);
    machine.access(parent.threads[0]!, addressOf(PAGE), LOAD);
    expect(describe(machine)).toMatch(/^frame \d+ {2}.*anon.* {2}(in)?active.* {2}swap \d+$/m);
  });
});
