/**
 * Simulated physical memory: the words of every frame, at the host's cost of what differs.
 *
 * A frame's contents are one of
 *
 *   none         nobody has written it since it was free; it reads as zero and costs nothing
 *   zero         every word is known to be zero; it costs nothing either
 *   literal      1024 words of its own, in a slot
 *   shared       a slot that several frames have, each until it is changed
 *   arithmetic   numbers that grow by the same from one place to the next, zeros before and after: a page table of
 *                consecutive frames. A pattern says how; the frame adds one number, which may itself be on a line
 *   few          a handful of words that are not zero, as pairs: only once there are many literal frames
 *
 * behind one interface of words. What a frame is stands in its section of `states`, which appears at the first write to
 * one of its frames, or in `runs`, where sections are whose frames were written many at a time. Slots of frames that became
 * something else are used again. A literal word is found by three reads of flat arrays (section, state, word), because
 * a page walk waits for each of them in turn.
 */
import { bug, UsageError } from "../base/errors.ts";
import { SparseInt32 } from "../base/sparse-array.ts";
import { PAGE_SIZE, type Pfn } from "../base/units.ts";
import { EMPTY, FewWords, TOO_MANY } from "./few-words.ts";
import { type Pattern, Patterns } from "./patterns.ts";

/** 32-bit words in a frame. */
export const WORDS_PER_FRAME = PAGE_SIZE / 4;
/** The most frames that a physical memory may have: a frame number is an int32. */
export const MOST_FRAMES = 2 ** 31;

export type Contents = "none" | "zero" | "literal" | "shared" | "arithmetic" | "few";

const SECTION_SHIFT = 15;
const FRAMES_PER_SECTION = 1 << SECTION_SHIFT;
const SECTION_MASK = FRAMES_PER_SECTION - 1;
const WORD_SHIFT = 10;
/** The words of all slots are numbered by an int32. */
const MOST_SLOTS = 2 ** (31 - WORD_SHIFT);
const FIRST_SLOTS = 256;
/** So many frames are written as one run; fewer, one by one. */
const WORTH_A_RUN = 64;

// What a state says of a frame. None in `states`: ask `runs`. Negative: -1 - twice the number of a pattern, or -2 - twice that of a record of few words.
const NONE = 0;
const ZERO = 1;
/** Or-ed with the slot; shifting by WORD_SHIFT drops both bits. */
const LITERAL = 1 << 22;
const SHARED = 1 << 23;

/** `placeOf` of a frame whose words are not in a slot: `read` knows them. */
export const NO_PLACE = -1;

/** What a memory may take of the host when nobody says otherwise. */
const DEFAULT_LIMIT_BYTES = 8 * 2 ** 30;
/** So many frames are literal from their first word on: few words are for memories of very many tables. */
const DEFAULT_PLAIN_SLOTS = 2 ** 14;

/** What a memory is told beside its size. */
export interface MemoryLimits {
  /** What the contents may take of the host. */
  readonly limitBytes?: number;
  /** Frames that get words of their own at once. */
  readonly plainSlots?: number;
}

/** The contents of one frame or several, which many others will have too. Made by `wordModel`. */
export interface WordModel {
  /** By number: the slot that has these words as long as a frame has them, or -1. */
  readonly slots: Int32Array;
  /** Writes the words of one, where all are zero. */
  readonly spell: (at: number, words: Int32Array, place: number) => void;
}

export const wordModel = (frames: number, spell: WordModel["spell"]): WordModel => ({
  slots: new Int32Array(frames).fill(-1),
  spell,
});

