/**
 * What an importer knows of the address spaces that a log tells of, as it writes their calls to a trace. Logs do not
 * show everything: an image that exec mapped, a stack. Whatever is used without having been mapped is assumed to be
 * private anonymous memory, by an mmap of its own that the trace shows.
 */
import { addressOf, PAGE_SIZE, type Vpn } from "../../base/units.ts";
import type { Region } from "../trace/event.ts";
import type { Abi } from "../trace/format.ts";
import type { TraceWriter } from "../trace/writer.ts";
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  type MemoryCall,
  MREMAP_DONTUNMAP,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
} from "./calls.ts";
import { Ranges } from "./ranges.ts";

const ALL_RIGHTS = PROT_READ | PROT_WRITE | PROT_EXEC;
const ASSUMED_FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

export interface FileReference {
  readonly path: string;
  readonly sizeBytes?: number;
}

/** One address space: the pages that are known to be mapped. */
export class LoggedSpace {
  readonly mapped: Ranges;
  readonly abi: Abi;
  /** The end of the break; where it starts is its first value. */
  brk: number;

  constructor(abi: Abi, mapped: Ranges, brk: number) {
    this.abi = abi;
    this.mapped = mapped;
    this.brk = brk;
  }

  static of(abi: Abi, regions: readonly Region[], brk: number): LoggedSpace {
    const mapped = new Ranges();
    for (const { start, end } of regions) mapped.add(start / PAGE_SIZE, end / PAGE_SIZE);
    return new LoggedSpace(abi, mapped, brk);
  }

  copy(): LoggedSpace {
    return new LoggedSpace(this.abi, this.mapped.copy(), this.brk);
  }

  /** Maps what of these pages is not known to be mapped. */
  assume(writer: TraceWriter, first: Vpn, end: Vpn): void {
    for (const [from, to] of this.mapped.gaps(first, end)) {
      const args = [addressOf(from), (to - from) * PAGE_SIZE, ALL_RIGHTS, ASSUMED_FLAGS, -1, 0];
      writer.event({ op: "call", name: "mmap", args, result: addressOf(from) });
      this.mapped.add(from, to);
    }
  }

  /** Writes a call and follows what it did. What it needs and the log did not show is assumed before. */
  call(writer: TraceWriter, name: MemoryCall, args: readonly number[], result: number, file?: FileReference): void {
    const first = Math.floor(args[0] / PAGE_SIZE);
    const end = first + Math.ceil((args[1] ?? 0) / PAGE_SIZE);
    const succeeded = result >= 0;
    if (succeeded && needsMapping.has(name)) this.assume(writer, first, end);
    writer.event({ op: "call", name, args: [...args], result, ...(file === undefined ? {} : { file }) });
    if (!succeeded) return;
    if (name === "mmap" || name === "shmat") {
      const start = result / PAGE_SIZE;
      const length = name === "mmap" ? args[1] : (file?.sizeBytes ?? PAGE_SIZE);
      this.mapped.add(start, start + Math.ceil(length / PAGE_SIZE));
    } else if (name === "munmap") {
      this.mapped.remove(first, end);
    } else if (name === "mremap") {
      this.remapped(args, first, end, result / PAGE_SIZE);
    } else if (name === "brk") {
      this.moveBreak(result);
    }
  }

  private remapped(args: readonly number[], first: Vpn, end: Vpn, start: Vpn): void {
    if ((args[3] & MREMAP_DONTUNMAP) === 0) this.mapped.remove(first, end);
    this.mapped.add(start, start + Math.ceil(args[2] / PAGE_SIZE));
  }

  private moveBreak(to: number): void {
    const before = Math.ceil(this.brk / PAGE_SIZE);
    const after = Math.ceil(to / PAGE_SIZE);
    if (this.brk !== 0 && after > before) this.mapped.add(before, after);
    else if (after < before) this.mapped.remove(after, before);
    this.brk = to;
  }
}

/** Calls that succeed on mapped pages only. */
const needsMapping: ReadonlySet<MemoryCall> = new Set([
  "mprotect",
  "mremap",
  "madvise",
  "mlock",
  "mlock2",
  "munlock",
  "msync",
]);
