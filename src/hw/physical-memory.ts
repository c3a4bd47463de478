/**
 * Simulated physical memory: the words of every frame, at the host's cost of only those frames whose words differ.
 *
 * A frame's contents are one of
 *
 *   none      nobody has written it since it was free; it reads as zero and costs nothing
 *   zero      every word is known to be zero; it costs nothing either
 *   literal   1024 words of its own, in a slot
 *
 * behind one interface of words. What a frame is stands in its section of `states`: a section appears at the first write
 * to one of its frames. Slots of frames that became zero or none are used again. A word is found by three reads of flat
 * arrays (section, state, word), because a page walk waits for each of them in turn.
 */
import { bug, UsageError } from "../base/errors.ts";
import { PAGE_SIZE, type Pfn } from "../base/units.ts";

/** 32-bit words in a frame. */
export const WORDS_PER_FRAME = PAGE_SIZE / 4;
/** The most frames that a physical memory may have: a frame number is an int32. */
export const MOST_FRAMES = 2 ** 31;

export type Contents = "none" | "zero" | "literal";

const SECTION_SHIFT = 15;
const FRAMES_PER_SECTION = 1 << SECTION_SHIFT;
const SECTION_MASK = FRAMES_PER_SECTION - 1;
const WORD_SHIFT = 10;
/** The words of all slots are numbered by an int32. */
const MOST_SLOTS = 2 ** (31 - WORD_SHIFT);
const FIRST_SLOTS = 256;

// What a state says of a frame; a literal one says FIRST_LITERAL + its slot.
const NONE = 0;
const ZERO = 1;
const FIRST_LITERAL = 2;

/** What a memory may take of the host when nobody says otherwise. */
const DEFAULT_LIMIT_BYTES = 8 * 2 ** 30;

export class PhysicalMemory {
  readonly frames: number;
  readonly limitBytes: number;
  /** Changes of literal frames' words, but for bits that a walk set: what was read of them is true while it stands. */
  changes = 0;
  /** By number of a section of frames: where its states start. Section 0 of `states` is that of untouched frames. */
  private readonly sections: Int32Array;
  /** By section, by frame in it: NONE, ZERO or FIRST_LITERAL + slot. */
  private states = new Int32Array(FRAMES_PER_SECTION);
  /** By slot, by word. */
  private words = new Int32Array(0);
  /** Slots that were given back, to be used again. */
  private readonly freeSlots: number[] = [];
  private slotsTaken = 0;
  private statesTaken = FRAMES_PER_SECTION;

  constructor(frames: number, limitBytes: number = DEFAULT_LIMIT_BYTES) {
    if (!Number.isInteger(frames) || frames < 1 || frames > MOST_FRAMES) {
      throw new UsageError(`physical memory of ${frames} frames: expected 1 to ${MOST_FRAMES} (8 TiB)`);
    }
    this.frames = frames;
    this.limitBytes = limitBytes;
    this.sections = new Int32Array(Math.ceil(frames / FRAMES_PER_SECTION));
  }

  /** The word, as an int32. */
  read(frame: Pfn, word: number): number {
    const state = this.states[this.sections[frame >>> SECTION_SHIFT]! + (frame & SECTION_MASK)]!;
    return state < FIRST_LITERAL ? 0 : this.words[((state - FIRST_LITERAL) << WORD_SHIFT) + word]!;
  }

  /** Where the frame's words are, for `wordAt` until the next write to memory; negative: they are all zero. */
  placeOf(frame: Pfn): number {
    const state = this.states[this.sections[frame >>> SECTION_SHIFT]! + (frame & SECTION_MASK)]!;
    return (state - FIRST_LITERAL) << WORD_SHIFT;
  }

  wordAt(place: number): number {
    return this.words[place]!;
  }

  /** Writes a word where `placeOf` has found the frame's words. */
  writeAt(place: number, value: number): void {
    this.changes++;
    this.words[place] = value;
  }

  /** Sets bits of a word there, which nobody counts as a change: those that a page walk sets. */
  markAt(place: number, bits: number): void {
    this.words[place]! |= bits;
  }

  write(frame: Pfn, word: number, value: number): void {
    let state = this.stateOf(frame);
    if (state < FIRST_LITERAL) {
      if ((value | 0) === 0) {
        this.setState(frame, ZERO);
        return;
      }
      state = this.takeSlot() + FIRST_LITERAL;
      this.setState(frame, state);
    }
    this.changes++;
    this.words[((state - FIRST_LITERAL) << WORD_SHIFT) + word] = value;
  }

  readByte(frame: Pfn, offset: number): number {
    return (this.read(frame, offset >>> 2) >>> ((offset & 3) * 8)) & 0xff;
  }

  /** Little-endian, as x86 is. */
  writeByte(frame: Pfn, offset: number, value: number): void {
    const shift = (offset & 3) * 8;
    const others = this.read(frame, offset >>> 2) & ~(0xff << shift);
    this.write(frame, offset >>> 2, others | ((value & 0xff) << shift));
  }

