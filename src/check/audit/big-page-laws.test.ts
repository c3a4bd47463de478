import { expect, test } from "vitest";
import { Machine } from "../../machine.ts";
import { HUGE, HugeWorld, PLACE, PRIVATE, SHARED } from "../../mm/bigpages/test-world.ts";
import { PG_HEAD } from "../../mm/frames.ts";
import { specOf } from "../../presets.ts";
import { audit } from "./audit.ts";

/** Two areas of two huge pages, the first page of each touched. */
function start() {
  const world = new HugeWorld(6);
  world.mapHuge(2, PRIVATE);
  world.mapHuge(2, SHARED, 3, PLACE + 8 * HUGE);
  world.store(PLACE);
  world.store(PLACE + 8 * HUGE);
  const { kernel } = world;
  const entry = kernel.tables.largeAt(world.thread.mm, PLACE)!;
  const head = kernel.entries.frame(entry.table as never, entry.index);
  return { world, kernel, entry, head };
}

type World = ReturnType<typeof start>;

const breaks: Record<string, (world: World) => void> = {
  "pools-add-up": ({ world }) => {
    world.pool.total++;
  },
  "huge-promises-are-counted": ({ world }) => {
    world.pool.reserved--;
  },
  "big-pages-are-counted": ({ kernel, head }) => {
    kernel.frames.mapCount.add(head, 1);
  },
  "big-entries-fit": ({ kernel, entry, head }) => {
    const table = entry.table as never;
    kernel.entries.set(table, entry.index + 3, head, kernel.entries.flags(table, entry.index));
  },
  "big-areas-are-whole": ({ world }) => {
    world.thread.mm.vmas.find(PLACE)!.fileIndex += 1;
  },
};

test.each(Object.entries(breaks))("what breaks %s is found", (law, harm) => {
  const world = start();
  const found = () => audit({ kernel: world.kernel, processes: world.kernel.processes }).map(({ law: name }) => name);
  expect(found()).toEqual([]);
  harm(world);
  expect(found()).toContain(law);
});

test("struct pages that are given back without a huge page are found", () => {
  const settings = ["geometry.memory=4G", "geometry.cpus=1", "tunables.hugePages=2", "vmemmap=hugetlb-optimised"];
  const machine = new Machine(specOf("skylake-256g", "linux-6.1", settings));
  expect(audit(machine)).toEqual([]);
  machine.kernel.vmemmap.fold(512 * 1000, 512);
  expect(audit(machine).map(({ law }) => law)).toContain("struct-pages-are-there");
});

test("a head that is not marked as one is found", () => {
  const { kernel, head } = start();
  kernel.frames.clearFlag(head, PG_HEAD);
  const names = audit({ kernel, processes: kernel.processes }).map(({ law }) => law);
  expect(names).toContain("big-pages-are-counted");
});
