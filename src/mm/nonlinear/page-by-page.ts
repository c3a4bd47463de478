/**
 * Truncation that asks pages instead of areas: each page that leaves the file is taken from those who map it, through the
 * reverse map, whatever they have locked. That turns the order of locks around, page first and page_table_lock second, so
 * the second is only tried; and what somebody holds at that moment stays mapped.
 *
 *     truncation   PG_locked -> page_table_lock (try)            fault   page_table_lock -> ...
 */
import type { FileIndex, Pfn } from "../../base/units.ts";
import { type Path, point, type Wait } from "../../sync/path.ts";
import type { FileObject } from "../file.ts";
import type { Kernel } from "../kernel.ts";
import { tryToUnmap } from "../reclaim/try-to-unmap.ts";
import { eachLocked } from "./leaving-pages.ts";

/** How often a page is tried before it is left. */
const TRIES = 2;

/** Tries to take the page from everybody; whether nobody maps it now. Requires: the page is locked. */
export function* tryToClean(kernel: Kernel, frame: Pfn): Path<boolean> {
  for (let tries = 0; isMapped(kernel, frame); tries++) {
    if (tries === TRIES) return false;
    if (tries > 0) yield* retry(kernel, point("another try to unmap"));
    yield* tryToUnmap(kernel, frame, { locked: "override" });
  }
  return true;
}

/** Takes the page from everybody, however often it must be tried. Requires: the page is locked. */
export function* clean(kernel: Kernel, frame: Pfn): Path<void> {
  for (let tries = 0; isMapped(kernel, frame); tries++) {
    if (tries > 0) yield* retry(kernel, untilFree(kernel, frame));
    yield* tryToUnmap(kernel, frame, { locked: "override" });
  }
}

/** Takes pages that have parts in `[first, end)`, but stay in their file, from everybody. */
export function* cleanParts(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<void> {
  yield* eachLocked(kernel, file, first, end, (_index, frame) => clean(kernel, frame));
}

const isMapped = ({ frames }: Kernel, frame: Pfn): boolean => frames.mapCount.read(frame) > 0;

function* retry(kernel: Kernel, wait: Wait): Path<void> {
  kernel.counters.cleanupRetries++;
  yield wait;
}

/** Waits until the page has lost an entry, or all address spaces that map it can be locked, and know the area. */
function untilFree(kernel: Kernel, frame: Pfn): Wait {
  const { frames, reverseMap, tables, entries } = kernel;
  const before = frames.mapCount.read(frame);
  const canBeUnmapped = (slot: number): boolean => {
    const { pageTableLock, vmas } = tables.mmOf(slot);
    const tableLock = tables.shared.find(entries.tableOf(slot))?.lock;
    return (tableLock?.ready() ?? true) && pageTableLock.ready() && vmas.containing(tables.pageOf(slot)) !== null;
  };
  const ready = (): boolean => {
    if (frames.mapCount.read(frame) !== before) return true;
    let all = true;
    reverseMap.forEach(frame, (slot) => {
      all = canBeUnmapped(slot);
      return all;
    });
    return all;
  };
  return { on: `those who map frame ${frame}`, how: "spin", ready };
}