export class PhysicalMemory {
  readonly frames: number;
  readonly limitBytes: number;
  /** Changes of frames' words, but for bits that a walk set: what was read of them is true while it stands. */
  changes = 0;
  private readonly plainSlots: number;
  /** By number of a section of frames: where its states start. Section 0 of `states` is nobody's. */
  private readonly sections: Int32Array;
  /** By section that has one, by frame in it. */
  private states = new Int32Array(FRAMES_PER_SECTION);
  private statesTaken = FRAMES_PER_SECTION;
  /** Where sections start in `states` that have moved to `runs`. */
  private readonly freeSections: number[] = [];
  /** By frame of the other sections. */
  private readonly runs: SparseInt32;
  /** By section: whether `runs` has it. */
  private readonly inRuns: Uint8Array;
  /** By arithmetic frame: what its first number is made of. */
  private readonly firsts: SparseInt32;
  private readonly patterns = new Patterns();
  private readonly few = new FewWords();
  /** By slot, by word. */
  private words = new Int32Array(0);
  /** Slots that were given back, to be used again. */
  private readonly freeSlots: number[] = [];
  private slotsTaken = 0;
  /** By shared slot: how many frames have it. */
  private readonly sharers = new SparseInt32(MOST_SLOTS);
  /** The shared slots that are as a model says, and which model. */
  private readonly models = new Map<number, WordModel>();

  constructor(frames: number, limits: MemoryLimits = {}) {
    if (!Number.isInteger(frames) || frames < 1 || frames > MOST_FRAMES) {
      throw new UsageError(`physical memory of ${frames} frames: expected 1 to ${MOST_FRAMES} (8 TiB)`);
    }
    this.frames = frames;
    this.limitBytes = limits.limitBytes ?? DEFAULT_LIMIT_BYTES;
    this.plainSlots = limits.plainSlots ?? DEFAULT_PLAIN_SLOTS;
    this.sections = new Int32Array(Math.ceil(frames / FRAMES_PER_SECTION));
    this.inRuns = new Uint8Array(this.sections.length);
    this.runs = new SparseInt32(frames);
    this.firsts = new SparseInt32(frames);
  }

  /** The word, as an int32. */
  read(frame: Pfn, word: number): number {
    const state = this.states[this.sections[frame >>> SECTION_SHIFT]! + (frame & SECTION_MASK)]!;
    return state >= LITERAL ? this.words[(state << WORD_SHIFT) + word]! : this.readElsewhere(frame, state, word);
  }

  /** Where the frame's words are, for `wordAt` until the next write to memory; or NO_PLACE. */
  placeOf(frame: Pfn): number {
    const state = this.states[this.sections[frame >>> SECTION_SHIFT]! + (frame & SECTION_MASK)]!;
    return state >= LITERAL ? state << WORD_SHIFT : NO_PLACE;
  }

  /** The same for a frame that may be written there by `writeAt`: nobody else has these words. */
  ownPlaceOf(frame: Pfn): number {
    const state = this.states[this.sections[frame >>> SECTION_SHIFT]! + (frame & SECTION_MASK)]!;
    return state >= LITERAL && state < SHARED ? state << WORD_SHIFT : NO_PLACE;
  }

  wordAt(place: number): number {
    return this.words[place]!;
  }

  /** Writes a word where `ownPlaceOf` has found the frame's words. */
  writeAt(place: number, value: number): void {
    this.changes++;
    this.words[place] = value;
  }

  /** Sets bits of a word, which nobody counts as a change if the frame's words stay where they are: a page walk does. */
  mark(frame: Pfn, word: number, bits: number): void {
    const place = this.ownPlaceOf(frame);
    if (place >= 0) this.words[place + word]! |= bits;
    else this.write(frame, word, this.read(frame, word) | bits);
  }

  write(frame: Pfn, word: number, value: number): void {
    const state = this.stateOf(frame);
    if (state < LITERAL || state >= SHARED) this.writeElsewhere(frame, state, word, value | 0);
    else {
      this.changes++;
      this.words[(state << WORD_SHIFT) + word] = value;
    }
  }

  /** Words `[first, end)` become zero. */
  zeroWords(frame: Pfn, first: number, end: number): void {
    if (first === 0 && end === WORDS_PER_FRAME) this.zero(frame);
    else if (!this.isBlank(frame)) {
      this.write(frame, first, 0);
      const place = this.ownPlaceOf(frame);
      if (place >= 0) this.words.fill(0, place + first, place + end);
      else for (let word = first; word < end; word++) this.write(frame, word, 0);
    }
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
    const section = this.sections[frame >>> SECTION_SHIFT]!;
    const at = section + (frame & SECTION_MASK);
    if (section > 0 && (this.states[at]! | 1) === ZERO) this.states[at] = ZERO;
    else {
      this.drop(this.stateOf(frame));
      this.setState(frame, ZERO);
    }
  }

