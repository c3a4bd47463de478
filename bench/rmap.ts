/**
 * What keeping and asking a reverse map costs the host: entries added to and removed from pages that eight processes
 * share, and the walk over a page that a thousand map.
 */
import { linkMapping } from "../src/mm/file.ts";
import type { ReverseMap } from "../src/mm/rmap/reverse-map.ts";
import { type ReverseMapName, reverseMaps } from "../src/mm/rmap/reverse-maps.ts";
import { TestWorld } from "../src/mm/rmap/test-world.ts";
import { VM_READ, VM_SHARED, Vma } from "../src/mm/vma.ts";
import type { Measurement } from "./accesses.ts";

const SHARERS = 8;
const PAGES = 4096;
const MAPPERS = 1000;

/** What is measured, by name: a function of a clock in milliseconds and of how long it may take. */
export const reverseMapBenches = [
  ...(["none", "object-anon", "pte-chain-e"] as const).map((name) => ({
    name: `reverse map ${name}: adds and removes`,
    measure: (now: () => number, size: "small" | "full") => benchChanges(name, now, milliseconds[size]),
  })),
  ...(["object-anon", "pte-chain-e"] as const).map((name) => ({
    name: `reverse map ${name}: entries found`,
    measure: (now: () => number, size: "small" | "full") => benchWalk(name, now, milliseconds[size]),
  })),
];

const milliseconds = { small: 20, full: 500 } as const;

function benchChanges(name: ReverseMapName, now: () => number, limit: number): Measurement {
  const world = new TestWorld("x86-64", 65_536);
  const rmap: ReverseMap = reverseMaps[name](world);
  const vma = new Vma(world.space(), 0, PAGES, VM_READ, null, 0);
  const round = () => {
    for (let sharer = 0; sharer < SHARERS; sharer++) {
      for (let page = 0; page < PAGES; page++) rmap.add(32_768 + page, sharer * PAGES + page, vma);
    }
    for (let sharer = 0; sharer < SHARERS; sharer++) {
      for (let page = 0; page < PAGES; page++) rmap.remove(32_768 + page, sharer * PAGES + page, vma);
    }
  };
  return {
    name: `reverse map ${name}: adds and removes`,
    value: rate(round, 2 * SHARERS * PAGES, now, limit),
    unit: "/s",
  };
}

function benchWalk(name: ReverseMapName, now: () => number, limit: number): Measurement {
  const world = new TestWorld("x86-64", 65_536);
  const rmap: ReverseMap = reverseMaps[name](world);
  const file = world.files.create({ name: "segment", kind: "shmem", sizeBytes: 4096 });
  const frame = 60_000;
  world.frames.mapping.write(frame, file.id);
  for (let process = 0; process < MAPPERS; process++) {
    const vma = new Vma(world.space(), 16, 17, VM_READ | VM_SHARED, file, 0);
    vma.mm.vmas.insert(vma);
    linkMapping(vma);
    const slot = world.slotOf(vma.mm, 16);
    world.write(slot, frame);
    rmap.add(frame, slot, vma);
  }
  let seen = 0;
  const round = () =>
    rmap.forEach(frame, () => {
      seen++;
      return true;
    });
  const value = rate(round, MAPPERS, now, limit);
  if (seen % MAPPERS !== 0) throw new Error(`the walk saw ${seen} entries`);
  return { name: `reverse map ${name}: entries found`, value, unit: "/s" };
}

/** How many of its `items` a second `round` handles, once it is warm. */
function rate(round: () => void, items: number, now: () => number, limit: number): number {
  for (let warm = 0; warm < 5; warm++) round();
  const start = now();
  let done = 0;
  let elapsed = 0;
  do {
    round();
    done += items;
    elapsed = now() - start;
  } while (elapsed < limit);
  return (done / elapsed) * 1000;
}
