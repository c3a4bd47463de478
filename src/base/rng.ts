/**
 * The only source of chance: a seeded generator, so that a run is a function of its record.
 * xoshiro128** (Blackman and Vigna, 2018), its state spread from one number by splitmix32.
 */
import { bug } from "./errors.ts";

const rotateLeft = (word: number, by: number): number => (word << by) | (word >>> (32 - by));

export class Rng {
  private readonly state = new Int32Array(4);

  constructor(seed: number) {
    let spread = (seed ^ Math.floor(seed / 2 ** 32)) | 0;
    for (let word = 0; word < 4; word++) {
      spread = (spread + 0x9e3779b9) | 0;
      let mixed = Math.imul(spread ^ (spread >>> 16), 0x21f0aaad);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
      this.state[word] = mixed ^ (mixed >>> 15);
    }
  }

  /** A number below 2^32. */
  next(): number {
    const { state } = this;
    const result = Math.imul(rotateLeft(Math.imul(state[1], 5), 7), 9) >>> 0;
    const shifted = state[1] << 9;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotateLeft(state[3], 11);
    return result;
  }

  /** An integer in `[0, limit)`; `limit` may reach 2^53. */
  below(limit: number): number {
    if (!(limit >= 1)) bug(`a random number below ${limit}`);
    return Math.floor(this.fraction() * limit);
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** One of the elements, each as likely. */
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)];
  }

  /** A double in `[0, 1)` of 53 random bits. */
  private fraction(): number {
    const high = this.next() >>> 5;
    const low = this.next() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }
}
