/**
 * Files as the memory manager sees them: a size, a page cache, and the areas that map it. Several kinds exist. A `shmem`
 * file lives in memory alone (tmpfs, System V segments, shared anonymous memory): its cache is its contents, and a page
 * that is not there is a hole. A `regular` file lives on the model disk: its cache holds copies, and a page that is not
 * there costs a read. A `hugetlbfs` file has huge pages of a pool, and no page cache (bigpages/huge-file.ts). An `xip` file and
 * a `device` are frames of a segment, which need no cache either (pfnmap/segments.ts).
 *
 * A file is kept by its name, by those who have it open and by the areas that map it; with the last of these it and its
 * pages go.
 */
import { bug } from "../base/errors.ts";
import { type FileIndex, type Pfn, pagesFor } from "../base/units.ts";
import type { PhysicalMemory } from "../hw/physical-memory.ts";
import { Mutex } from "../sync/lock.ts";
import { MEMORY } from "./address-space.ts";
import { HugeFile } from "./bigpages/huge-file.ts";
import type { HugePool } from "./bigpages/huge-pool.ts";
import { DirtyPages } from "./dirty-pages.ts";
import { DiskContents } from "./disk-contents.ts";
import { FileMappings } from "./file-mappings.ts";
import { type DirtyTally, PageCache } from "./page-cache.ts";
import type { SegmentFile } from "./pfnmap/segments.ts";
import type { TableModel } from "./populate-tables.ts";
import type { ReadaheadState } from "./readahead.ts";
import type { Slab } from "./slab.ts";
import { SwappedPages } from "./swap/swapped-pages.ts";
import { VM_SHARED, type Vma } from "./vma.ts";

export type FileKind = "shmem" | "regular" | "hugetlbfs" | "xip" | "device";

/**
 * How a shmem file's memory is promised: its whole size when it is made (shared anonymous memory), page by page as they
 * appear (tmpfs, and shared memory made with MAP_NORESERVE), or not at all (regular files, whose pages can be dropped).
 */
export type PromiseRule = "size" | "pages" | "none";

/** Writes what page `index` of a file holds on disk, before anyone wrote it, to `frame`, which is zero. */
export type ContentSource = (memory: PhysicalMemory, frame: Pfn, index: FileIndex) => void;

export interface FileSpec {
  readonly name: string;
  readonly kind: FileKind;
  readonly sizeBytes: number;
  readonly promise?: PromiseRule;
  /** Of a file of huge pages: whose. */
  readonly pool?: HugePool;
  /** Of an xip file, and of a device: its frames. */
  readonly raw?: SegmentFile;
  /** A regular file's first contents; without it they are zero. */
  readonly content?: ContentSource;
}

/** What all files of a machine are made of. */
interface FileParts {
  /** The slab of the page cache's tree nodes. */
  readonly nodes: Slab;
  /** Where regular files' dirty pages are added up. */
  readonly dirty: DirtyTally;
  /** Frames of the kernel's own page. */
  readonly softFrames: number;
  /** Pages of 4 KiB in a page as programs know it. */
  readonly userPages: number;
}

export class FileObject {
  /** What a frame's `mapping` holds; never 0. */
  readonly id: number;
  readonly name: string;
  readonly kind: FileKind;
  readonly promise: PromiseRule;
  sizeBytes: number;
  readonly pages: PageCache;
  /** Frames of the kernel's own page: pages of 4 KiB that are cached, written and dropped together. */
  readonly softFrames: number;
  private readonly userPages: number;
  /** A regular file's contents while they are not cached. */
  readonly disk: DiskContents;
  /** The pages of a file of huge pages, which are in no other cache; null for others. */
  readonly huge: HugeFile | null;
  /** The frames of a file that is memory of a segment; null for others. */
  readonly raw: SegmentFile | null;
  /** A shmem file's pages that are in swap. */
  readonly swapped: SwappedPages;

  /** By index: the table that maps its pages from there on, as populating has found it last. */
  readonly tableModels = new Map<FileIndex, TableModel>();

  /** The areas that map it, by index (i_mmap). */
  readonly mappings = new FileMappings();
  /** How many of these are VM_SHARED (i_mmap_writable). */
  writableMappings = 0;

  /** How often pages have been taken from it, by truncation or for holes (truncate_count). */
  truncations = 0;

  /** Who keeps it: areas and opens. */
  references = 0;
  /** Whether it has a name, which keeps it too. */
  named = true;

  /** i_rwsem: held to write, truncate, punch. */
  readonly lock: Mutex;