  /** The same for all of `[first, end)`. */
  zeroRun(first: Pfn, end: Pfn): void {
    if (end - first < WORTH_A_RUN) {
      for (let frame = first; frame < end; frame++) this.zero(frame);
      return;
    }
    this.dropRun(first, end);
    this.layState(first, end, ZERO);
  }

  /** Nobody cares for the contents any more. */
  forget(frame: Pfn): void {
    this.drop(this.stateOf(frame));
    this.setState(frame, NONE);
  }

  /** The same for all of `[first, end)`. */
  forgetRun(first: Pfn, end: Pfn): void {
    this.dropRun(first, end);
    for (let from = first; from < end; ) {
      const stop = Math.min(end, from - (from & SECTION_MASK) + FRAMES_PER_SECTION);
      if (this.inRuns[from >>> SECTION_SHIFT] !== 0) this.runs.lay(from, stop, NONE);
      from = stop;
    }
  }

  /** `to` gets the contents of `from`. Words are shared until one side is changed. */
  copy(from: Pfn, to: Pfn): void {
    if (from === to) return;
    const source = this.stateOf(from);
    this.drop(this.stateOf(to));
    if (source >= LITERAL) {
      const slot = source & (LITERAL - 1);
      this.sharers.add(slot, source >= SHARED ? 1 : 2);
      this.setState(from, SHARED | slot);
      this.setState(to, SHARED | slot);
    } else if (source >= 0) this.setState(to, source);
    else if (isPattern(source)) {
      this.setState(to, source);
      this.firsts.write(to, this.firsts.read(from));
    } else this.setState(to, recordState(this.few.copy(recordOf(source))));
    this.changes++;
  }

  // Arithmetic contents.

  /** The frame's words become those of a pattern, from `first` on. */
  fillWith(frame: Pfn, pattern: Pattern, first: number): void {
    this.fillRun(frame, frame + 1, pattern, { first, stride: 0 });
  }

  /** The same for all of `[start, end)`: each frame's `first` is `stride` more than that of the one before it. */
  fillRun(start: Pfn, end: Pfn, pattern: Pattern, line: { readonly first: number; readonly stride: number }): void {
    this.dropRun(start, end);
    this.changes++;
    const state = patternState(this.patterns.numberOf(pattern));
    if (end - start === 1) {
      this.setState(start, state);
      // A line among lines stays one.
      if (this.inRuns[start >>> SECTION_SHIFT] !== 0) this.firsts.lay(start, end, line.first);
      else this.firsts.write(start, line.first);
      return;
    }
    this.layState(start, end, state);
    this.firsts.lay(start, end, line.first, line.stride);
  }

  /** The frames `[start, end)` get the contents of a model, from its number `at` on. */
  fillLike(start: Pfn, end: Pfn, model: WordModel, at: number): void {
    this.dropRun(start, end);
    this.changes++;
    this.keepModel(model, at, at + end - start);
    for (let frame = start; frame < end; ) {
      const number = at + frame - start;
      const slot = model.slots[number]!;
      let same = 1;
      while (frame + same < end && model.slots[number + same] === slot + same) same++;
      this.sharers.addEach(slot, slot + same, 1);
      if (same === 1) this.setState(frame, SHARED | slot);
      else this.layState(frame, frame + same, SHARED | slot, 1);
      frame += same;
    }
  }

  /** The frame shares the words of a model's number `at` if they are the ones that it has. */
  shareLike(frame: Pfn, model: WordModel, at: number): void {
    const state = this.stateOf(frame);
    if (state < LITERAL || state >= SHARED) return;
    this.keepModel(model, at, at + 1);
    const slot = model.slots[at]!;
    const [own, others] = [state << WORD_SHIFT, slot << WORD_SHIFT];
    for (let word = 0; word < WORDS_PER_FRAME; word++) {
      if (this.words[own + word] === this.words[others + word]) continue;
      if (this.sharers.read(slot) === 0) this.forgetModel(slot);
      return;
    }
    this.drop(state);
    this.sharers.add(slot, 1);
    this.setState(frame, SHARED | slot);
  }

