/**
 * A small statically linked program, as far as memory sees it: which areas its image, its heap and its stack are, which
 * of their pages it has touched when its own work starts, and where chance put them.
 *
 *     image base   headers r--  text r-x  constants r--  relocated r--  data rw-  bss rw-
 *     + heapGap    heap (malloc)
 *                  ...
 *     mmap base - mapGap, going down: vvar, vdso (32-bit), then what the program maps
 *     stack top - stackGap: stack, and above it vvar and vdso (64-bit)
 *
 * @models linux-6.1 fs/binfmt_elf.c load_elf_binary, arch/x86/entry/vdso/vma.c map_vdso_randomized
 * @differs vvar and vdso are read-only anonymous areas: their pages are the zero page, not the kernel's own
 */
import { bug } from "../../base/errors.ts";
import { addressOf, type Vaddr, type Vpn } from "../../base/units.ts";
import { type Access, FETCH, LOAD, STORE } from "../../hw/access.ts";
import { DONE, type Machine } from "../../machine.ts";
import type { OpenFile } from "../../mm/file.ts";
import { fallocate } from "../../mm/file-io.ts";
import type { Process, Thread } from "../../mm/process.ts";
import type { Argument } from "../../mm/syscalls.ts";
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_GROWSDOWN,
  MAP_PRIVATE,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
} from "../import/calls.ts";

/** Sizes in pages. */
export interface ProgramImage {
  readonly headers: number;
  readonly text: number;
  readonly constants: number;
  /** Written once by the loader, and read-only from then on. */
  readonly relocated: number;
  readonly data: number;
  readonly bss: number;
  readonly heap: number;
  readonly stack: number;
  /** How many pages of these have been written, from the first one up; of the stack, from the top down. */
  readonly written: { readonly data: number; readonly bss: number; readonly heap: number; readonly stack: number };
}

/** What address-space randomisation drew, in pages. */
export interface Placement {
  /** Between the end of the bss and the heap. */
  readonly heapGap: number;
  /** Between the highest place for mappings and the first one. */
  readonly mapGap: number;
  /** Between the top of the address space and the stack. */
  readonly stackGap: number;
}

/** Where the parts of a loaded program start. */
export interface LoadedProgram {
  readonly process: Process;
  readonly thread: Thread;
  readonly image: ProgramImage;
  readonly text: Vpn;
  readonly data: Vpn;
  readonly bss: Vpn;
  readonly heap: Vpn;
  /** One past its highest page. */
  readonly stackEnd: Vpn;
}

const VVAR_PAGES = 4;
const VDSO_PAGES = 2;
/** Where programs that cannot be moved are linked to, by ABI. */
const imageBases: Readonly<Record<"i386" | "x86-64", Vaddr>> = { i386: 0x0804_8000, "x86-64": 0x40_0000 };

const READ_WRITE = PROT_READ | PROT_WRITE;

/** A system call that must not fail. */
export function mustCall(machine: Machine, thread: Thread, name: string, args: readonly Argument[]): number {
  const result = machine.call(thread, name, args);
  if (result < 0) bug(`${thread.name}: ${name} fails: ${result}`);
  return result;
}

/** Gives a file all its pages, also under a kernel that has no system call for it. */
export function reserveFile(machine: Machine, thread: Thread, file: OpenFile, sizeBytes: number): void {
  const result = machine.run(thread, fallocate(machine.kernel, thread, file, 0, 0, sizeBytes));
  if (result < 0) bug(`${thread.name}: no memory for ${file.file.name}: ${result}`);
}

/** Touches pages that must be there: each, or the first of each `stride`. */
export function touchPages(
  machine: Machine,
  thread: Thread,
  first: Vpn,
  pages: number,
  kind: Access,
  stride: number = 1,
): void {
  if (!tryTouchPages(machine, thread, first, pages, kind, stride)) bug(`${thread.name}: no page near ${first}`);
}