  constructor(id: number, spec: FileSpec, { nodes, dirty, softFrames, userPages }: FileParts) {
    this.id = id;
    this.name = spec.name;
    this.kind = spec.kind;
    this.promise = spec.promise ?? (spec.kind === "shmem" ? "pages" : "none");
    this.sizeBytes = spec.sizeBytes;
    this.pages = new PageCache(nodes, spec.kind === "regular" ? dirty : undefined, softFrames);
    this.swapped = new SwappedPages(softFrames);
    this.softFrames = softFrames;
    this.userPages = userPages;
    this.raw = spec.raw ?? null;
    this.huge = spec.pool === undefined ? null : new HugeFile(spec.name, spec.pool, nodes);
    this.disk = new DiskContents(spec.content, pagesFor(spec.sizeBytes));
    this.lock = new Mutex(`i_rwsem of ${spec.name}`, MEMORY);
  }

  /** Its size in pages: the first index that is beyond the end. */
  get endIndex(): FileIndex {
    return pagesFor(this.sizeBytes);
  }

  /** The first index that is out of a program's reach: the end of the last page, as programs know pages. */
  get reach(): FileIndex {
    return this.reachOf(this.sizeBytes);
  }

  /** The same if it had that size. */
  reachOf(sizeBytes: number): FileIndex {
    // Memory without struct pages is mapped by 4 KiB, whatever else is.
    return this.raw === null ? Math.ceil(pagesFor(sizeBytes) / this.userPages) * this.userPages : pagesFor(sizeBytes);
  }

  /** The first index that no page of the cache has a part of, if all are up to the file's end. */
  get cacheEnd(): FileIndex {
    return Math.ceil(this.endIndex / this.softFrames) * this.softFrames;
  }
}

/** A file that a process has open (struct file). */
export class OpenFile {
  readonly file: FileObject;
  readonly readable: boolean;
  readonly writable: boolean;
  /** How its reader reads (f_ra). */
  /** The page that was read last: reading on in it is no new use of it (f_ra.prev_page). */
  lastRead: FileIndex = -1;
  readonly readahead: ReadaheadState = { next: -1, window: 0, habit: "normal" };

  constructor(file: FileObject, access: "read" | "write" | "read-write") {
    this.file = file;
    this.readable = access !== "write";
    this.writable = access !== "read";
  }
}

/** Every file there is. */
export class Files {
  private readonly byNumber = new Map<number, FileObject>();
  readonly nodes: Slab;
  /** Frames of the kernel's own page. */
  readonly softFrames: number;
  /** Pages of 4 KiB in a page as programs know it. */
  readonly userPages: number;
  private lastId = 0;

  /** Pages of regular files that are newer than the disk. */
  readonly dirty = new DirtyPages();

  /** What reading and writing files has cost so far. */
  readonly costs = { diskReads: 0, pagesRead: 0, diskWrites: 0, pagesWritten: 0, pagesDropped: 0 };

  /** `nodes`: the slab of the page cache's tree nodes. */
  constructor(nodes: Slab, softFrames = 1, userPages = 1) {
    this.nodes = nodes;
    this.softFrames = softFrames;
    this.userPages = userPages;
  }

  get count(): number {
    return this.byNumber.size;
  }

  all(): IterableIterator<FileObject> {
    return this.byNumber.values();
  }

  /** The file that a frame's `mapping` names. */
  byId(id: number): FileObject {
    return this.byNumber.get(id) ?? bug(`no file ${id}`);
  }

  /** A new file with a name. Promise "size" is charged by `createSharedMemory` alone. */
  create(spec: FileSpec): FileObject {
    const file = new FileObject(++this.lastId, spec, this);
    this.byNumber.set(file.id, file);
    return file;
  }

  forget(file: FileObject): void {
    if (!this.byNumber.delete(file.id)) bug(`${file.name} is freed twice`);
    this.dirty.files.delete(file);
  }
}

/**
 * `vma` maps its file from now on. Call it again after each change of the area's range, and `unlinkMapping` before.
 *
 * @models linux-6.1 mm/mmap.c __vma_link_file
 */
export function linkMapping(vma: Vma): void {
  const { file } = vma;
  if (file === null) return;
  file.mappings.insert(vma);
  if ((vma.flags & VM_SHARED) !== 0) file.writableMappings++;
}

/** @models linux-6.1 mm/mmap.c __remove_shared_vm_struct */
export function unlinkMapping(vma: Vma): void {
  const { file } = vma;
  if (file === null) return;
  file.mappings.remove(vma);
  if ((vma.flags & VM_SHARED) !== 0) file.writableMappings--;
}
