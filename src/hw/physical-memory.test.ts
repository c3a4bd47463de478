import { describe, expect, test } from "vitest";
import { KernelBug, UsageError } from "../base/errors.ts";
import { PhysicalMemory } from "./physical-memory.ts";

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
    memory.write(1, 0, 99);
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
      expect(memory.hostBytes).toBeLessThan(2 * MIB);
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
    const memory = new PhysicalMemory(2 ** 16, MIB);
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
