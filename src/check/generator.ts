/**
 * Random programs from a seed: the same calls, in about the same proportions, as those that were run on real kernels,
 * with addresses that crowd where areas meet and where page tables end; and, on request, allocations that fail.
 */
import { Rng } from "../base/rng.ts";
import { PAGE_SIZE } from "../base/units.ts";
import { WINDOW_BYTES } from "./executor.ts";
import { type HugeProfileName, hugeProfiles } from "./huge-profile.ts";
import { type PressureProfileName, pressureProfiles } from "./pressure-profiles.ts";
import { MAP_FIXED_NOREPLACE, type Profile, type ProfileName, profiles } from "./profiles.ts";
import type { Operand, Operation, OperationName, Program, ProgramFile } from "./program.ts";
import { type SegmentProfileName, segmentProfiles } from "./segment-profiles.ts";

export interface ProgramShape {
  readonly operations: number;
  readonly processes: number;
  /** The share of operations of which an allocation fails. */
  readonly failures: number;
  readonly profile: ProfileName | PressureProfileName | HugeProfileName | SegmentProfileName;
}

const allProfiles: Readonly<Record<ProgramShape["profile"], Profile>> = {
  ...profiles,
  ...pressureProfiles,
  ...hugeProfiles,
  ...segmentProfiles,
};

export const usualShape: ProgramShape = { operations: 40, processes: 4, failures: 0, profile: "base" };

const MAP_SHARED = 0x1;
const MAP_PRIVATE = 0x2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const READ_WRITE = 3;
const FILE_BYTES = [PAGE_SIZE, 2 * PAGE_SIZE, 4 * PAGE_SIZE, 8 * PAGE_SIZE, 16 * PAGE_SIZE];

/** Segments that a program knows, and the pages of the largest. */
const SEGMENTS = 3;
const MOST_SEGMENT_PAGES = 8;
const IPC_CREAT = 0o1000;
const IPC_EXCL = 0o2000;
const OWNERS_RIGHTS = 0o600;
const SHM_RDONLY = 0o10000;
const SHM_RND = 0o20000;
const SHM_REMAP = 0o40000;
const SHM_EXEC = 0o100000;

/** Where addresses crowd: the first pages of the window, the end of its first page table, its last pages. */
const CROWDS = [0, 0x1f_0000, WINDOW_BYTES - 0x2_0000, WINDOW_BYTES - 0x2_0000, WINDOW_BYTES - 0x2_0000];
const CROWD_PAGES = 32;
const MOST_PAGES = 12;
/** Mappings that a program looks at before it ends. */
const MOST_LOOKS = 8;
const LARGE_PAGE = 0x20_0000;

export function randomProgram(seed: number, shape: ProgramShape = usualShape): Program {
  return new Generator(seed, shape).program();
}

/** Whole pages of the window. */
interface Range {
  readonly start: number;
  readonly bytes: number;
}

class Generator {
  private readonly seed: number;
  private readonly shape: ProgramShape;
  private readonly rng: Rng;
  private readonly profile: Profile;
  private readonly weights: readonly (readonly [OperationName, number])[];
  private readonly totalWeight: number;
  /** Where something was mapped: what a program does, it does there. */
  private readonly mapped: Range[] = [];
  private readonly live = new Set([0]);
  private value = 0;

  constructor(seed: number, shape: ProgramShape) {
    this.seed = seed;
    this.shape = shape;
    this.rng = new Rng(seed);
    this.profile = allProfiles[shape.profile];
    this.weights = Object.entries(this.profile.weights) as [OperationName, number][];
    this.totalWeight = this.weights.reduce((sum, [, weight]) => sum + weight, 0);
  }

  program(): Program {
    const { rng, shape } = this;
    const files = [this.file(0), this.file(1)];
    const operations: Operation[] = this.hoard();
    while (operations.length < shape.operations) {
      if (rng.chance(shape.failures)) operations.push(this.operation("fail", this.failure()));
      operations.push(this.next());
    }
    if (this.profile.hoards !== undefined) operations.push(...this.looks());
    return { name: `${shape.profile === "base" ? "random" : shape.profile}-${this.seed}`, files, operations };
  }

