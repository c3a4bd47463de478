/**
 * How many pages reclaim looks at a second on a machine whose memory is full of a program's pages: each is taken off its
 * list, its entry asked, and put back, or unmapped, written to swap and freed.
 */
import { addressOf, type Vpn } from "../src/base/units.ts";
import { STORE } from "../src/hw/access.ts";
import { Machine } from "../src/machine.ts";
import { WANT_USER } from "../src/mm/allocator.ts";
import { specOf } from "../src/presets.ts";
import type { Measurement } from "./accesses.ts";

const FIRST_PAGE: Vpn = 0x10_0000;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_FIXED_ANONYMOUS = 0x32;
/** Twice the machine's memory. */
const PAGES = 1 << 17;
/** Pages that the program writes to between two looks. */
const WRITTEN = 1 << 12;

export function benchReclaim(now: () => number, seconds: number): Measurement {
  const machine = new Machine(
    specOf("opteron-32g", "linux-2.6.11", ["geometry.memory=256M", "geometry.swap=1G", "geometry.bootMemory=none"]),
  );
  const { kernel } = machine;
  const { costs } = kernel.reclaim;
  const thread = machine.spawn("bench").threads[0]!;
  const range = [addressOf(FIRST_PAGE), addressOf(PAGES), PROT_READ_WRITE, MAP_PRIVATE_FIXED_ANONYMOUS, null, 0];
  if (machine.call(thread, "mmap", range) < 0) throw new Error("mmap fails");
  let page = 0;
  const write = (pages: number) => {
    for (const end = page + pages; page < end; page++) {
      machine.access(thread, addressOf(FIRST_PAGE + (page % PAGES)), STORE);
    }
  };
  write(PAGES);
  let steps = 0;
  let spent = 0;
  while (spent < seconds * 1000) {
    write(WRITTEN);
    const before = costs.pagesScanned;
    const start = now();
    for (let freed = 0; freed < WRITTEN; ) {
      const more = machine.run(thread, kernel.reclaim.freePages(kernel, { order: 0, want: WANT_USER }));
      if (more === 0) throw new Error("reclaim frees nothing");
      freed += more;
    }
    spent += now() - start;
    steps += costs.pagesScanned - before;
  }
  return { name: "page-list steps", value: steps / (spent / 1000), unit: "pages/s" };
}
