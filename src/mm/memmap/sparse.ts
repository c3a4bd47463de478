/**
 * Memory in sections, and struct pages for those alone that hold some: a hole costs nothing, and memory can come later. A
 * table of sections says where each one's struct pages are; where addresses are plenty, all of them are mapped in a row
 * (vmemmap), holes left out, so that the arithmetic is that of one array, and no table is asked.
 *
 * @models linux-6.1 include/asm-generic/memory_model.h, include/linux/mmzone.h struct mem_section, mm/sparse-vmemmap.c
 */
import { bug } from "../../base/errors.ts";
import { PAGE_SIZE, type Pfn, type Vaddr } from "../../base/units.ts";
import {
  type FrameRange,
  type MapPart,
  type MapPlan,
  type MemoryShape,
  mapFrames,
  type PlacedPart,
} from "./map-plan.ts";
import { MemMap } from "./mem-map.ts";

/** The runs of whole sections that hold memory. */
function presentSections({ ram, sectionFrames }: MemoryShape): FrameRange[] {
  const runs: { first: Pfn; end: Pfn }[] = [];
  for (const range of ram) {
    const first = Math.floor(range.first / sectionFrames) * sectionFrames;
    const end = Math.ceil(range.end / sectionFrames) * sectionFrames;
    const last = runs[runs.length - 1];
    if (last !== undefined && first <= last.end) last.end = end;
    else runs.push({ first, end });
  }
  return runs;
}

export function planSparse(shape: MemoryShape): MapPlan {
  const pieces = shape.vmemmap === null ? "one" : "any";
  const parts = presentSections(shape).map(
    (run): MapPart => ({ ...run, frames: mapFrames(shape, run), home: "lowmem", pieces }),
  );
  return { parts, remapped: 0 };
}

/** A run's struct pages, were there one for frame 0: what a section's entry of the table says. */
interface Run extends FrameRange {
  readonly base: Vaddr;
}

export class SparseMap extends MemMap {
  private readonly sectionFrames: number;
  private readonly runs: readonly Run[];
  /** By section: the run that it is in, and one more; 0: it holds no memory. */
  private readonly sections: Uint8Array;

  constructor(shape: MemoryShape, parts: readonly PlacedPart[]) {
    super(shape, parts);
    this.sectionFrames = shape.sectionFrames;
    const { directMap, vmemmap } = shape;
    this.runs = parts.map(({ first, end, ranges }) => {
      const before = (first / 2 ** shape.softPageShift) * shape.structBytes;
      return { first, end, base: vmemmap ?? directMap + ranges[0].first * PAGE_SIZE - before };
    });
    this.sections = new Uint8Array(parts[parts.length - 1].end / shape.sectionFrames);
    for (const [run, { first, end }] of parts.entries()) {
      this.sections.fill(run + 1, first / shape.sectionFrames, end / shape.sectionFrames);
    }
  }

  pageOf(frame: Pfn): Vaddr | null {
    const run = this.runs[(this.sections[Math.floor(frame / this.sectionFrames)] ?? 0) - 1];
    return run === undefined ? null : run.base + Math.floor(frame / 2 ** this.softPageShift) * this.structBytes;
  }

  /** A struct page's flags say its section. */
  pfnOf(page: Vaddr): Pfn {
    for (const { first, end, base } of this.runs) {
      const frame = ((page - base) / this.structBytes) * 2 ** this.softPageShift;
      if (frame >= first && frame < end) return frame;
    }
    return bug(`${page.toString(16)} is in no section's mem_map`);
  }
}