  /** Large mappings that may be written, each filled at once. */
  private hoard(): Operation[] {
    const { rng, profile } = this;
    const operations: Operation[] = [];
    for (let at = 0; at < (profile.hoards ?? 0); at++) {
      const { start, bytes } = this.newRange();
      const anonymous = rng.chance(profile.anonymous) ? MAP_ANONYMOUS : 0;
      const flags = (rng.chance(profile.shared) ? MAP_SHARED : MAP_PRIVATE) | anonymous | MAP_FIXED;
      const place = this.remember({ base: "window", value: start }, number(bytes));
      const backing = [number(anonymous !== 0 ? -1 : rng.below(2)), number(0)];
      const mapping = [place, number(bytes), number(READ_WRITE), number(flags), ...backing];
      operations.push({ line: 0, process: 0, name: "mmap", operands: mapping });
      operations.push({
        line: 0,
        process: 0,
        name: "fill",
        operands: [place, number(bytes), number(this.nextValue())],
      });
    }
    return operations;
  }

  private file(file: number): ProgramFile {
    const { rng, profile } = this;
    const most = profile.mostFilePages;
    const small = () => (rng.chance(0.3) ? 1 + rng.below(0x1_0000) : rng.pick(FILE_BYTES));
    const bytes = most === undefined ? small() : (1 + rng.below(most)) * PAGE_SIZE;
    // Profiles without files on a disk draw no number for it: their programs stay what they were.
    if (profile.onSegment !== undefined && rng.chance(profile.onSegment)) return { file, bytes, on: "xip" };
    return profile.onDisk !== undefined && rng.chance(profile.onDisk) ? { file, bytes, on: "disk" } : { file, bytes };
  }

  /** A scan of the latest mappings by each process that is left. */
  private looks(): Operation[] {
    const latest = this.mapped.slice(-MOST_LOOKS);
    return [...this.live].flatMap((process) =>
      latest.map(({ start, bytes }) => ({
        line: 0,
        process,
        name: "scan" as const,
        operands: [{ base: "window" as const, value: start }, number(bytes)],
      })),
    );
  }

  /** One of the first allocations: of a page or of a small object. */
  private failure(): readonly Operand[] {
    const { rng } = this;
    return rng.chance(0.4) ? [number(1 + rng.below(4)), number(0)] : [number(0), number(1 + rng.below(8))];
  }

  private next(): Operation {
    let at = this.rng.below(2 ** 32) * (this.totalWeight / 2 ** 32);
    for (const [name, weight] of this.weights) {
      at -= weight;
      if (at < 0) return this.operation(name, this.operands(name));
    }
    return this.operation("stat", []);
  }

  private operation(name: OperationName, operands: readonly Operand[]): Operation {
    const process = this.rng.pick([...this.live]);
    if (name === "fork") return this.fork(process);
    if (name === "exit") {
      if (this.live.size === 1) return { line: 0, process, name: "stat", operands: [] };
      this.live.delete(process);
    }
    return { line: 0, process, name, operands };
  }

  private fork(process: number): Operation {
    const child = Math.max(...this.live) + 1;
    if (child >= this.shape.processes) return { line: 0, process, name: "stat", operands: [] };
    this.live.add(child);
    return { line: 0, process, name: "fork", operands: [number(child)] };
  }