/** The same; false if a page could not be had. */
export function tryTouchPages(
  machine: Machine,
  thread: Thread,
  first: Vpn,
  pages: number,
  kind: Access,
  stride: number = 1,
): boolean {
  machine.switchTo(thread);
  const cpu = machine.cpus[thread.cpu];
  for (let page = first; page < first + pages; page += stride) {
    if (cpu.touch(page, kind)) continue;
    if (machine.access(thread, addressOf(page), kind) !== DONE) return false;
  }
  return true;
}

export const imagePages = (image: ProgramImage): number =>
  image.headers + image.text + image.constants + image.relocated + image.data;

/** Loads the program into a new process, and lets it run up to its `main`. Its file is in memory from then on. */
export function loadProgram(
  machine: Machine,
  file: OpenFile,
  image: ProgramImage,
  placement: Placement,
): LoadedProgram {
  const process = machine.spawn(file.file.name);
  const thread = process.threads[0]!;
  const { layout } = machine.kernel;
  const { mm } = process;
  mm.mmapBase = layout.mmapBase - placement.mapGap;
  reserveFile(machine, thread, file, addressOf(imagePages(image)));

  let page: Vpn = imageBases[layout.abi] / addressOf(1);
  let fileIndex = 0;
  const map = (pages: number, prot: number): Vpn => {
    const args = [addressOf(page), addressOf(pages), prot, MAP_PRIVATE | MAP_FIXED, file, addressOf(fileIndex)];
    mustCall(machine, thread, "mmap", args);
    page += pages;
    fileIndex += pages;
    return page - pages;
  };
  map(image.headers, PROT_READ);
  const text = map(image.text, PROT_READ | PROT_EXEC);
  const constants = map(image.constants, PROT_READ);
  const relocated = map(image.relocated + image.data, READ_WRITE);
  const bss = page;
  mapAnonymous(machine, thread, bss, image.bss, READ_WRITE);
  const heap = bss + image.bss + placement.heapGap;
  mm.startBrk = addressOf(heap);
  mm.brk = addressOf(heap);
  mustCall(machine, thread, "brk", [addressOf(heap + image.heap)]);
  const stackEnd = mapStack(machine, thread, image, layout.stackTop - placement.stackGap);

  touchPages(machine, thread, text, image.text, FETCH);
  touchPages(machine, thread, constants, image.constants, LOAD);
  touchPages(machine, thread, relocated, image.relocated, STORE);
  mustCall(machine, thread, "mprotect", [addressOf(relocated), addressOf(image.relocated), PROT_READ]);
  const data = relocated + image.relocated;
  const { written } = image;
  touchPages(machine, thread, data, written.data, STORE);
  touchPages(machine, thread, bss, written.bss, STORE);
  touchPages(machine, thread, heap, written.heap, STORE);
  touchPages(machine, thread, stackEnd - written.stack, written.stack, STORE);
  return { process, thread, image, text, data, bss, heap, stackEnd };
}

/** The stack below `top`, and the kernel's own pages near it or among the mappings; returns where the stack ends. */
function mapStack(machine: Machine, thread: Thread, image: ProgramImage, top: Vpn): Vpn {
  const { layout } = machine.kernel;
  const own = VVAR_PAGES + VDSO_PAGES;
  const isBesideStack = layout.abi === "x86-64";
  const stackEnd = isBesideStack ? top - own : top;
  mapAnonymous(machine, thread, stackEnd - image.stack, image.stack, READ_WRITE, MAP_GROWSDOWN);
  thread.mm.stackStart = addressOf(stackEnd) - 1;
  const at = isBesideStack ? stackEnd : thread.mm.mmapBase - own;
  mapAnonymous(machine, thread, at, VVAR_PAGES, PROT_READ);
  mapAnonymous(machine, thread, at + VVAR_PAGES, VDSO_PAGES, PROT_READ | PROT_EXEC);
  touchPages(machine, thread, at, 1, LOAD);
  touchPages(machine, thread, at + VVAR_PAGES, 1, FETCH);
  return stackEnd;
}

function mapAnonymous(machine: Machine, thread: Thread, first: Vpn, pages: number, prot: number, more = 0): void {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | more;
  mustCall(machine, thread, "mmap", [addressOf(first), addressOf(pages), prot, flags, null, 0]);
}
