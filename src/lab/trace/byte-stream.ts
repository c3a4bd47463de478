/** A stream of bytes read in pieces of a stated length, counting where it is: the only buffer is the piece asked for. */
import { UsageError } from "../../base/errors.ts";

export class ByteStream {
  /** Bytes taken so far. */
  offset = 0;
  private readonly parts: AsyncIterator<Uint8Array>;
  private readonly name: string;
  private part: Uint8Array = new Uint8Array(0);
  private at = 0;

  constructor(source: AsyncIterable<Uint8Array>, name: string) {
    this.parts = source[Symbol.asyncIterator]();
    this.name = name;
  }

  /** Exactly `length` bytes. Throws UsageError if the stream ends before: `what` says what was expected there. */
  async take(length: number, what: string): Promise<Uint8Array> {
    const bytes = await this.takeUpTo(length);
    if (bytes.length < length) {
      this.malformed(
        this.offset - bytes.length,
        `${length} bytes of ${what}`,
        `${bytes.length}, then the end of the file`,
      );
    }
    return bytes;
  }

  /** `length` bytes, or as many as are left. */
  async takeUpTo(length: number): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    let found = 0;
    while (found < length) {
      if (this.at === this.part.length && !(await this.more())) break;
      const piece = this.part.subarray(this.at, this.at + length - found);
      pieces.push(piece);
      found += piece.length;
      this.at += piece.length;
    }
    this.offset += found;
    return pieces.length === 1 ? pieces[0] : joined(pieces, found);
  }

  /** Throws the UsageError of a file that is not what it should be. */
  malformed(offset: number, expected: string, found: string): never {
    throw new UsageError(`${this.name}: at byte ${offset}: expected ${expected}, found ${found}`);
  }

  async close(): Promise<void> {
    await this.parts.return?.();
  }

  private async more(): Promise<boolean> {
    do {
      const next = await this.parts.next();
      if (next.done === true) return false;
      this.part = next.value;
      this.at = 0;
    } while (this.part.length === 0);
    return true;
  }
}

function joined(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
