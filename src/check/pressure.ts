/**
 * Machines so small that pages leave memory all the time: some hundred frames, a few of them in each zone, and swap of one
 * kind or another. What a program holds is soon more than all of it.
 */
import { parseSize } from "../base/size-text.ts";
import { PAGE_SIZE } from "../base/units.ts";
import type { Design } from "../design.ts";
import { parseGeometry } from "../geometry.ts";
import { type PagingFormatName, pagingFormats } from "../hw/paging-format.ts";
import { personalities } from "../mm/personality.ts";
import { kernelPreset, type MachineSpec } from "../presets.ts";
import { parseRecord } from "../size-schema.ts";
import { tunablesSchema } from "../tunables.ts";
import { type Cell, designOf } from "./cells.ts";
import { mayScale } from "./scale-program.ts";

interface Tightness {
  readonly memoryBytes: string;
  readonly lowmemBytes: string;
  readonly dmaBytes: string;
  readonly swap: readonly string[];
}

/** From roomy to hopeless: swap for everything, in two areas; for some; and none at all. */
const tightness: readonly Tightness[] = [
  { memoryBytes: "1M", lowmemBytes: "640K", dmaBytes: "64K", swap: ["8M"] },
  { memoryBytes: "896K", lowmemBytes: "704K", dmaBytes: "128K", swap: ["512K", "8M"] },
  { memoryBytes: "1280K", lowmemBytes: "768K", dmaBytes: "64K", swap: ["1M"] },
  { memoryBytes: "1152K", lowmemBytes: "768K", dmaBytes: "128K", swap: [] },
];

export const pressureKinds = tightness.length;

/**
 * By softPageShift: how many times the memory. A kernel of large pages needs more to be there at all, each of its caches having one
 * at least; but not as many times more as its pages are larger, for then programs would fit.
 */
const roomFor: Readonly<Record<string, number>> = { "0": 1, "1": 2, "2": 2, "3": 4, "4": 8, "9": 128 };

/** Programs that are scaled to the pages of their machine want as many times the memory. */
function roomOf({ softPageShift, softPageStyle }: Design): number {
  const frames = 2 ** Number(softPageShift);
  return softPageStyle === "bsd" && mayScale(frames) ? frames : roomFor[softPageShift]!;
}

/** Where programs can have huge pages two are kept for them, and all other memory is what would be a third. */
const HUGE_PAGES = 2;

/** The machine of a cell, as tight as `kind` says (modulo their number). */
export function pressureSpec(cell: Cell, kind: number): MachineSpec {
  const preset = kernelPreset(cell.kernel!);
  const paging = cell.paging as PagingFormatName;
  const { memoryBytes, lowmemBytes, dmaBytes, swap } = tightness[kind % tightness.length]!;
  const design = designOf(cell);
  const room = roomOf(design);
  const times = (size: string): number => parseSize(size) * room;
  const hasHugePages =
    /^hugetlbfs/.test(design.hugePages) && personalities[preset.personality].hugePagesCome === "at-fault";
  const largeBytes = pagingFormats[paging].largePages[0]!.pages * PAGE_SIZE;
  const rest = design.softPageShift === "0" ? largeBytes : Math.max(largeBytes, times(memoryBytes));
  return {
    geometry: parseGeometry({
      memoryBytes: hasHugePages ? HUGE_PAGES * largeBytes + rest : times(memoryBytes),
      dmaBytes: times(dmaBytes),
      swap: swap.map(times),
      paging,
      tlb: "p6",
      bootMemory: "none",
      lowmemBytes: pagingFormats[paging].vaddrBits === 32 ? times(lowmemBytes) : null,
    }),
    design,
    // What is promised is not the question, nor what is set aside for emergencies: the marks are a few pages.
    tunables: parseRecord(tunablesSchema, "tunables", {
      ...preset.tunables,
      overcommitMode: 1,
      minFreeKiB: 32,
      hugePages: hasHugePages ? HUGE_PAGES : 0,
    }),
    kernel: preset.personality,
    seed: 0,
  };
}
