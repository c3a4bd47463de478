/**
 * Why huge pages have a pool of their own, filled early: the same number of them is asked for on a machine that has just
 * started, and on one whose memory a program has used and given back, all but a page here and there.
 *
 *     at boot        [  free                                          ]
 *     after use      [..x......x....x......x.....x......x....x.....x..]     as much is free, and in pieces
 */
import { PAGE_SIZE } from "../../base/units.ts";
import { STORE } from "../../hw/access.ts";
import { Machine } from "../../machine.ts";
import { specOf } from "../../presets.ts";
import { neededCall } from "../memory/load.ts";
import { type Experiment, type Row, type Step, steps, wholeNumber } from "./experiment.ts";

const ADDRESS = 0x4000_0000;
const PRIVATE_ANONYMOUS_FIXED = 0x32;
const READ_WRITE = 3;
const MADV_DONTNEED = 4;

export const hugetlbPool: Experiment = {
  name: "hugetlb-pool",
  claim:
    "Huge pages need a free list of their own: once they are back among other pages, memory is soon in pieces and they are never to be had again.",
  source: "Linux 2.5.36, arch/i386/mm/hugetlbpage.c (htlbpage_freelist), September 2002",
  parameters: {
    machine: { text: "piii-4g", about: "a machine preset" },
    memory: { text: "2G", about: "its memory" },
    used: { text: "75", about: "per cent of free memory that the program uses first" },
    kept: { text: "64,256,512,4096", about: "it keeps one page of so many" },
    percent: { text: "50", about: "per cent of memory that is asked for in huge pages" },
  },
  published: [],
  plot: {
    x: "keptOneOf",
    y: "hugePages",
    line: ["when"],
    xLabel: "one page kept of so many",
    yLabel: "huge pages to be had",
    yUnit: 1,
  },

  run({ machine, memory, used, kept, percent }, step) {
    const share = wholeNumber("used", used!, 0);
    const asked = wholeNumber("percent", percent!, 1);
    const make = () => new Machine(specOf(machine!, undefined, [`geometry.memory=${memory!}`, "hugePages=hugetlbfs"]));
    const rows = steps("kept", kept!).flatMap((each) => [
      ask("at boot", make(), each, asked),
      ask("after use", usedMachine(make(), share, each, step), each, asked),
    ]);
    return { rows, verdict: verdictOn(rows) };
  },
};

/** The machine after a program has used so much of its memory, and kept one page of each `kept`. */
function usedMachine(machine: Machine, percent: number, kept: number, step: Step): Machine {
  step(`a program that keeps one page of ${kept}`);
  const { allocator } = machine.kernel;
  const most = Math.floor((2 * 2 ** 30) / PAGE_SIZE);
  const pages = Math.min(most, Math.floor((allocator.freePages * percent) / 100));
  const thread = machine.spawn("program").threads[0]!;
  neededCall(machine, thread, "mmap", [ADDRESS, pages * PAGE_SIZE, READ_WRITE, PRIVATE_ANONYMOUS_FIXED, null, 0]);
  for (let page = 0; page < pages; page++) machine.access(thread, ADDRESS + page * PAGE_SIZE, STORE);
  for (let page = 0; page < pages; page += kept) {
    const count = Math.min(kept, pages - page) - 1;
    if (count > 0)
      neededCall(machine, thread, "madvise", [ADDRESS + (page + 1) * PAGE_SIZE, count * PAGE_SIZE, MADV_DONTNEED]);
  }
  return machine;
}

function ask(when: string, { kernel }: Machine, keptOneOf: number, percent: number): Row {
  const { allocator, bigPages } = kernel;
  const [pool] = bigPages.pools;
  const freeBytes = allocator.freePages * PAGE_SIZE;
  const asked = Math.floor((allocator.managedPages * percent) / 100 / pool!.pages);
  const hugePages = pool!.resize(asked);
  return { when, keptOneOf, freeBytes, asked, hugePages, hugePagesBytes: hugePages * pool!.pages * PAGE_SIZE };
}

function verdictOn(rows: readonly Row[]): string {
  const parts = rows
    .filter(({ when }) => when === "after use")
    .map(({ keptOneOf, hugePages, asked }) => `${hugePages} of ${asked} where one page of ${keptOneOf} was kept`);
  const [first] = rows;
  return `At boot ${first!.hugePages} of ${first!.asked} huge pages are to be had; after use ${parts.join(", ")}. Nothing is moved out of the way here, as nothing was then.`;
}
