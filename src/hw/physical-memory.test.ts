import { describe, expect, test } from "vitest";
import { KernelBug, UsageError } from "../base/errors.ts";
import { Rng } from "../base/rng.ts";
import { PhysicalMemory, WORDS_PER_FRAME } from "./physical-memory.ts";

const MIB = 2 ** 20;

describe("a frame's contents", () => {
  test("are none until somebody writes, and read as zero", () => {
    const memory = new PhysicalMemory(64);
    expect(memory.contentsOf(5)).toBe("none");
    expect(memory.read(5, 17)).toBe(0);
  });

  test("become zero when a zero is written, which costs nothing", () => {
    const memory = new PhysicalMemory(64);
    memory.write(5, 17, 0);
    expect(memory.contentsOf(5)).toBe("zero");
    expect(memory.literalFrames).toBe(0);
  });

  test("become literal words with the first other word; words are int32", () => {
    const memory = new PhysicalMemory(64);
    memory.write(5, 1023, 0x89abcdef);
    expect(memory.contentsOf(5)).toBe("literal");
    expect(memory.read(5, 1023)).toBe(0x89abcdef | 0);
    expect(memory.read(5, 1022)).toBe(0);
    expect(memory.read(4, 1023)).toBe(0);
    expect(memory.read(6, 0)).toBe(0);
  });

  test("of a run are none after forgetRun(), and nothing beside it changes", () => {
    const memory = new PhysicalMemory(3 * 2 ** 15);
    const boundary = 2 ** 15;
    for (const frame of [boundary - 3, boundary - 2, boundary - 1, boundary + 1]) memory.write(frame, 7, frame);
    memory.zero(boundary);
    memory.forgetRun(boundary - 2, 2 * boundary + 5);
    expect(memory.read(boundary - 3, 7)).toBe(boundary - 3);
    const after = [boundary - 2, boundary - 1, boundary, boundary + 1, 2 * boundary + 4];
    expect(after.map((frame) => memory.contentsOf(frame))).toEqual(after.map(() => "none"));
    expect(memory.literalFrames).toBe(1);
    expect(() => memory.forgetRun(boundary, 4 * boundary)).toThrow("outside physical memory");
  });

  test("are all zero after zero(), and none after forget(); their slot is used again, cleared", () => {
    const memory = new PhysicalMemory(64);
    memory.write(5, 3, 7);
    memory.zero(5);
    expect(memory.contentsOf(5)).toBe("zero");
    expect(memory.read(5, 3)).toBe(0);
    memory.write(6, 9, 1);
    expect(memory.read(6, 3)).toBe(0);
    memory.forget(6);
    expect(memory.contentsOf(6)).toBe("none");
    const before = memory.hostBytes;
    memory.write(7, 0, 1);
    expect(memory.hostBytes).toBe(before);
  });

  test("are copied by value: literal, zero and none", () => {
    const memory = new PhysicalMemory(64);
    memory.write(1, 0, 11);
    memory.write(1, 1023, 12);
    memory.copy(1, 2);
    expect([memory.contentsOf(1), memory.contentsOf(2), memory.literalFrames]).toEqual(["shared", "shared", 1]);
    memory.write(1, 0, 99);
    memory.write(2, 5, 0);
    expect([memory.contentsOf(1), memory.contentsOf(2), memory.literalFrames]).toEqual(["literal", "literal", 2]);
    expect([memory.read(2, 0), memory.read(2, 1023)]).toEqual([11, 12]);

    memory.zero(3);
    memory.copy(3, 2);
    expect(memory.contentsOf(2)).toBe("zero");
    memory.copy(4, 2);
    expect(memory.contentsOf(2)).toBe("none");
    memory.copy(1, 1);
    expect(memory.read(1, 0)).toBe(99);
  });

  test("are bytes in little-endian order too", () => {
    const memory = new PhysicalMemory(64);
    memory.write(5, 1, 0x80c0e0f0);
    expect([4, 5, 6, 7].map((offset) => memory.readByte(5, offset))).toEqual([0xf0, 0xe0, 0xc0, 0x80]);
    memory.writeByte(5, 7, 0x1ff);
    memory.writeByte(5, 4, 0);
    expect(memory.read(5, 1)).toBe(0xffc0e000 | 0);
  });
});

