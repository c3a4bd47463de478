/**
 * Memory as a program believes it to be: pages with rights and bytes. No frames, no page tables, no areas; fork copies
 * deeply. What any kernel of any design must show a program follows from this alone.
 */
import { PAGE_SIZE, type Vpn } from "../../base/units.ts";
import { type FlatHuge, inheritedHuge } from "./huge.ts";

/** The bytes of a page that are not zero, by offset. */
export type Bytes = Map<number, number>;

export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const PROT_EXEC = 4;

/** How a file is mapped whose contents are frames of a segment. */
export type RawPlace = "xip" | "xip-scattered" | "remap" | "nopfn";

export class FlatFile {
  sizeBytes: number;
  /** Null for a file that has a page cache. */
  readonly segment: RawPlace | null;
  readonly pages = new Map<number, Bytes>();
  /** Pages of 4 KiB of which the last is in reach if any is. */
  private readonly userPages: number;

  constructor(sizeBytes: number, userPages = 1, segment: RawPlace | null = null) {
    this.sizeBytes = sizeBytes;
    this.segment = segment;
    this.userPages = segment === null ? userPages : 1;
  }

  /** Whether it is a device's memory, and not a file system's. */
  get isDevice(): boolean {
    return this.segment === "remap" || this.segment === "nopfn";
  }

  /** Whether the file ends before that page. */
  endsBefore(index: number): boolean {
    return index >= Math.ceil(this.sizeBytes / (PAGE_SIZE * this.userPages)) * this.userPages;
  }

  read(offset: number): number {
    return this.pages.get(Math.floor(offset / PAGE_SIZE))?.get(offset % PAGE_SIZE) ?? 0;
  }

  write(offset: number, value: number): void {
    this.page(Math.floor(offset / PAGE_SIZE)).set(offset % PAGE_SIZE, value);
  }

  page(index: number): Bytes {
    let bytes = this.pages.get(index);
    if (bytes === undefined) {
      bytes = new Map();
      this.pages.set(index, bytes);
    }
    return bytes;
  }

  /** Bytes `[from, to)` become zero. */
  clear(from: number, to: number): void {
    for (const [index, bytes] of this.pages) {
      const start = index * PAGE_SIZE;
      if (start >= from && start + PAGE_SIZE <= to) this.pages.delete(index);
      else for (const offset of bytes.keys()) if (start + offset >= from && start + offset < to) bytes.delete(offset);
    }
  }
}

/** What a fork does with a page: both have it, the child has none, or the child has zeros. */
export type ForkRule = "copied" | "skipped" | "wiped";

/** What one shmat has made. */
export interface FlatAttachment {
  readonly segment: { readonly sizeBytes: number };
}

/** One page of one process. */
export interface FlatPage {
  readonly rights: number;
  readonly shared: boolean;
  /** Where the bytes come from until the page has its own; null: zeros. */
  readonly file: FlatFile | null;
  readonly index: number;
  /** Which page of the file the area gives here by itself: what `index` is but for remap_file_pages. */
  readonly linear: number;
  /** Whether remap_file_pages has made its area nonlinear, as far as the model can tell areas apart. */
  readonly unordered: boolean;
  /** A private page's own bytes, once it has them. */
  readonly own: Bytes | null;
  readonly locked: boolean;
  readonly forkRule: ForkRule;
  readonly growsDown: boolean;
  /** Whether it may ever be written: not if its segment was attached for reading. */
  readonly mayWrite: boolean;
  /** Of a part of a huge page. */
  readonly huge?: FlatHuge;
  /** One attached segment, of which it is a page. */
  readonly attachment?: FlatAttachment;
  /** MADV_FREE: until it is written, the page may be found zero. */
  readonly mayBeFreed: boolean;
  /** Places that were written since then: those are certain, whether the rest was lost before or not. */
  readonly writtenSince: ReadonlySet<number>;
}

/** Where a process may have pages that the model follows; everything around is mapped and has no rights. */
export interface Arena {
  contains(page: Vpn): boolean;
}

export class FlatProcess {
  readonly arena: Arena;
  /** Pages of 4 KiB in a page as it knows pages: they are copied together. */
  readonly userPages: number;
  readonly pages: Map<Vpn, FlatPage>;
  /** In bytes. */
  breakEnd: number;
  /** Whether new pages are locked (MCL_FUTURE): not, at once, or as they are touched. */
  lockFuture: "no" | "at-once" | "on-fault" = "no";

