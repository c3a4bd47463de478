/**
 * What many processes that map one area cost their kernel: a small system in which a program fills a file of shared
 * memory, piece by piece, and then forks children that each map all of it and read every page. All stay alive; between
 * two rounds of forks /proc/meminfo is looked at.
 *
 *     init --- ptexp --- child 1     maps the file, reads it, waits
 *                    --- child 2
 *                    ...
 *
 * The system around it is as small as the one that the comparison was measured on: a RAM file system, one shell that is
 * init, and the program.
 */
import { bug } from "../../base/errors.ts";
import { addressOf, PAGE_SIZE, pageOf, type Vpn } from "../../base/units.ts";
import { FETCH, LOAD, STORE } from "../../hw/access.ts";
import { Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import { type MeminfoLine, meminfo } from "../../mm/meminfo.ts";
import { LEAF, NO_TABLE } from "../../mm/page-table.ts";
import type { Process, Thread } from "../../mm/process.ts";
import type { Slab } from "../../mm/slab.ts";
import { OWNER_SLAB } from "../../mm/zone.ts";
import type { MachineSpec } from "../../presets.ts";
import { MAP_SHARED, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import {
  imagePages,
  type LoadedProgram,
  loadProgram,
  mustCall,
  type Placement,
  type ProgramImage,
  reserveFile,
  touchPages,
  tryTouchPages,
} from "./static-program.ts";

/** What a file of /proc costs while it is remembered. */
interface NameSizes {
  readonly dentry: number;
  readonly procInode: number;
}

/** One system: its programs, and what chance did with their addresses. */
export interface SharedAreaSystem {
  /** The program that forks. */
  readonly program: ProgramImage;
  readonly shell: ProgramImage;
  readonly placement: Placement;
  readonly names: NameSizes;
}

/** All files of the RAM file system, the programs' own included. */
const ROOT_FILES_BYTES = 5_336 * 1024;
/** The program fills its file through a window of this size. */
const WINDOW_BYTES = 4 * 2 ** 20;
const READ_WRITE = PROT_READ | PROT_WRITE;

const shellImage: ProgramImage = {
  headers: 1,
  text: 290,
  constants: 45,
  relocated: 4,
  data: 2,
  bss: 4,
  heap: 34,
  stack: 33,
  written: { data: 2, bss: 4, heap: 4, stack: 2 },
};

const written = { data: 2, bss: 6, heap: 3, stack: 2 };
const GIB_PAGES = 2 ** 18;
const SIGKILL = 9;

/**
 * By ABI. The 64-bit image is that of the program as a compiler of today links it: its areas add up to the VmSize and the
 * Committed_AS that were measured, and so do the 32-bit ones, whose single areas are not known. The placements are drawn
 * so that as many page tables are needed as were measured: there the area crossed a boundary of 1 GiB.
 */
export const sharedAreaSystems: Readonly<Record<"i386" | "x86-64", SharedAreaSystem>> = {
  i386: {
    program: { headers: 1, text: 120, constants: 43, relocated: 3, data: 2, bss: 17, heap: 34, stack: 33, written },
    shell: shellImage,
    placement: { heapGap: 2_571, mapGap: 117, stackGap: 1_021 },
    names: { dentry: 128, procInode: 472 },
  },
  "x86-64": {
    program: { headers: 1, text: 123, constants: 40, relocated: 4, data: 3, bss: 20, heap: 34, stack: 33, written },
    shell: shellImage,
    placement: { heapGap: 2_571, mapGap: 100 * GIB_PAGES + 200_005, stackGap: 1_234_567 },
    names: { dentry: 192, procInode: 680 },
  },
};

/** What was looked at, at one moment. */
export interface SharedAreaRow {
  readonly processes: number;
  readonly memory: readonly MeminfoLine[];
  /** VmPTE and VmSize of the last child; 0 before there is one. */
  readonly pageTablesPages: number;
  readonly sizePages: number;
}

/**
 * How a child goes through the area: it reads the first page of each so many, and the last; or it only gets the page
 * tables that it would get by reading, and no entries in them. Entries cost no memory: the counts are the same.
 */
export type Reading = number | "tables";

export class SharedArea {
  readonly machine: Machine;
  readonly children: Process[] = [];
  private readonly reading: Reading;
  private readonly parent: LoadedProgram;
  private readonly file: OpenFile;
  private readonly dentries: Slab;
  private readonly procInodes: Slab;

  /** Boots the machine and starts the program; the file is there, and empty. */
  constructor(spec: MachineSpec, sizeBytes: number, reading: Reading = 1) {
    this.machine = new Machine(spec);
    this.reading = reading;
    const { files, slabs, layout } = this.machine.kernel;
    const { program, shell, placement, names } = sharedAreaSystems[layout.abi];
    this.dentries = slabs.create("dentry", names.dentry, OWNER_SLAB, "reclaimable");
    this.procInodes = slabs.create("proc_inode_cache", names.procInode, OWNER_SLAB, "reclaimable");
    const create = (name: string, bytes: number) =>
      new OpenFile(files.create({ name, kind: "shmem", sizeBytes: bytes }), "read-write");
    const init = loadProgram(this.machine, create("init", addressOf(imagePages(shell))), shell, placement);
    this.parent = loadProgram(this.machine, create("ptexp", addressOf(imagePages(program))), program, placement);
    const otherBytes = ROOT_FILES_BYTES - addressOf(imagePages(shell) + imagePages(program));
    reserveFile(this.machine, init.thread, create("other files", otherBytes), otherBytes);
    this.file = create("area", sizeBytes);
  }

  /** Writes every page of the file, through one window after the other. */
  fill(): void {
    const { machine, file } = this;
    const { thread } = this.parent;
    for (let offset = 0; offset < file.file.sizeBytes; offset += WINDOW_BYTES) {
      const length = Math.min(WINDOW_BYTES, file.file.sizeBytes - offset);
      const at = mustCall(machine, thread, "mmap", [0, length, READ_WRITE, MAP_SHARED, file, offset]);
      touchPages(machine, thread, pageOf(at), length / PAGE_SIZE, STORE);
      mustCall(machine, thread, "munmap", [at, length]);
    }
  }

  /** Forks until there are so many children. */
  growTo(children: number): void {
    while (this.children.length < children) {
      if (!this.tryStartChild()) bug(`no memory for child ${this.children.length + 1}`);
    }
  }

  /** /proc/meminfo and the last child's /proc/PID/status. */
  look(): SharedAreaRow {
    const { kernel } = this.machine;
    const last = this.children.at(-1)?.mm;
    const counted = last?.tablesByLevel.slice(1, kernel.format.levels) ?? [];
    return {
      processes: this.children.length,
      memory: meminfo(kernel),
      pageTablesPages: counted.reduce((sum, tables) => sum + tables, 0),
      sizePages: last?.totalPages ?? 0,
    };
  }

  /** One more child; false if memory ran out on the way. */
  tryStartChild(): boolean {
    const { machine, parent } = this;
    const child = machine.fork(parent.thread);
    if (typeof child === "number") return false;
    const thread = child.threads[0]!;
    if (!this.touchOwnPages(thread) || !this.openOwnFile() || !this.mapArea(thread)) {
      machine.kill(child, SIGKILL);
      return false;
    }
    this.children.push(child);
    return true;
  }

  private mapArea(thread: Thread): boolean {
    const { machine } = this;
    const { sizeBytes } = this.file.file;
    const at = machine.call(thread, "mmap", [0, sizeBytes, READ_WRITE, MAP_SHARED, this.file, 0]);
    if (at < 0) return false;
    const first = pageOf(at);
    const pages = sizeBytes / PAGE_SIZE;
    if (this.reading === "tables") return this.makeTables(thread, first, first + pages);
    return (
      tryTouchPages(machine, thread, first, pages, LOAD, this.reading) &&
      tryTouchPages(machine, thread, first + pages - 1, 1, LOAD)
    );
  }

  private makeTables({ mm }: Thread, first: Vpn, end: Vpn): boolean {
    const { tables } = this.machine.kernel;
    for (let page = first; page < end; page = tables.endOf(page, LEAF, end)) {
      if (tables.tryEnsureLeaf(mm, page) === NO_TABLE) return false;
    }
    return true;
  }

  /** What runs after fork: code on both sides, and five pages that one of them writes. */
  private touchOwnPages(child: Thread): boolean {
    const { machine, parent } = this;
    return (
      tryTouchPages(machine, child, parent.text, 1, FETCH) &&
      tryTouchPages(machine, child, parent.stackEnd - 1, 1, STORE) &&
      tryTouchPages(machine, child, parent.heap, 1, STORE) &&
      tryTouchPages(machine, child, parent.data, 1, STORE) &&
      tryTouchPages(machine, child, parent.bss, 1, STORE) &&
      tryTouchPages(machine, parent.thread, parent.bss + 1, 1, STORE)
    );
  }

  /** Each child writes its /proc/self/oom_score_adj: the file and its directory stay remembered. */
  private openOwnFile(): boolean {
    return [this.dentries, this.dentries, this.procInodes, this.procInodes].every((cache) => cache.allocate() === 0);
  }
}