describe("the host", () => {
  test("pays for literal frames only, whatever the size of memory", () => {
    for (const frames of [2 ** 28, 2 ** 31]) {
      const memory = new PhysicalMemory(frames);
      expect(memory.hostBytes).toBeLessThan(2 * MIB);
      memory.write(frames - 1, 5, 42);
      memory.zero(frames / 2);
      expect(memory.read(frames - 1, 5)).toBe(42);
      expect(memory.contentsOf(frames / 2)).toBe("zero");
      expect(memory.hostBytes).toBeLessThan(3 * MIB);
    }
  });

  test("keeps every word while its arrays grow", () => {
    const memory = new PhysicalMemory(2 ** 20);
    for (let frame = 0; frame < 3000; frame++) memory.write(frame * 300, frame % 1024, frame + 1);
    for (let frame = 0; frame < 3000; frame++) {
      if (memory.read(frame * 300, frame % 1024) !== frame + 1) throw new Error(`frame ${frame * 300} lost its word`);
    }
    expect(memory.literalFrames).toBe(3000);
  });

  test("is not asked for more than the limit: the message says need, limit and remedy", () => {
    const memory = new PhysicalMemory(2 ** 16, { limitBytes: MIB });
    const fill = () => {
      for (let frame = 0; frame < 1000; frame++) memory.write(frame, 0, 1);
    };
    expect(fill).toThrow(UsageError);
    expect(fill).toThrow(/need at least 1\.0 MiB .* limit is 1\.0 MiB: raise the limit, simulate a smaller machine/);
    expect(memory.hostBytes).toBeLessThanOrEqual(MIB);
  });
});

test("a memory of no frames, or of more than a frame number can name, is refused", () => {
  for (const frames of [0, -1, 1.5, 2 ** 31 + 1]) expect(() => new PhysicalMemory(frames)).toThrow(UsageError);
});

test("writing outside memory is a bug of ours", () => {
  const memory = new PhysicalMemory(64);
  expect(() => memory.write(64, 0, 1)).toThrow(KernelBug);
  expect(() => memory.zero(-1)).toThrow(KernelBug);
});

const line = (entryWords: 1 | 2, start: number, end: number) =>
  ({ entryWords, low: 0x67, high: entryWords === 2 ? 1 << 31 : 0, shift: 12, start, end }) as const;

describe("arithmetic contents", () => {
  test("are numbers on a line, of 64 bits where entries have two words", () => {
    const memory = new PhysicalMemory(64);
    memory.fillWith(5, line(2, 1, 4), 0x12_3456 - 2);
    const words = Array.from({ length: 10 }, (_, word) => (memory.read(5, word) >>> 0).toString(16));
    expect(words).toEqual([
      ...["0", "0", "23455067", "80000001", "23456067", "80000001", "23457067", "80000001", "0", "0"],
    ]);
    expect([memory.contentsOf(5), memory.literalFrames]).toEqual(["arithmetic", 0]);
  });

  test("of a run of frames are on a line themselves, and cost no more than one", () => {
    const memory = new PhysicalMemory(2 ** 20);
    memory.fillRun(1024, 1024 + 512 * 100, line(1, 0, 1024), { first: 7000, stride: 1024 });
    const before = memory.hostBytes;
    memory.fillRun(1024, 1024 + 512 * 100, line(1, 0, 1024), { first: 7000, stride: 1024 });
    expect(memory.hostBytes).toBe(before);
    expect(before).toBeLessThan(2 ** 18);
    expect(memory.read(1030, 3)).toBe(((7000 + 6 * 1024 + 3) << 12) | 0x67);
    expect(memory.firstOf(1030)).toBe(7000 + 6 * 1024);
    expect(memory.endOfPattern(1030, 2 ** 20, 1024)).toBe(1024 + 512 * 100);
  });

  test("become words with the first word that is another", () => {
    const memory = new PhysicalMemory(64);
    memory.fillWith(5, line(2, 0, 512), 100);
    memory.write(5, 6, memory.read(5, 6));
    expect(memory.contentsOf(5)).toBe("arithmetic");
    memory.mark(5, 6, 8);
    expect(memory.contentsOf(5)).toBe("literal");
    expect([memory.read(5, 6), memory.read(5, 8)]).toEqual([(103 << 12) | 0x6f, (104 << 12) | 0x67]);
  });
});

