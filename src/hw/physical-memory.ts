/**
 * Simulated physical memory: the words of every frame, at the host's cost of only those frames whose words differ.
 *
 * A frame's contents are one of
 *
 *   none      nobody has written it since it was free; it reads as zero and costs nothing
 *   zero      every word is known to be zero; it costs nothing either
 *   literal   1024 words of its own, in one slot of a chunk
 *
 * behind one interface of words. A directory in sections says which: a section appears at the first write to one of its
 * frames. Slots of frames that became zero or none are used again before a new chunk is taken from the host.
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
const CHUNK_SHIFT = 10;
const SLOTS_PER_CHUNK = 1 << CHUNK_SHIFT;
const CHUNK_MASK = SLOTS_PER_CHUNK - 1;
const CHUNK_BYTES = SLOTS_PER_CHUNK * PAGE_SIZE;

// What the directory says of a frame; a literal one says FIRST_SLOT + its slot.
const NONE = 0;
const ZERO = 1;
const FIRST_SLOT = 2;

/** Shared by all sections that nobody has written. */
const untouched = new Int32Array(FRAMES_PER_SECTION);

/** What a memory may take of the host when nobody says otherwise. */
const DEFAULT_LIMIT_BYTES = 8 * 2 ** 30;

export class PhysicalMemory {
  readonly frames: number;
  readonly limitBytes: number;
  /** By section of frames, by frame in it: NONE, ZERO or FIRST_SLOT + slot. */
  private readonly directory: Int32Array[];
  /** By chunk: the words of its slots. */
  private readonly chunks: Int32Array[] = [];
  /** Slots that were given back, to be used again. */
  private readonly freeSlots: number[] = [];
  private slotsTaken = 0;
  private ownSections = 0;

  constructor(frames: number, limitBytes: number = DEFAULT_LIMIT_BYTES) {
    if (!Number.isInteger(frames) || frames < 1 || frames > MOST_FRAMES) {
      throw new UsageError(`physical memory of ${frames} frames: expected 1 to ${MOST_FRAMES} (8 TiB)`);
    }
    this.frames = frames;
    this.limitBytes = limitBytes;
    this.directory = new Array<Int32Array>(Math.ceil(frames / FRAMES_PER_SECTION)).fill(untouched);
  }

  /** The word, as an int32. */
  read(frame: Pfn, word: number): number {
    const state = this.directory[frame >>> SECTION_SHIFT]![frame & SECTION_MASK]!;
    if (state < FIRST_SLOT) return 0;
    const slot = state - FIRST_SLOT;
    return this.chunks[slot >>> CHUNK_SHIFT]![((slot & CHUNK_MASK) << WORD_SHIFT) | word]!;
  }

  write(frame: Pfn, word: number, value: number): void {
    let state = this.stateOf(frame);
    if (state < FIRST_SLOT) {
      if ((value | 0) === 0) {
        this.setState(frame, ZERO);
        return;
      }
      state = this.takeSlot() + FIRST_SLOT;
      this.setState(frame, state);
    }
    const slot = state - FIRST_SLOT;
    this.chunks[slot >>> CHUNK_SHIFT]![((slot & CHUNK_MASK) << WORD_SHIFT) | word] = value;
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

  /** `to` gets the contents of `from`. */
  copy(from: Pfn, to: Pfn): void {
    if (from === to) return;
    const source = this.stateOf(from);
    if (source < FIRST_SLOT) {
      this.drop(to);
      this.setState(to, source);
      return;
    }
    let target = this.stateOf(to);
    if (target < FIRST_SLOT) {
      target = this.takeSlot() + FIRST_SLOT;
      this.setState(to, target);
    }
    this.wordsOf(target - FIRST_SLOT).set(this.wordsOf(source - FIRST_SLOT));
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

  /** What this memory takes of the host. */
  get hostBytes(): number {
    const sectionBytes = (this.ownSections + 1) * FRAMES_PER_SECTION * 4;
    return this.chunks.length * CHUNK_BYTES + sectionBytes + this.directory.length * 8;
  }

  private stateOf(frame: Pfn): number {
    if (!(frame >= 0 && frame < this.frames)) bug(`frame ${frame} is outside physical memory of ${this.frames} frames`);
    return this.directory[frame >>> SECTION_SHIFT]![frame & SECTION_MASK]!;
  }

  private setState(frame: Pfn, state: number): void {
    const number = frame >>> SECTION_SHIFT;
    let section = this.directory[number]!;
    if (section === untouched) {
      if (state === NONE) return;
      this.reserve(FRAMES_PER_SECTION * 4);
      section = new Int32Array(FRAMES_PER_SECTION);
      this.directory[number] = section;
      this.ownSections++;
    }
    section[frame & SECTION_MASK] = state;
  }

  private drop(frame: Pfn): void {
    const state = this.stateOf(frame);
    if (state >= FIRST_SLOT) this.freeSlots.push(state - FIRST_SLOT);
  }

  /** A slot of zero words. */
  private takeSlot(): number {
    const free = this.freeSlots.pop();
    if (free !== undefined) {
      this.wordsOf(free).fill(0);
      return free;
    }
    if (this.slotsTaken === this.chunks.length * SLOTS_PER_CHUNK) {
      this.reserve(CHUNK_BYTES);
      this.chunks.push(new Int32Array(SLOTS_PER_CHUNK * WORDS_PER_FRAME));
    }
    return this.slotsTaken++;
  }

  private wordsOf(slot: number): Int32Array {
    const first = (slot & CHUNK_MASK) << WORD_SHIFT;
    return this.chunks[slot >>> CHUNK_SHIFT]!.subarray(first, first + WORDS_PER_FRAME);
  }

  private reserve(bytes: number): void {
    const need = this.hostBytes + bytes;
    if (need <= this.limitBytes) return;
    throw new UsageError(
      `the contents of simulated memory need at least ${mebibytes(need)} MiB of this host, the limit is ` +
        `${mebibytes(this.limitBytes)} MiB (${this.literalFrames} frames hold data): ` +
        "raise the limit, simulate a smaller machine, or run a workload that writes less",
    );
  }
}

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
