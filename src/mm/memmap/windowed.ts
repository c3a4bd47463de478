/**
 * One array for all frames, in highmem: lowmem pays nothing for it, and no struct page has an address. Each task maps the
 * frames of the array that it works on into a window of its own (task-windows.ts).
 *
 * Where all memory is always mapped there is no need, and the array is flat.
 *
 * @differs nobody built it: proposed by Martin Bligh in May 2002, and judged by Andrea Arcangeli
 */
import { bug } from "../../base/errors.ts";
import { PAGE_SIZE, type Pfn } from "../../base/units.ts";
import { planFlat } from "./flat.ts";
import { endOfMemory, type MapPlan, type MemoryShape } from "./map-plan.ts";
import { MemMap } from "./mem-map.ts";

export function planWindowed(shape: MemoryShape): MapPlan {
  const { parts, remapped } = planFlat(shape);
  if (shape.lowmemEnd >= endOfMemory(shape)) return { parts, remapped };
  return { parts: parts.map((part) => ({ ...part, home: "highmem" as const })), remapped };
}

export class WindowedMap extends MemMap {
  pageOf(): null {
    return null;
  }

  pfnOf(): Pfn {
    return bug("no struct page in highmem has an address");
  }

  /** The frame of the array in which the struct page of `frame` begins. */
  holderOf(frame: Pfn): Pfn {
    return (
      this.parts[0].ranges[0].first + Math.floor((this.indexIn(this.parts[0], frame) * this.structBytes) / PAGE_SIZE)
    );
  }

  /** The one in which it ends. */
  lastHolderOf(frame: Pfn): Pfn {
    const end = (this.indexIn(this.parts[0], frame) + 1) * this.structBytes - 1;
    return this.parts[0].ranges[0].first + Math.floor(end / PAGE_SIZE);
  }
}