test("many frames of few words take a fraction of their size, and give it back", () => {
  const memory = new PhysicalMemory(2 ** 16, { plainSlots: 0 });
  const empty = memory.hostBytes;
  for (let frame = 0; frame < 10_000; frame++)
    for (let word = 0; word < 10; word++) memory.write(frame, word * 50, frame + 1);
  expect(memory.contentsOf(77)).toBe("few");
  expect(memory.hostBytes - empty).toBeLessThan(10_000 * 256);
  const full = memory.hostBytes;
  for (let frame = 0; frame < 10_000; frame++) memory.zero(frame);
  for (let frame = 0; frame < 10_000; frame++) for (let word = 0; word < 10; word++) memory.write(frame, word, 1);
  expect(memory.hostBytes).toBe(full);
  for (let word = 0; word < 10; word++) memory.write(5, word, 0);
  expect(memory.contentsOf(5)).toBe("zero");
  for (let word = 0; word < 100; word++) memory.write(5, word, word);
  expect(memory.contentsOf(5)).toBe("literal");
  expect(memory.read(5, 99)).toBe(99);
});

test.each([0, 3, 100])(
  "whatever a frame's contents are, they are what an array of words says (%i plain frames)",
  (plainSlots) => {
    const rng = new Rng(plainSlots + 1);
    const count = 40;
    const memory = new PhysicalMemory(count, { plainSlots });
    const plain = Array.from({ length: count }, () => new Int32Array(WORDS_PER_FRAME));
    const seen = new Set<string>();
    for (let step = 0; step < 6000; step++) {
      const frame = rng.below(count);
      const other = rng.below(count);
      const word = rng.chance(0.7) ? rng.below(12) * 80 : rng.below(WORDS_PER_FRAME);
      const value = rng.chance(0.3) ? 0 : rng.next() | 0;
      const kind = rng.below(40);
      if (kind === 0) {
        memory.zero(frame);
        plain[frame]!.fill(0);
      } else if (kind === 1) {
        memory.forgetRun(Math.min(frame, other), Math.max(frame, other));
        for (let at = Math.min(frame, other); at < Math.max(frame, other); at++) plain[at]!.fill(0);
      } else if (kind < 6) {
        memory.copy(frame, other);
        plain[other]!.set(plain[frame]!);
      } else if (kind < 9) {
        const words = rng.chance(0.5) ? 1 : 2;
        const most = WORDS_PER_FRAME / words;
        const [start, end] = rng.chance(0.5) ? [0, most] : [rng.below(most), rng.below(most)];
        const first = rng.below(2 ** 21);
        memory.fillRun(frame, Math.min(frame + 3, count), line(words, start, end), { first, stride: most });
        for (let at = frame; at < Math.min(frame + 3, count); at++) {
          plain[at]!.fill(0);
          for (let index = start; index < end; index++) {
            const number = BigInt(first + (at - frame) * most + index) << 12n;
            plain[at]![index * words] = Number(BigInt.asIntN(32, number | 0x67n));
            if (words === 2) plain[at]![index * 2 + 1] = Number(BigInt.asIntN(32, (number >> 32n) | 0x8000_0000n));
          }
        }
      } else if (kind < 12) {
        memory.mark(frame, word, 0x20);
        plain[frame]![word]! |= 0x20;
      } else {
        memory.write(frame, word, value);
        plain[frame]![word] = value;
      }
      seen.add(memory.contentsOf(frame));
      const differs = plain[frame]!.findIndex((expected, at) => memory.read(frame, at) !== expected);
      if (differs >= 0) throw new Error(`step ${step}: word ${differs} of frame ${frame}, ${memory.contentsOf(frame)}`);
      if (memory.isBlank(frame) && plain[frame]!.some((each) => each !== 0)) throw new Error(`step ${step}: blank`);
    }
    for (let frame = 0; frame < count; frame++) {
      expect(Array.from(plain[frame]!, (_, at) => memory.read(frame, at))).toEqual([...plain[frame]!]);
    }
    expect(seen.size).toBeGreaterThan(4);
  },
);