  /** Every word becomes zero. */
  zero(frame: Pfn): void {
    this.drop(frame);
    this.setState(frame, ZERO);
  }

  /** Nobody cares for the contents any more. */
  forget(frame: Pfn): void {
    this.drop(frame);
    this.setState(frame, NONE);
  }

  /** The same for all of `[first, end)`. */
  forgetRun(first: Pfn, end: Pfn): void {
    const { sections, states } = this;
    if (!(first >= 0 && end <= this.frames)) bug(`frames ${first} to ${end} are outside physical memory`);
    for (let frame = first; frame < end; frame++) {
      const section = sections[frame >>> SECTION_SHIFT]!;
      if (section === 0) continue;
      const at = section + (frame & SECTION_MASK);
      const state = states[at]!;
      if (state >= FIRST_LITERAL) this.giveSlot(state - FIRST_LITERAL);
      states[at] = NONE;
    }
  }

  /** `to` gets the contents of `from`. */
  copy(from: Pfn, to: Pfn): void {
    if (from === to) return;
    const source = this.stateOf(from);
    if (source < FIRST_LITERAL) {
      this.drop(to);
      this.setState(to, source);
      return;
    }
    let target = this.stateOf(to);
    if (target < FIRST_LITERAL) {
      target = this.takeSlot() + FIRST_LITERAL;
      this.setState(to, target);
    }
    const first = (source - FIRST_LITERAL) << WORD_SHIFT;
    this.changes++;
    this.words.copyWithin((target - FIRST_LITERAL) << WORD_SHIFT, first, first + WORDS_PER_FRAME);
  }

  contentsOf(frame: Pfn): Contents {
    const state = this.stateOf(frame);
    if (state === NONE) return "none";
    return state === ZERO ? "zero" : "literal";
  }

  /** Frames whose words are kept. */
  get literalFrames(): number {
    return this.slotsTaken - this.freeSlots.length;
  }

  /** What this memory takes of the host: room reserved but never written costs nothing. */
  get hostBytes(): number {
    return this.slotsTaken * PAGE_SIZE + this.statesTaken * 4 + this.sections.length * 4;
  }

  private stateOf(frame: Pfn): number {
    if (!(frame >= 0 && frame < this.frames)) bug(`frame ${frame} is outside physical memory of ${this.frames} frames`);
    return this.states[this.sections[frame >>> SECTION_SHIFT]! + (frame & SECTION_MASK)]!;
  }

  private setState(frame: Pfn, state: number): void {
    let section = this.sections[frame >>> SECTION_SHIFT]!;
    if (section === 0) {
      if (state === NONE) return;
      section = this.takeSection();
      this.sections[frame >>> SECTION_SHIFT] = section;
    }
    this.states[section + (frame & SECTION_MASK)] = state;
  }

  private drop(frame: Pfn): void {
    const state = this.stateOf(frame);
    if (state >= FIRST_LITERAL) this.giveSlot(state - FIRST_LITERAL);
  }

  private giveSlot(slot: number): void {
    this.changes++;
    this.freeSlots.push(slot);
  }

  private takeSection(): number {
    const section = this.statesTaken;
    this.reserve(FRAMES_PER_SECTION * 4);
    if (section === this.states.length) this.states = grown(this.states, section * 2);
    this.statesTaken += FRAMES_PER_SECTION;
    return section;
  }

  /** A slot of zero words. */
  private takeSlot(): number {
    const free = this.freeSlots.pop();
    if (free !== undefined) {
      this.words.fill(0, free << WORD_SHIFT, (free + 1) << WORD_SHIFT);
      return free;
    }
    this.reserve(PAGE_SIZE);
    const slots = this.words.length >>> WORD_SHIFT;
    if (this.slotsTaken === slots) {
      this.words = grown(this.words, Math.min(Math.max(FIRST_SLOTS, slots * 2), MOST_SLOTS) * WORDS_PER_FRAME);
    }
    return this.slotsTaken++;
  }

  private reserve(bytes: number): void {
    const need = this.hostBytes + bytes;
    if (need <= this.limitBytes && this.slotsTaken < MOST_SLOTS) return;
    throw new UsageError(hostMemoryMessage(need, Math.min(this.limitBytes, MOST_SLOTS * PAGE_SIZE)));
  }
}

/** The same words in a longer array; the host backs its rest when it is written. */
function grown(array: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  try {
    const longer = new Int32Array(length);
    longer.set(array);
    return longer;
  } catch {
    throw new UsageError(hostMemoryMessage(length * 4, array.length * 4));
  }
}

const hostMemoryMessage = (needBytes: number, limitBytes: number): string =>
  `the contents of simulated memory need at least ${mebibytes(needBytes)} MiB of this host, the limit is ` +
  `${mebibytes(limitBytes)} MiB: raise the limit, simulate a smaller machine, or run a workload that writes less`;

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
