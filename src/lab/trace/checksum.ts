/**
 * xxHash32: the checksum of trace files. It finds every single-byte change in what it covers, and reads a byte in about
 * a nanosecond, so that checking costs little beside replaying.
 *
 * https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
 */
const PRIME_1 = 0x9e3779b1;
const PRIME_2 = 0x85ebca77;
const PRIME_3 = 0xc2b2ae3d;
const PRIME_4 = 0x27d4eb2f;
const PRIME_5 = 0x165667b1;

const rotate = (word: number, bits: number): number => (word << bits) | (word >>> (32 - bits));
const round = (state: number, word: number): number =>
  Math.imul(rotate((state + Math.imul(word, PRIME_2)) | 0, 13), PRIME_1);
const wordAt = (bytes: Uint8Array, at: number): number =>
  bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);

/** The checksum of `bytes`, as an unsigned 32-bit number. `seed` chains one checksum to the next. */
export function checksum(bytes: Uint8Array, seed = 0): number {
  const { length } = bytes;
  let at = 0;
  let hash: number;
  if (length >= 16) {
    let a = (seed + PRIME_1 + PRIME_2) | 0;
    let b = (seed + PRIME_2) | 0;
    let c = seed | 0;
    let d = (seed - PRIME_1) | 0;
    for (const end = length - 16; at <= end; at += 16) {
      a = round(a, wordAt(bytes, at));
      b = round(b, wordAt(bytes, at + 4));
      c = round(c, wordAt(bytes, at + 8));
      d = round(d, wordAt(bytes, at + 12));
    }
    hash = (rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18)) | 0;
  } else {
    hash = (seed + PRIME_5) | 0;
  }
  hash = (hash + length) | 0;
  for (; at + 4 <= length; at += 4) {
    hash = Math.imul(rotate((hash + Math.imul(wordAt(bytes, at), PRIME_3)) | 0, 17), PRIME_4);
  }
  for (; at < length; at++) hash = Math.imul(rotate((hash + Math.imul(bytes[at], PRIME_5)) | 0, 11), PRIME_1);
  return avalanche(hash);
}

function avalanche(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 15), PRIME_2);
  mixed = Math.imul(mixed ^ (mixed >>> 13), PRIME_3);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** A 64-bit name for a sequence of checksums: two chains with different starts. */
export class SequenceHash {
  private low = 0;
  private high = PRIME_5;
  private readonly word = new Uint8Array(4);

  add(sum: number): void {
    new DataView(this.word.buffer).setUint32(0, sum, true);
    this.low = checksum(this.word, this.low);
    this.high = checksum(this.word, this.high);
  }

  words(): readonly [number, number] {
    return [this.low, this.high];
  }

  /** Sixteen hexadecimal digits. */
  text(): string {
    return this.high.toString(16).padStart(8, "0") + this.low.toString(16).padStart(8, "0");
  }
}
