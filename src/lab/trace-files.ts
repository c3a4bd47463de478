/**
 * The files of a trace on a machine: made when first named, as large as the trace says, or as its mappings need. What has
 * a name of memory is in memory; what is called `xip:...`, or lies in the directory that is executed in place, is frames
 * of a segment; everything else is on the disk.
 */
import { UsageError } from "../base/errors.ts";
import { formatSize } from "../base/size-text.ts";
import { PAGE_SIZE } from "../base/units.ts";
import type { Machine } from "../machine.ts";
import { type FileObject, OpenFile } from "../mm/file.ts";
import { createSegmentFile } from "../mm/pfnmap/segment-files.ts";
import type { Thread } from "../mm/process.ts";

export interface NamedFile {
  readonly path: string;
  readonly sizeBytes?: number | undefined;
}

const isMemory = (path: string): boolean =>
  path.startsWith("sysv:") || path.startsWith("/dev/shm/") || path.startsWith("/memfd:");

const XIP = "xip:";

export class TraceFiles {
  private readonly machine: Machine;
  /** What begins so is executed in place, if its size is known. */
  private readonly inPlace: string | null;
  private readonly byPath = new Map<string, { file: FileObject; open: OpenFile; sized: boolean }>();

  constructor(machine: Machine) {
    this.machine = machine;
    this.inPlace = machine.spec.tunables.executeInPlace;
  }

  /** The file, at least `neededBytes` long unless the trace has said how long it is. */
  open(thread: Thread, { path, sizeBytes }: NamedFile, neededBytes: number): OpenFile {
    let known = this.byPath.get(path);
    if (known === undefined) {
      const file = this.create(path, sizeBytes, neededBytes);
      known = { file, open: new OpenFile(file, "read-write"), sized: sizeBytes !== undefined };
      this.byPath.set(path, known);
    } else if (sizeBytes !== undefined) {
      known.sized = true;
      if (sizeBytes !== known.file.sizeBytes) this.resize(thread, known.open, sizeBytes);
    } else if (!known.sized && neededBytes > known.file.sizeBytes) {
      this.resize(thread, known.open, neededBytes);
    }
    return known.open;
  }

  private create(path: string, sizeBytes: number | undefined, neededBytes: number): FileObject {
    const { kernel } = this.machine;
    const isInPlace = this.inPlace !== null && path.startsWith(this.inPlace) && sizeBytes !== undefined;
    if (!isInPlace && !path.startsWith(XIP)) {
      const kind = isMemory(path) ? "shmem" : "regular";
      return kernel.files.create({ name: path, kind, sizeBytes: sizeBytes ?? neededBytes });
    }
    const bytes = sizeBytes ?? neededBytes;
    const file = createSegmentFile(kernel, { name: path, sizeBytes: bytes, way: "xip" });
    if (file !== null) return file;
    const left = formatSize(kernel.rawMemory.freeFrames * PAGE_SIZE);
    throw new UsageError(
      `${path}: its ${formatSize(bytes)} are to be executed in place, and segments have ${left} left; use a larger geometry.segments`,
    );
  }

  /** The file if the trace has named it. */
  find(path: string): OpenFile | undefined {
    return this.byPath.get(path)?.open;
  }

  private resize(thread: Thread, open: OpenFile, sizeBytes: number): void {
    this.machine.call(thread, "ftruncate", [open, sizeBytes]);
  }
}
