import { expect, test } from "vitest";
import { Machine } from "../../machine.ts";
import { OWNER_MEM_MAP, ZONE_HIGHMEM } from "../../mm/zone.ts";
import { specOf } from "../../presets.ts";
import { audit } from "./audit.ts";

function start(memMap: string): Machine {
  const machine = new Machine(specOf("piii-4g", undefined, [`memMap=${memMap}`]));
  machine.spawn("task");
  return machine;
}

/** By law: a layout, and what does it harm. */
const breaks: Readonly<Record<string, readonly [string, (machine: Machine) => void]>> = {
  "every-frame-is-described": [
    "flat",
    ({ kernel }) => {
      const part = kernel.structPages.map!.parts[0]! as { end: number };
      part.end -= 1;
    },
  ],
  "handles-name-their-frames": [
    "sparse",
    ({ kernel }) => {
      kernel.structPages.map!.pfnOf = () => 0;
    },
  ],
  "map-frames-are-nobodys": [
    "discontig",
    ({ kernel }) => kernel.allocator.zones.find(({ kind }) => kind !== ZONE_HIGHMEM)!.account(OWNER_MEM_MAP, -1),
  ],
  "map-windows-show-the-map": [
    "per-task-window",
    ({ kernel }) => {
      const [, own] = [...kernel.structPages.windows!.windows()];
      own!.window.shown[0]! += 1;
    },
  ],
  "struct-pages-are-seen": [
    "per-task-window",
    ({ kernel }) => kernel.structPages.windows!.strays.push({ frame: 17, space: 1 }),
  ],
};

test.each(Object.entries(breaks))("what breaks %s is found", (law, [memMap, harm]) => {
  const machine = start(memMap);
  expect(audit(machine)).toEqual([]);
  harm(machine);
  expect(audit(machine).map((violation) => violation.law)).toContain(law);
});

test("a frame of mem_map that is free is found", () => {
  const machine = start("flat");
  const { map } = machine.kernel.structPages;
  const { free } = machine.kernel.allocator.zones[0]!;
  expect(free).toBeGreaterThan(0);
  const ranges = map!.parts[0]!.ranges as { first: number; end: number }[];
  const { first } = [...machine.kernel.allocator.zones[0]!.buddy.freeRanges()][0]!;
  ranges[0] = { first, end: first + map!.frames };
  expect(audit(machine).map(({ what }) => what)).toContain(`frame ${first} holds struct pages, and is free`);
});