  /** Spells what no frame has of the model's numbers `[first, end)`. */
  private keepModel(model: WordModel, first: number, end: number): void {
    let missing = 0;
    for (let at = first; at < end; at++) if (model.slots[at]! < 0) missing++;
    // Side by side, so that frames that have one each are a line.
    let fresh = missing > 1 ? this.takeSlots(missing) : -1;
    for (let at = first; at < end && missing > 0; at++) {
      if (model.slots[at]! >= 0) continue;
      const slot = fresh < 0 ? this.takeSlot() : fresh++;
      model.slots[at] = slot;
      this.models.set(slot, model);
      model.spell(at, this.words, slot << WORD_SHIFT);
    }
  }

  /** No frame has the slot as its model says any more. */
  private forgetModel(slot: number): void {
    this.stopSharing(slot);
    this.freeSlots.push(slot);
  }

  /** The pattern that the frame's contents are, or undefined. */
  patternOf(frame: Pfn): Pattern | undefined {
    const state = this.stateOf(frame);
    return state < 0 && isPattern(state) ? this.patterns.at(patternOf(state)) : undefined;
  }

  /** What an arithmetic frame adds to its pattern. */
  firstOf(frame: Pfn): number {
    return this.firsts.read(frame);
  }

  /** How many frames from `first` on, up to `end`, have the same pattern, and firsts that grow by `stride`. */
  endOfPattern(first: Pfn, end: Pfn, stride: number): Pfn {
    const state = this.stateOf(first);
    let same = first + 1;
    while (same < end && this.stateOf(same) === state) same = this.endOfState(state, same, end);
    return this.firsts.endOfLine(stride, first, same);
  }

  /** Whether every word of the frame is zero, without looking at words of its own. */
  isBlank(frame: Pfn): boolean {
    const state = this.stateOf(frame);
    return state === NONE || state === ZERO;
  }

  contentsOf(frame: Pfn): Contents {
    const state = this.stateOf(frame);
    if (state < 0) return isPattern(state) ? "arithmetic" : "few";
    if (state >= SHARED) return "shared";
    if (state >= LITERAL) return "literal";
    return state === NONE ? "none" : "zero";
  }

  /** Slots in use: each holds the words of one frame, or of several that share them. */
  get literalFrames(): number {
    return this.slotsTaken - this.freeSlots.length;
  }

  /** What this memory takes of the host: room reserved but never written costs nothing. */
  get hostBytes(): number {
    const { runs, firsts, few, patterns } = this;
    const flat = this.slotsTaken * PAGE_SIZE + this.statesTaken * 4 + this.sections.length * 5;
    return flat + this.sharers.hostBytes + runs.hostBytes + firsts.hostBytes + few.hostBytes + patterns.hostBytes;
  }

  private stateOf(frame: Pfn): number {
    if (!(frame >= 0 && frame < this.frames)) bug(`frame ${frame} is outside physical memory of ${this.frames} frames`);
    const state = this.states[this.sections[frame >>> SECTION_SHIFT]! + (frame & SECTION_MASK)]!;
    return state === NONE ? this.runs.read(frame) : state;
  }

  private setState(frame: Pfn, state: number): void {
    let section = this.sections[frame >>> SECTION_SHIFT]!;
    if (section === 0) {
      if (this.inRuns[frame >>> SECTION_SHIFT] !== 0) {
        this.runs.write(frame, state);
        return;
      }
      if (state === NONE) return;
      section = this.takeSection();
      this.sections[frame >>> SECTION_SHIFT] = section;
    }
    this.states[section + (frame & SECTION_MASK)] = state;
  }

  /** The same for all of `[first, end)`, whose sections move to `runs`; a frame's is `stride` more than the one before it. */
  private layState(first: Pfn, end: Pfn, state: number, stride = 0): void {
    this.moveToRuns(first, end);
    this.runs.lay(first, end, state, stride);
  }

