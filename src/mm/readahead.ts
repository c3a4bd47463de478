/**
 * Which neighbours of a page are read with it from disk.
 *
 *     read-around, at a fault on page p            ....[p-16 .. p .. p+15]....
 *     sequential area (MADV_SEQUENTIAL)            ............[p .. p+31]....
 *     random area (MADV_RANDOM)                    ............[p]............
 *
 * @models linux-6.1 mm/filemap.c do_sync_mmap_readahead; mm/readahead.c ondemand_readahead
 */
import type { FileIndex } from "../base/units.ts";
import { VM_RAND_READ, VM_SEQ_READ } from "./vma.ts";

/** The policy's constants. */
export interface ReadaheadTunables {
  /** The most pages of one read (read_ahead_kb / 4); 0 or 1 turns readahead off. */
  readonly readaheadPages: number;
}

/** How one reader of a file reads. */
export interface ReadaheadState {
  /** Where its next read starts if it reads on. */
  next: FileIndex;
  /** How many pages were read at once last. */
  window: number;
  /** What it announced with posix_fadvise. */
  habit: "normal" | "random" | "sequential";
}

export interface Window {
  readonly first: FileIndex;
  readonly end: FileIndex;
}

/** What a fault on page `index` reads. */
export function faultWindow(tunables: ReadaheadTunables, index: FileIndex, advice: number): Window {
  const most = Math.max(1, tunables.readaheadPages);
  if ((advice & VM_RAND_READ) !== 0) return { first: index, end: index + 1 };
  if ((advice & VM_SEQ_READ) !== 0) return { first: index, end: index + most };
  const first = Math.max(0, index - Math.floor(most / 2));
  return { first, end: Math.max(first + most, index + 1) };
}

/**
 * What a read call on pages `[index, end)` reads when page `index` is not cached: just these for a random reader; for one
 * that starts at the front or reads on, a window that begins at four times the request and doubles up to the most.
 */
export function readWindow(
  tunables: ReadaheadTunables,
  state: ReadaheadState,
  index: FileIndex,
  end: FileIndex,
): Window {
  const most = Math.max(1, tunables.readaheadPages) * (state.habit === "sequential" ? 2 : 1);
  const wanted = Math.max(1, end - index);
  const readsOn = index === state.next;
  let pages = wanted;
  if (state.habit !== "random" && readsOn && state.window > 0) pages = Math.min(most, state.window * 2);
  else if (state.habit !== "random" && (readsOn || index === 0)) pages = Math.min(most, wanted * 4);
  pages = Math.max(pages, Math.min(wanted, most));
  state.next = index + pages;
  state.window = pages;
  return { first: index, end: index + pages };
}