  constructor(arena: Arena, userPages: number, breakEnd: number, pages = new Map<Vpn, FlatPage>()) {
    this.arena = arena;
    this.userPages = userPages;
    this.breakEnd = breakEnd;
    this.pages = pages;
  }

  isMapped(page: Vpn): boolean {
    return this.pages.has(page) || !this.arena.contains(page);
  }

  change(page: Vpn, change: Partial<FlatPage>): void {
    const old = this.pages.get(page);
    if (old !== undefined) this.pages.set(page, { ...old, ...change });
  }

  unmap(first: Vpn, end: Vpn): void {
    for (let page = first; page < end; page++) this.pages.delete(page);
  }

  isFree(first: Vpn, end: Vpn): boolean {
    for (let page = first; page < end; page++) if (this.isMapped(page)) return false;
    return true;
  }

  /** The first unmapped page of a range, or its end. */
  firstHole(first: Vpn, end: Vpn): Vpn {
    let page = first;
    while (page < end && this.isMapped(page)) page++;
    return page;
  }
}

/** A page as a new area has it. */
export const newPage = (parts: Partial<FlatPage>): FlatPage => ({
  rights: 0,
  shared: false,
  file: null,
  index: 0,
  linear: 0,
  unordered: false,
  own: null,
  locked: false,
  forkRule: "copied",
  growsDown: false,
  mayWrite: true,
  mayBeFreed: false,
  writtenSince: new Set(),
  ...parts,
});

/**
 * Makes the pages of a range present, as locking does: a private page that may be written gets its own bytes. Stops at
 * the first page that cannot be: then what stopped it.
 */
export function populate(process: FlatProcess, first: Vpn, end: Vpn): "hole" | "no rights" | "beyond end" | undefined {
  for (let page = first; page < end; page++) {
    const flat = process.pages.get(page);
    if (flat === undefined) {
      if (process.isMapped(page)) return "no rights";
      return "hole";
    }
    if (flat.rights === 0) return "no rights";
    if (isBeyondEnd(flat)) return "beyond end";
    if (!flat.shared && (flat.rights & PROT_WRITE) !== 0) breakSharing(process, page);
  }
  return undefined;
}

/** The same where errors are ignored: each page that can be is made present. */
export function populateWhatCan(process: FlatProcess, first: Vpn, end: Vpn): void {
  for (let page = first; page < end; page++) populate(process, page, page + 1);
}

/** Whether a page has neither bytes of its own nor a file's: an access to it is a bus error. */
export const isBeyondEnd = ({ own, file, index }: FlatPage): boolean =>
  own === null && file !== null && file.endsBefore(index);

export function readByte({ own, file, index }: FlatPage, offset: number): number {
  if (own !== null) return own.get(offset) ?? 0;
  return file === null ? 0 : file.read(index * PAGE_SIZE + offset);
}

/** Gives a private page its own bytes, all of them. */
export function breakSharing(process: FlatProcess, page: Vpn): void {
  const first = page - (page % process.userPages);
  for (let at = first; at < first + process.userPages; at++) {
    const flat = process.pages.get(at);
    if (flat === undefined || flat.shared || flat.own !== null) continue;
    process.change(at, { own: new Map(flat.file?.pages.get(flat.index)) });
  }
}

export function writeByte(process: FlatProcess, page: Vpn, offset: number, value: number): void {
  const flat = process.pages.get(page)!;
  if (flat.shared) {
    flat.file!.write(flat.index * PAGE_SIZE + offset, value);
    return;
  }
  breakSharing(process, page);
  if (flat.mayBeFreed) process.change(page, { writtenSince: new Set([...flat.writtenSince, offset]) });
  process.pages.get(page)!.own!.set(offset, value);
}

/** A child's memory: private pages copied, shared ones shared. */
export function forkProcess(parent: FlatProcess): FlatProcess {
  const child = new FlatProcess(parent.arena, parent.userPages, parent.breakEnd);
  for (const [page, flat] of parent.pages) {
    if (flat.forkRule === "skipped") continue;
    const own = flat.own === null ? null : new Map(flat.forkRule === "wiped" ? [] : flat.own);
    const huge = inheritedHuge(flat);
    child.pages.set(page, { ...flat, own, locked: false, ...(huge === undefined ? {} : { huge }) });
  }
  return child;
}
