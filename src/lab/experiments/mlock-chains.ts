/**
 * Leaving out the chains of locked mappings: what it saves, for whom it saves nothing, and what unlocking costs then.
 * Processes lock a shared segment before or after they have filled it, and unlock it again, one after the other.
 */
import { formatSize } from "../../base/size-text.ts";
import { addressOf } from "../../base/units.ts";
import { Machine } from "../../machine.ts";
import { specOf } from "../../presets.ts";
import { needed } from "../memory/load.ts";
import { Sharers } from "../memory/sharers.ts";
import { type Experiment, type Row, type Step, wholeNumber, wholePages } from "./experiment.ts";

interface Variant {
  readonly mlock: "chained" | "counted";
  readonly order: "locked, then filled" | "filled, then locked";
}

const variants: readonly Variant[] = [
  { mlock: "chained", order: "locked, then filled" },
  { mlock: "counted", order: "locked, then filled" },
  { mlock: "counted", order: "filled, then locked" },
];

export const mlockChains: Experiment = {
  name: "mlock-chains",
  claim:
    "Omitting pte_chains for mlock()'d mappings is obvious: yank the pages off the LRU, set a bitflag, and reuse page->lru for a counter.",
  source: 'William Lee Irwin III, "Re: What to expect with the 2.6 VM", linux-kernel, July 2003',
  parameters: {
    processes: { text: "200", about: "how many map and lock the segment" },
    size: { text: "1M", about: "the segment" },
    machine: { text: "piii-4g", about: "a machine preset" },
  },
  published: [
    { what: "chains of locked mappings, bytes", value: 0, source: "the proposal" },
    {
      what: "munlock has to rebuild them",
      value: "O(pages), can fail",
      source: "Andrea Arcangeli's objection in the same thread",
    },
    { what: "chains of a page that 200 processes map, lines of 32 bytes", value: 29 * 32, source: "arithmetic" },
  ],
  plot: {
    x: "processes",
    y: "chainsBytes",
    line: ["mlock", "order"],
    xLabel: "processes",
    yLabel: "chains while all is locked (KiB)",
    yUnit: 1024,
  },

  run({ processes, size, machine }, step) {
    const count = wholeNumber("processes", processes!, 2);
    const bytes = addressOf(wholePages("size", size!));
    const rows = variants.map((variant) => load(machine!, variant, count, bytes, step));
    const [chained, counted, late] = rows as [Row, Row, Row];
    return {
      rows,
      verdict:
        `While all is locked, chains take ${chainsOf(chained)} if they are kept, ${chainsOf(counted)} if locked mappings are only counted, and ${chainsOf(late)} if the segment was filled before it was locked. ` +
        `Unlocking then builds ${counted.linksBuilt} links in ${counted.munlocks} calls; without memory for them ${counted.refused} of the calls fail, and lose nothing.`,
    };
  },
};

const chainsOf = (row: Row): string => formatSize(Number(row.chainsBytes));

function load(name: string, { mlock, order }: Variant, processes: number, bytes: number, step: Step): Row {
  const spec = specOf(name, "linux-2.6.11", ["reverseMap=pte-chain-e", `mlock=${mlock}`, "geometry.cpus=1"]);
  const machine = new Machine(spec);
  const { kernel } = machine;
  const { reverseMap, allocator } = kernel;
  const sharers = new Sharers(machine, bytes);
  for (let at = 0; at < processes; at++) {
    step(`${mlock}, ${order}: process ${at + 1} of ${processes}`);
    const thread = sharers.join();
    if (order === "filled, then locked") sharers.touch(thread);
    needed(sharers.call(thread, "mlock"), "mlock");
  }
  const chainsBytes = reverseMap.bytes;
  const leaving = sharers.threads.slice(1);
  let refused = 0;
  for (const thread of leaving) {
    allocator.failAt(1, 1);
    const result = sharers.call(thread, "munlock");
    allocator.failAt(Number.POSITIVE_INFINITY);
    if (result < 0) refused++;
    else needed(sharers.call(thread, "mlock"), "mlock");
  }
  const before = reverseMap.costs.adds;
  for (const thread of leaving) needed(sharers.call(thread, "munlock"), "munlock");
  return {
    mlock,
    order,
    processes,
    pages: sharers.pages,
    chainsBytes,
    munlocks: leaving.length,
    linksBuilt: reverseMap.costs.adds - before,
    unlockedChainsBytes: reverseMap.bytes,
    refused,
  };
}
