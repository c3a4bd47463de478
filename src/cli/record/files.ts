/**
 * Names for the files of a recording. A path may be given to several files one after the other (a deleted segment, a
 * memfd that is called like another), and one file may lose its name while it is mapped: the first name that a device
 * and inode came with stays theirs.
 */
import { statSync } from "node:fs";
import type { CallShape } from "./calls.ts";
import type { SeenFile } from "./recording.ts";

const DELETED = " (deleted)";

export class FileNames {
  private readonly names = new Map<string, string>();
  private readonly taken = new Map<string, string>();

  name(path: string, device: number, inode: number): string {
    const file = `${device}:${inode}`;
    const plain = path.endsWith(DELETED) ? path.slice(0, -DELETED.length) : path;
    const known = this.names.get(file);
    if (known !== undefined && (known === plain || known === `${plain}#${inode}`)) return known;
    // A name that another file still has, or that is gone from the file system, needs the inode to be told apart.
    const holder = this.taken.get(plain);
    const name = holder !== undefined && holder !== file && plain !== path ? `${plain}#${inode}` : plain;
    this.names.set(file, name);
    this.taken.set(name, file);
    return name;
  }
}

/** What several descriptors, in several processes, can share. */
interface OpenDescription {
  readonly path: string;
  position: number;
}

/** The descriptors of one process, followed through its calls; for recorders that do not say what a descriptor is. */
export class DescriptorTable {
  private readonly descriptions: Map<number, OpenDescription>;
  /** Sizes of System V segments; of all processes. */
  private readonly segments: Map<number, number>;

  constructor(descriptions = new Map<number, OpenDescription>(), segments = new Map<number, number>()) {
    this.descriptions = descriptions;
    this.segments = segments;
  }

  copy(): DescriptorTable {
    return new DescriptorTable(new Map(this.descriptions), this.segments);
  }

  follow(name: string, args: readonly number[], text: string | undefined, result: number): void {
    if (result < 0) return;
    if (/^(open|openat|openat2|creat)$/.test(name)) this.opened(result, text);
    else if (name === "memfd_create") this.opened(result, `/memfd:${text ?? ""}#${result}`);
    else if (name === "close") this.descriptions.delete(args[0]);
    else if (name === "shmget") this.segments.set(result, args[1]);
    else if (/^(dup[23]?)$/.test(name)) this.duplicated(args[0], result);
    else this.moved(name, args[0], result);
  }

  /** The file that a call is about, if it is one with pages. */
  fileOf(shape: CallShape, args: readonly number[], result: number): SeenFile | undefined {
    if (shape.file === undefined || result < 0) return undefined;
    if (shape.file === "sysv") {
      return { path: `sysv:${args[0]}`, sizeBytes: this.segments.get(args[0]) ?? 0, position: -1 };
    }
    const descriptor = shape.file === "r" ? result : args[Number(shape.file)];
    const description = this.descriptions.get(descriptor);
    if (description === undefined) return undefined;
    const status = statSync(description.path, { throwIfNoEntry: false });
    if (status !== undefined && !status.isFile()) return undefined;
    return { ...description, sizeBytes: status?.size ?? 0 };
  }

  private opened(descriptor: number, path: string | undefined): void {
    if (path === undefined) this.descriptions.delete(descriptor);
    else this.descriptions.set(descriptor, { path, position: 0 });
  }

  private duplicated(from: number, to: number): void {
    const description = this.descriptions.get(from);
    if (description === undefined) this.descriptions.delete(to);
    else this.descriptions.set(to, description);
  }

  private moved(name: string, descriptor: number, result: number): void {
    const description = this.descriptions.get(descriptor);
    if (description === undefined) return;
    if (name === "lseek") description.position = result;
    else if (/^(read|write)v?$/.test(name)) description.position += result;
  }
}