  private moveToRuns(first: Pfn, end: Pfn): void {
    const { states, runs } = this;
    for (let number = first >>> SECTION_SHIFT; number <= (end - 1) >>> SECTION_SHIFT; number++) {
      const section = this.sections[number]!;
      this.inRuns[number] = 1;
      if (section === 0) continue;
      const from = number * FRAMES_PER_SECTION;
      for (let at = 0; at < FRAMES_PER_SECTION; ) {
        const state = states[section + at]!;
        const start = at++;
        if (state === NONE) continue;
        while (at < FRAMES_PER_SECTION && states[section + at] === state) at++;
        runs.fill(from + start, from + at, state);
      }
      states.fill(NONE, section, section + FRAMES_PER_SECTION);
      this.sections[number] = 0;
      this.freeSections.push(section);
    }
  }

  /** What is known of the frames `[first, end)` is to stay for long: it is kept as runs of them. */
  compact(first: Pfn, end: Pfn): void {
    this.moveToRuns(first, end);
    this.runs.compact(first, end);
  }

  /** Where frames of the state end that `first` has, as far as is known at once; at most at `end`. */
  private endOfState(state: number, first: Pfn, end: Pfn): Pfn {
    if (this.sections[first >>> SECTION_SHIFT] !== 0) return first + 1;
    const stop = Math.min(end, first - (first & SECTION_MASK) + FRAMES_PER_SECTION);
    return Math.max(this.runs.endOf(state, first, stop), first + 1);
  }

  /** A word of a frame that `states` says is none: zero, or what `runs` knows; or of one that is no literal one. */
  private readElsewhere(frame: Pfn, flat: number, word: number): number {
    if (flat === ZERO) return 0;
    const state = flat === NONE ? this.runs.read(frame) : flat;
    if (state >= LITERAL) return this.words[(state << WORD_SHIFT) + word]!;
    return state >= 0 ? 0 : this.readComputed(frame, state, word);
  }

  private readComputed(frame: Pfn, state: number, word: number): number {
    if (isPattern(state)) return this.patterns.word(patternOf(state), this.firsts.read(frame), word);
    return this.few.read(recordOf(state), word);
  }

  /** Writes a word of a frame that is not literal. */
  private writeElsewhere(frame: Pfn, state: number, word: number, value: number): void {
    if (state === NONE || state === ZERO) {
      if (value === 0) this.setState(frame, ZERO);
      else if (this.literalFrames >= this.plainSlots) {
        this.reserve(this.few.nextBytes);
        this.changes++;
        this.setState(frame, recordState(this.few.create(word, value)));
      } else this.writeIn(this.ownSlot(frame), word, value);
      return;
    }
    if (state >= 0) this.writeIn(this.unshared(frame, state), word, value);
    else if (isPattern(state)) {
      if (this.readComputed(frame, state, word) !== value) this.writeIn(this.spelled(frame, state), word, value);
    } else this.writeFew(frame, state, word, value);
  }

  private writeIn(slot: number, word: number, value: number): void {
    this.changes++;
    this.words[(slot << WORD_SHIFT) + word] = value;
  }

  private writeFew(frame: Pfn, state: number, word: number, value: number): void {
    this.reserve(this.few.nextBytes);
    const record = recordOf(state);
    const after = this.few.write(record, word, value);
    if (after === TOO_MANY) this.writeIn(this.spelled(frame, state), word, value);
    else if (after !== record) this.setState(frame, after === EMPTY ? ZERO : recordState(after));
    this.changes++;
  }

  /** A slot of zeros for a frame. */
  private ownSlot(frame: Pfn): number {
    const slot = this.takeSlot();
    this.setState(frame, LITERAL | slot);
    return slot;
  }

  /** A slot with what the frame's pattern or few words say. */
  private spelled(frame: Pfn, state: number): number {
    const slot = this.takeSlot();
    const { words } = this;
    const place = slot << WORD_SHIFT;
    if (isPattern(state)) this.patterns.spell(patternOf(state), this.firsts.read(frame), words, place);
    else {
      this.few.forEach(recordOf(state), (word, value) => {
        words[place + word] = value;
      });
    }
    this.drop(state);
    this.setState(frame, LITERAL | slot);
    return slot;
  }

