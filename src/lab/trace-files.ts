/** The files of a trace on a machine: made when first named, as large as the trace says, or as its mappings need. */

import type { Machine } from "../machine.ts";
import { type FileObject, OpenFile } from "../mm/file.ts";
import type { Thread } from "../mm/process.ts";

export interface NamedFile {
  readonly path: string;
  readonly sizeBytes?: number | undefined;
}

const isMemory = (path: string): boolean =>
  path.startsWith("sysv:") || path.startsWith("/dev/shm/") || path.startsWith("/memfd:");

export class TraceFiles {
  private readonly machine: Machine;
  private readonly byPath = new Map<string, { file: FileObject; open: OpenFile; sized: boolean }>();

  constructor(machine: Machine) {
    this.machine = machine;
  }

  /** The file, at least `neededBytes` long unless the trace has said how long it is. */
  open(thread: Thread, { path, sizeBytes }: NamedFile, neededBytes: number): OpenFile {
    let known = this.byPath.get(path);
    if (known === undefined) {
      const kind = isMemory(path) ? "shmem" : "regular";
      const file = this.machine.kernel.files.create({ name: path, kind, sizeBytes: sizeBytes ?? neededBytes });
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

  /** The file if the trace has named it. */
  find(path: string): OpenFile | undefined {
    return this.byPath.get(path)?.open;
  }

  private resize(thread: Thread, open: OpenFile, sizeBytes: number): void {
    this.machine.call(thread, "ftruncate", [open, sizeBytes]);
  }
}
