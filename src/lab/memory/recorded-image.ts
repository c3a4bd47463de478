/**
 * How a program that was linked for pages of 4 KiB is loaded: the calls that map coreutils' sort and its dynamic linker, with the
 * segments of samples/sort.bmt (Debian 12, x86-64). Each segment lies where the one before it ends, in memory as in the file.
 */
import { EINVAL } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import type { Vaddr } from "../../base/units.ts";
import type { Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import { MAP_FIXED, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE } from "../import/calls.ts";

/** Where a segment begins, in the image and in the file, and what may be done there; it ends where the next begins. */
interface Segment {
  readonly start: number;
  readonly rights: number;
}

interface Image {
  readonly name: string;
  readonly base: Vaddr;
  readonly sizeBytes: number;
  readonly segments: readonly Segment[];
}

const images: readonly Image[] = [
  {
    name: "sort",
    base: 0x1000_0000,
    sizeBytes: 0x1_d000,
    segments: [
      { start: 0, rights: PROT_READ },
      { start: 0x3000, rights: PROT_READ | PROT_EXEC },
      { start: 0x1_5000, rights: PROT_READ },
      { start: 0x1_b000, rights: PROT_READ | PROT_WRITE },
    ],
  },
  {
    name: "ld-linux-x86-64.so.2",
    base: 0x4000_0000,
    sizeBytes: 0x3_5000,
    segments: [
      { start: 0, rights: PROT_READ },
      { start: 0x1000, rights: PROT_READ | PROT_EXEC },
      { start: 0x2_7000, rights: PROT_READ },
      { start: 0x3_1000, rights: PROT_READ | PROT_WRITE },
    ],
  },
];

/** What became of the calls. */
export interface Loaded {
  readonly calls: number;
  /** Those that the kernel refused, because they name what is no place of a page. */
  readonly refused: number;
  /** The first of them; "" if there is none. */
  readonly firstRefused: string;
}

/** Makes every call, whether those before it succeeded or not. */
export function loadRecordedImage(machine: Machine): Loaded {
  const thread = machine.spawn("sort").threads[0]!;
  let calls = 0;
  const refused: string[] = [];
  for (const { name, base, sizeBytes, segments } of images) {
    const file = new OpenFile(machine.kernel.files.create({ name, kind: "regular", sizeBytes }), "read");
    segments.forEach(({ start, rights }, at) => {
      const length = (segments[at + 1]?.start ?? sizeBytes) - start;
      const result = machine.call(thread, "mmap", [base + start, length, rights, MAP_PRIVATE | MAP_FIXED, file, start]);
      calls++;
      if (result === -EINVAL)
        refused.push(`${name}: mmap at 0x${(base + start).toString(16)}, offset 0x${start.toString(16)}`);
      else if (result < 0) bug(`a segment of ${name} cannot be mapped: ${result}`);
    });
  }
  return { calls, refused: refused.length, firstRefused: refused[0] ?? "" };
}