  /** The slot of a frame that shared it, its own from now on. */
  private unshared(frame: Pfn, state: number): number {
    const shared = state & (LITERAL - 1);
    if (this.sharers.read(shared) === 1) {
      this.sharers.write(shared, 0);
      this.stopSharing(shared);
      this.setState(frame, LITERAL | shared);
      return shared;
    }
    const slot = this.takeSlot();
    const from = shared << WORD_SHIFT;
    this.words.copyWithin(slot << WORD_SHIFT, from, from + WORDS_PER_FRAME);
    this.drop(state);
    this.setState(frame, LITERAL | slot);
    return slot;
  }

  private stopSharing(slot: number): void {
    const model = this.models.get(slot);
    if (model === undefined) return;
    model.slots[model.slots.indexOf(slot)] = -1;
    this.models.delete(slot);
  }

  /** Gives back what a frame of that state has. */
  private drop(state: number): void {
    if (state >= LITERAL) {
      const slot = state & (LITERAL - 1);
      this.changes++;
      if (state >= SHARED) {
        if (this.sharers.add(slot, -1) > 0) return;
        this.stopSharing(slot);
      }
      this.freeSlots.push(slot);
    } else if (state < 0) {
      this.changes++;
      if (!isPattern(state)) this.few.drop(recordOf(state));
    }
  }

  /** Gives back what `[first, end)` has; the caller says what it is now. */
  private dropRun(first: Pfn, end: Pfn): void {
    if (!(first >= 0 && end <= this.frames)) bug(`frames ${first} to ${end} are outside physical memory`);
    for (let from = first; from < end; ) {
      const stop = Math.min(end, from - (from & SECTION_MASK) + FRAMES_PER_SECTION);
      const section = this.sections[from >>> SECTION_SHIFT]!;
      if (section !== 0) this.dropFlat(section + (from & SECTION_MASK), section + ((stop - 1) & SECTION_MASK) + 1);
      else if (this.inRuns[from >>> SECTION_SHIFT] !== 0) this.dropLines(from, stop);
      from = stop;
    }
  }

  private dropFlat(first: number, end: number): void {
    const { states } = this;
    for (let at = first; at < end; at++) {
      const state = states[at]!;
      if ((state | 1) !== ZERO) this.drop(state);
      states[at] = NONE;
    }
  }

  private dropLines(first: Pfn, end: Pfn): void {
    for (let frame = first; frame < end; ) {
      const state = this.stateOf(frame);
      this.drop(state);
      const isOne = state >= LITERAL || (state < 0 && !isPattern(state));
      frame = isOne ? frame + 1 : this.endOfState(state, frame, end);
    }
  }

  private takeSection(): number {
    const free = this.freeSections.pop();
    if (free !== undefined) return free;
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
    return this.takeSlots(1);
  }

  /** The first of so many slots of zero words, side by side. */
  private takeSlots(count: number): number {
    this.reserve(count * PAGE_SIZE);
    const slots = this.words.length >>> WORD_SHIFT;
    const first = this.slotsTaken;
    if (first + count > slots) {
      const wanted = Math.max(FIRST_SLOTS, slots * 2, first + count);
      this.words = grown(this.words, Math.min(wanted, MOST_SLOTS) * WORDS_PER_FRAME);
    }
    this.slotsTaken += count;
    return first;
  }

  private reserve(bytes: number): void {
    const need = this.hostBytes + bytes;
    if (need <= this.limitBytes && this.slotsTaken + Math.ceil(bytes / PAGE_SIZE) <= MOST_SLOTS) return;
    throw new UsageError(hostMemoryMessage(need, Math.min(this.limitBytes, MOST_SLOTS * PAGE_SIZE)));
  }
}

const isPattern = (state: number): boolean => (state & 1) !== 0;
const patternState = (pattern: number): number => -1 - 2 * pattern;
const patternOf = (state: number): number => (-1 - state) >>> 1;
const recordState = (record: number): number => -2 - 2 * record;
const recordOf = (state: number): number => (-2 - state) >>> 1;

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
