/**
 * Files as every verb reads and writes them: `-` is stdin or stdout, a result is written under a temporary name and
 * renamed when it is whole, so that a failure or Ctrl-C leaves nothing half-written.
 */
import {
  closeSync,
  createReadStream,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { UsageError } from "../base/errors.ts";

/** The bytes of a file (or stdin), as they come. A file that cannot be opened is a UsageError. */
export async function* readBytes(path: string): AsyncIterable<Uint8Array> {
  if (path !== "-") requireFile(path);
  const stream = path === "-" ? process.stdin : createReadStream(path, { highWaterMark: 1 << 20 });
  try {
    for await (const chunk of stream) yield chunk as Uint8Array;
  } catch (error) {
    throw new UsageError(`${nameOf(path)}: cannot be read: ${reason(error)}`);
  }
}

/** A whole text file that a person wrote; at most `limitBytes`. */
export function readText(path: string, limitBytes = 64 * 1024 * 1024): string {
  if (path === "-") return readFileSync(0, "utf8");
  requireFile(path);
  const { size } = statSync(path);
  if (size > limitBytes) throw new UsageError(`${path}: ${size} bytes; such a file has at most ${limitBytes}`);
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`${path}: cannot be read: ${reason(error)}`);
  }
}

/** How a path is named in messages. */
export const nameOf = (path: string): string => (path === "-" ? "standard input" : path);

/** Writes a result to a path or, for `-` or no path, to stdout. */
export function writeResult(path: string | undefined, text: string): void {
  if (path === undefined || path === "-") {
    process.stdout.write(text);
    return;
  }
  const file = new ReplacedFile(path);
  file.write(Buffer.from(text));
  file.commit();
}

const unfinished = new Set<ReplacedFile>();

/** A file that appears under its name only when it is complete. */
export class ReplacedFile {
  readonly path: string;
  bytes = 0;
  private readonly temporary: string;
  private readonly descriptor: number;

  constructor(path: string) {
    this.path = path;
    this.temporary = join(dirname(path), `.${basename(path)}.${process.pid}.part`);
    try {
      this.descriptor = openSync(this.temporary, "wx");
    } catch (error) {
      throw new UsageError(`${path}: cannot be written: ${reason(error)}`);
    }
    unfinished.add(this);
  }

  write(bytes: Uint8Array): void {
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.descriptor, bytes, done);
    } catch (error) {
      this.abandon();
      throw new UsageError(`${this.path}: cannot be written: ${reason(error)}`);
    }
    this.bytes += bytes.length;
  }

  commit(): void {
    closeSync(this.descriptor);
    renameSync(this.temporary, this.path);
    unfinished.delete(this);
  }

  abandon(): void {
    if (!unfinished.delete(this)) return;
    closeSync(this.descriptor);
    rmSync(this.temporary, { force: true });
  }
}

/** Removes what was begun and not finished; for the end of a failed or interrupted run. Returns the names. */
export function abandonUnfinished(): string[] {
  const names = [...unfinished].map((file) => file.path);
  for (const file of unfinished) file.abandon();
  return names;
}

function requireFile(path: string): void {
  if (!existsSync(path)) throw new UsageError(`${path}: no such file`);
  if (statSync(path).isDirectory()) throw new UsageError(`${path}: is a folder; a file was expected`);
}

export const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));
