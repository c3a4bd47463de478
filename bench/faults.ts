/**
 * How many faults the kernel repairs a second, each with the access that took it and the one that then succeeds: first
 * writes to anonymous memory, reads of pages that their file has cached, and unmapping afterwards.
 */
import { addressOf, type Vpn } from "../src/base/units.ts";
import { LOAD, STORE } from "../src/hw/access.ts";
import { Machine } from "../src/machine.ts";
import { OpenFile } from "../src/mm/file.ts";
import type { Thread } from "../src/mm/process.ts";
import { specOf } from "../src/presets.ts";
import type { Measurement } from "./accesses.ts";

const FIRST_PAGE: Vpn = 0x7f000_0000;
const PROT_READ_WRITE = 3;
const MAP_SHARED_FIXED = 0x11;
const MAP_PRIVATE_FIXED_ANONYMOUS = 0x32;
/** Faults of one round: 1 GiB. */
const PAGES = 1 << 18;

/** First writes to anonymous memory: a frame, zeroed, and an entry each. */
export function benchAnonymousFaults(now: () => number, seconds = 1): Measurement {
  const { machine, thread } = emptyProcess();
  const measured = repeat(now, seconds, () => {
    mapAnonymous(machine, thread);
    const start = now();
    touchAll(machine, thread, STORE);
    const spent = now() - start;
    unmap(machine, thread);
    return spent;
  });
  return { name: "anonymous first-touch faults", value: measured, unit: "faults/s" };
}

/** Reads of a shared file that is cached, as each new process takes them: one fault in sixteen pages. */
export function benchCachedFileReads(now: () => number, seconds = 1): Measurement {
  const { machine, thread } = emptyProcess();
  const file = new OpenFile(
    machine.kernel.files.create({ name: "segment", kind: "shmem", sizeBytes: addressOf(PAGES) }),
    "read-write",
  );
  const map = () => call(machine, thread, "mmap", [PROT_READ_WRITE, MAP_SHARED_FIXED, file, 0]);
  map();
  touchAll(machine, thread, LOAD);
  unmap(machine, thread);
  const measured = repeat(now, seconds, () => {
    map();
    const start = now();
    touchAll(machine, thread, LOAD);
    const spent = now() - start;
    unmap(machine, thread);
    return spent;
  });
  return { name: "pages of a cached file, read first", value: measured, unit: "pages/s" };
}

/** munmap of anonymous memory, all of it touched: entries cleared, frames freed. */
export function benchUnmapAnonymous(now: () => number, seconds = 1): Measurement {
  const { machine, thread } = emptyProcess();
  const measured = repeat(now, seconds, () => {
    mapAnonymous(machine, thread);
    touchAll(machine, thread, STORE);
    const start = now();
    unmap(machine, thread);
    return now() - start;
  });
  return { name: "unmapped anonymous pages", value: measured, unit: "PTEs/s" };
}

/** Pages a second: rounds of PAGES pages, each of which says how many milliseconds it took. */
function repeat(now: () => number, seconds: number, round: () => number): number {
  const until = now() + seconds * 1000;
  let pages = 0;
  let spent = 0;
  do {
    spent += round();
    pages += PAGES;
  } while (now() < until);
  return pages / (spent / 1000);
}

/** A 1 TiB machine of today, and a process that maps nothing. */
export function emptyProcess(): { machine: Machine; thread: Thread } {
  const machine = new Machine(specOf("icelake-1t"));
  const thread = machine.spawn("bench").threads[0]!;
  return { machine, thread };
}

export function mapAnonymous(machine: Machine, thread: Thread): void {
  call(machine, thread, "mmap", [PROT_READ_WRITE, MAP_PRIVATE_FIXED_ANONYMOUS, null, 0]);
}

export function touchAll(machine: Machine, thread: Thread, kind: number): void {
  for (let page = 0; page < PAGES; page++) machine.access(thread, addressOf(FIRST_PAGE + page), kind);
}

export function unmap(machine: Machine, thread: Thread): void {
  call(machine, thread, "munmap", []);
}

/** Pages that these functions map and touch. */
export const touchedPages = PAGES;

function call(machine: Machine, thread: Thread, name: string, rest: readonly (number | OpenFile | null)[]): void {
  const result = machine.call(thread, name, [addressOf(FIRST_PAGE), addressOf(PAGES), ...rest]);
  if (result < 0) throw new Error(`${name} fails: ${result}`);
}