  private operands(name: OperationName): readonly Operand[] {
    const { rng } = this;
    const file = () => number(rng.below(2));
    switch (name) {
      case "mmap":
        return this.mapping();
      case "munmap":
      case "mlock":
      case "munlock":
      case "mincore":
      case "scan":
        return this.range();
      case "fill":
        return [...this.range(), number(this.nextValue())];
      case "mprotect":
        return [...this.range(), number(rng.pick([3, 3, 3, 1, 1, 0, 2, 4, 5, 6, 7]))];
      case "mlock2":
        return [...this.range(), number(rng.below(2))];
      case "mremap":
        return this.remapping();
      case "madvise":
        return [...this.range(), number(rng.pick(this.profile.advice))];
      case "msync":
        return [...this.range(), number(rng.pick([1, 2, 4, 4, 5, 6]))];
      case "rfp":
        return [...this.range(), number(rng.below(16)), number(0)];
      case "brk":
        return [number(rng.pick([0, 0x800, 0x1000, 0x4000, 0x8001, 0x1_0000, 0x2_1000]))];
      case "mlockall":
        return [number(1 + rng.below(3))];
      case "r":
        return [this.place(0x10)];
      case "w":
        return [this.place(0x10), number(this.nextValue())];
      case "x":
        return [this.place(0x800)];
      case "ftrunc":
        return [file(), number(rng.below(0x1_2000))];
      case "fread":
        return [file(), number(rng.below(16) * PAGE_SIZE + 0x10)];
      case "fwrite":
        return [file(), number(rng.below(16) * PAGE_SIZE + 0x10), number(this.nextValue())];
      case "falloc":
        return [
          file(),
          number(rng.pick([0, 1, 3, 3])),
          number(rng.below(8) * PAGE_SIZE),
          number((1 + rng.below(6)) * PAGE_SIZE),
        ];
      case "fadv":
        return [file(), number(rng.below(8) * PAGE_SIZE), number(rng.below(8) * PAGE_SIZE), number(rng.below(7))];
      case "fsync":
        return [file()];
      case "shmget":
        return this.newSegment();
      case "shmat":
        return this.attachment();
      case "shmdt":
        return [this.attached()];
      case "shmrm":
        return [number(rng.below(SEGMENTS))];
      default:
        return [];
    }
  }

  private mapping(): readonly Operand[] {
    const { rng, profile } = this;
    const anonymous = rng.chance(profile.anonymous) ? MAP_ANONYMOUS : 0;
    const fixed = rng.chance(0.35) ? MAP_FIXED : 0;
    const extra = rng.chance(profile.extraFlags.chance) ? rng.pick(profile.extraFlags.flags) : 0;
    const flags = (rng.chance(profile.shared) ? MAP_SHARED : MAP_PRIVATE) | anonymous | fixed | extra;
    const rights = rng.pick([3, 3, 3, 3, 1, 1, 7, 5, 0, 2]);
    const [start, length] = this.range();
    const placed = fixed !== 0 || extra === MAP_FIXED_NOREPLACE;
    const address = placed || rng.chance(0.5) ? start : number(0);
    if (address === start) this.remember(start, length);
    return [
      address,
      length,
      number(rights),
      number(flags),
      number(anonymous !== 0 ? -1 : rng.below(2)),
      number(anonymous !== 0 ? 0 : rng.pick([0, 0, 0x1000, 0x4000])),
    ];
  }

  private newSegment(): readonly Operand[] {
    const { rng } = this;
    const key = rng.pick([0, 0, 1, 2]);
    const bytes = (1 + rng.below(MOST_SEGMENT_PAGES)) * PAGE_SIZE - (rng.chance(0.2) ? rng.below(PAGE_SIZE) : 0);
    const flags = rng.pick([IPC_CREAT, IPC_CREAT, IPC_CREAT, IPC_CREAT | IPC_EXCL, 0]) | OWNERS_RIGHTS;
    return [number(rng.below(SEGMENTS)), number(key), number(bytes), number(flags)];
  }

  /** A segment where something may lie already, or anywhere. */
  private attachment(): readonly Operand[] {
    const { rng } = this;
    const [place] = this.range();
    const last = WINDOW_BYTES - MOST_SEGMENT_PAGES * PAGE_SIZE;
    const start = place.base === "window" ? { ...place, value: Math.min(place.value, last) } : place;
    const flags = rng.pick([0, 0, 0, SHM_RDONLY, SHM_RND, SHM_REMAP, SHM_REMAP, SHM_REMAP | SHM_EXEC]);
    const segment = number(rng.below(SEGMENTS));
    if (rng.chance(0.4)) return [segment, number(0), number(flags)];
    return [segment, this.remember(start, number(MOST_SEGMENT_PAGES * PAGE_SIZE)), number(flags)];
  }

