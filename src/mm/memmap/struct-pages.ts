/**
 * The kernel's struct pages: where they are, what names them, and, where they have no addresses, the windows through which
 * they are seen. A kernel that has them all mapped pays nothing here, and nothing is asked of it.
 */
import type { AddressSpace } from "../address-space.ts";
import type { MemMap } from "./mem-map.ts";
import { type PageHandle, type PageHandleName, pageHandles } from "./page-handle.ts";
import { type TaskWindowParts, TaskWindows } from "./task-windows.ts";
import type { Watch } from "./watched-arrays.ts";
import { WindowedMap } from "./windowed.ts";

/** What uses of struct pages come to: nothing, until windows are there, and while somebody looks on who is no kernel. */
export class StructPageUse {
  windows: TaskWindows | null = null;
  /** For fields of a struct page that is known by its number. */
  readonly fields: Watch = {
    use: (frame) => this.windows?.use(frame),
    useRun: (first, end) => this.windows?.useRun(first, end),
  };
  /** For what links it to others. */
  readonly links: Watch = {
    use: (frame) => this.windows?.useLink(frame),
    useRun: (first, end) => {
      for (let frame = first; frame < end; frame++) this.windows?.useLink(frame);
    },
  };
}

export class StructPages {
  /** null: boot took no memory for them. */
  readonly map: MemMap | null;
  readonly handles: PageHandle | null;
  /** null: all of them are always mapped. */
  readonly windows: TaskWindows | null;
  private readonly use: StructPageUse | null;

  constructor(map: MemMap | null, handles: PageHandle | null, use: StructPageUse | null) {
    this.map = map;
    this.handles = handles;
    this.windows = use?.windows ?? null;
    this.use = use;
  }

  spaceBorn(mm: AddressSpace): void {
    this.windows?.spaceBorn(mm);
  }

  spaceDied(mm: AddressSpace): void {
    this.windows?.spaceDied(mm);
  }

  /** Looks at frames as no kernel does: nothing of it is a use of a struct page. */
  aside<T>(look: () => T): T {
    if (this.use === null) return look();
    const { windows } = this.use;
    this.use.windows = null;
    try {
      return look();
    } finally {
      this.use.windows = windows;
    }
  }
}

export interface StructPageParts extends Omit<TaskWindowParts, "map" | "links"> {
  readonly map: MemMap | null;
  readonly handle: PageHandleName;
  /** PAGE_OFFSET. */
  readonly kernelStart: number;
  /** The uses that `frames` tells of; null: it does not. */
  readonly use: StructPageUse | null;
}

/** Puts the struct pages of a machine together: from now on uses of them are looked at. */
export function wireStructPages(parts: StructPageParts): StructPages {
  const { map, use } = parts;
  if (map === null) return new StructPages(null, null, null);
  const handles = pageHandles[parts.handle](map, parts.kernelStart);
  if (!(map instanceof WindowedMap) || use === null) return new StructPages(map, handles, null);
  const windows = new TaskWindows({ ...parts, map, links: handles.links });
  use.windows = windows;
  return new StructPages(map, handles, use);
}

/** Whose struct pages are always mapped, and nowhere. */
export const unplacedStructPages = (): StructPages => new StructPages(null, null, null);
