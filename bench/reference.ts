/**
 * The yardstick: a direct-mapped TLB of 64 entries in typed arrays, filled from a one-level table, and nothing else. What the
 * engine reaches is given as a share of what this loop reaches in the same run.
 */
const ENTRIES = 64;
const PAGES = 1 << 12;
const ACCESSES = 8_000_000;

/** Accesses a second. */
export function referenceLoop(now: () => number): number {
  const tags = new Int32Array(ENTRIES).fill(-1);
  const frames = new Int32Array(ENTRIES);
  const table = Int32Array.from({ length: PAGES }, (_, page) => page ^ 0x5a5);
  let page = 1;
  let sum = 0;
  const began = now();
  for (let access = 0; access < ACCESSES; access++) {
    // Mostly the same few pages, as programs do; now and then another.
    if ((access & 31) === 0) page = (Math.imul(page, 1_103_515_245) + 12_345) & (PAGES - 1);
    const wanted = page ^ (access & 3);
    const way = wanted & (ENTRIES - 1);
    if (tags[way] !== wanted) {
      tags[way] = wanted;
      frames[way] = table[wanted] as number;
    }
    sum = (sum + (frames[way] as number)) | 0;
  }
  const seconds = (now() - began) / 1000;
  if (sum === 0.5) throw new Error("unreachable: keeps the loop's result alive");
  return ACCESSES / seconds;
}