  /** A place where a segment may have been attached, or before it. */
  private attached(): Operand {
    const { rng, mapped } = this;
    if (mapped.length === 0) return { base: "window", value: this.address() };
    const { start } = rng.pick(mapped);
    return { base: "window", value: Math.max(0, start - rng.pick([0, 0, 0, 0, PAGE_SIZE, 2 * PAGE_SIZE, 0x800])) };
  }

  /** A start and a length that stay within the window, or seldom just above the break. */
  private range(): [Operand, Operand] {
    const { rng, profile } = this;
    if (rng.chance(0.03)) return [this.breakPlace(0), number((1 + rng.below(6)) * PAGE_SIZE)];
    const { start, bytes } = rng.chance(profile.familiar) ? this.familiarRange() : this.newRange();
    return [
      { base: "window", value: rng.chance(0.02) ? start + 0x800 : start },
      number(rng.chance(0.05) ? bytes - rng.below(PAGE_SIZE) : bytes),
    ];
  }

  private newRange(): Range {
    const { rng } = this;
    const large = rng.chance(this.profile.large);
    const unit = large ? LARGE_PAGE : PAGE_SIZE;
    const start = Math.floor(this.address() / unit) * unit;
    const room = Math.floor((WINDOW_BYTES - start) / unit);
    return { start, bytes: Math.min(1 + rng.below(large ? 2 : (this.profile.mostPages ?? MOST_PAGES)), room) * unit };
  }

  /** A range that was mapped, as it was, moved to just before or after it, or a part of it. */
  private familiarRange(): Range {
    const { rng, mapped } = this;
    if (mapped.length === 0) return this.newRange();
    const { start, bytes } = rng.pick(mapped);
    const pages = bytes / PAGE_SIZE;
    const within = rng.below(pages);
    const part = { start: start + within * PAGE_SIZE, bytes: (1 + rng.below(pages - within)) * PAGE_SIZE };
    const before = { start: start - bytes, bytes };
    const after = { start: start + bytes, bytes };
    const moved = rng.pick([{ start, bytes }, { start, bytes }, part, part, part, before, after]);
    return moved.start >= 0 && moved.start + moved.bytes <= WINDOW_BYTES ? moved : { start, bytes };
  }

  /** The old range, the new one and the target all stay within the window. */
  private remapping(): readonly Operand[] {
    const { rng } = this;
    const [start, oldBytes] = this.range();
    const newBytes = rng.chance(0.03) ? 0 : (1 + rng.below(this.profile.mostPages ?? MOST_PAGES)) * PAGE_SIZE;
    const target = Math.min(this.address(), WINDOW_BYTES - newBytes);
    return [
      start,
      rng.chance(0.05) ? number(0) : oldBytes,
      number(newBytes),
      number(rng.pick([0, 1, 1, 1, 3, 3, 5, 7])),
      this.remember({ base: "window", value: target }, number(newBytes)),
    ];
  }

  /** Notes a place that something may be mapped at from now on; returns its start. */
  private remember(start: Operand, length: Operand): Operand {
    if (start.base === "window" && length.value >= PAGE_SIZE) {
      this.mapped.push({
        start: Math.floor(start.value / PAGE_SIZE) * PAGE_SIZE,
        bytes: Math.floor(length.value / PAGE_SIZE) * PAGE_SIZE,
      });
    }
    return start;
  }

  private address(): number {
    const { rng } = this;
    return rng.pick(CROWDS) + rng.below(CROWD_PAGES) * PAGE_SIZE;
  }

  private place(offset: number): Operand {
    const { rng, mapped, profile } = this;
    if (rng.chance(0.05)) return this.breakPlace(offset);
    if (mapped.length === 0 || !rng.chance(profile.familiar)) return { base: "window", value: this.address() + offset };
    const { start, bytes } = rng.pick(mapped);
    return { base: "window", value: start + rng.below(Math.min(bytes / PAGE_SIZE, 64)) * PAGE_SIZE + offset };
  }

  private breakPlace(offset: number): Operand {
    return { base: "break", value: this.rng.below(8) * PAGE_SIZE + offset };
  }

  private nextValue(): number {
    this.value = (this.value % 0xff) + 1;
    return this.value;
  }
}

const number = (value: number): Operand => ({ base: "number", value });
