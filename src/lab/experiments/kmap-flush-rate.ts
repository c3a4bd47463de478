/**
 * How often kmap's pool is used up, and every CPU's TLB flushed for it: by the number of CPUs, the size of the pool, and
 * how many of its slots are held for long. Each CPU maps so many frames a second that nobody has mapped before; the pool
 * is the kernel's own, and its flushes are counted.
 */

import { Machine } from "../../machine.ts";
import { specOf } from "../../presets.ts";
import { runToCompletion } from "../../sync/path.ts";
import { type Experiment, type Row, steps, wholeNumber } from "./experiment.ts";

const SECONDS = 4;

export const kmapFlushRate: Experiment = {
  name: "kmap-flush-rate",
  claim:
    "Each round of kmap's pool flushes the TLBs of all CPUs, so the cost grows with the square of their number; a pool four times as large flushed ten times less, because windows that are held for long shrink the usable pool.",
  source: "Martin Bligh and Keith Mannthey, linux-kernel, May 2002",
  parameters: {
    cpus: { text: "2,8,32", about: "numbers of CPUs" },
    slots: { text: "512,1024", about: "sizes of the pool" },
    rate: { text: "10000", about: "new frames that each CPU maps in a second" },
    held: { text: "683", about: "slots held for long, in the comparison of a pool of 1024 with one of 4096" },
  },
  published: [
    { what: "flushes a second, 2 CPUs, 1024 slots", value: 19.5, source: "arithmetic: N x R / slots" },
    { what: "flushes a second, 8 CPUs, 1024 slots", value: 78.1, source: "arithmetic: N x R / slots" },
    { what: "flushes a second, 32 CPUs, 1024 slots", value: 312.5, source: "arithmetic: N x R / slots" },
    { what: "flushes a second, 8 CPUs, 512 slots", value: 156.3, source: "arithmetic: N x R / slots" },
    { what: "flushes a second, 32 CPUs, 512 slots", value: 625, source: "arithmetic: N x R / slots" },
    { what: "flushes with 1024 slots to those with 4096", value: 10, source: "measured by Keith Mannthey, May 2002" },
  ],
  plot: {
    x: "cpus",
    y: "cpuFlushesPerSecond",
    line: ["slots", "held"],
    xLabel: "CPUs",
    yLabel: "TLBs flushed a second",
    yUnit: 1,
  },

  run(parameters) {
    const rate = wholeNumber("rate", parameters.rate!, 1);
    const held = wholeNumber("held", parameters.held!, 0);
    const rows: Row[] = [];
    for (const slots of steps("slots", parameters.slots!)) {
      for (const cpus of steps("cpus", parameters.cpus!)) rows.push(measure(cpus, slots, 0, rate));
    }
    const small = measure(8, 1024, held, rate);
    const large = measure(8, 4096, held, rate);
    rows.push(small, large);
    const ratio = Number(small.flushesPerSecond) / Number(large.flushesPerSecond);
    const verdict = `With ${held} slots held for long, 4096 slots flush ${ratio.toFixed(1)} times less than 1024; flushed TLBs grow with the square of the CPUs.`;
    return { rows, verdict };
  },
};

/** A few seconds of mapping on one machine. */
function measure(cpus: number, slots: number, held: number, rate: number): Row {
  const machine = new Machine(specOf("numaq-64g", undefined, [`geometry.cpus=${cpus}`, `tunables.kmapSlots=${slots}`]));
  const { kmap, atomicMaps, tlbFlush } = machine.kernel;
  let next = atomicMaps.highmemFrom;
  for (let hold = 0; hold < Math.min(held, slots - 1); hold++) runToCompletion(kmap.map(next++));
  const before = { flushes: kmap.costs.flushes, scanned: kmap.costs.scanned };
  for (let second = 0; second < SECONDS; second++) {
    for (let map = 0; map < rate; map++) {
      for (let cpu = 0; cpu < cpus; cpu++) {
        tlbFlush.here = cpu;
        if (!kmap.tryMap(next)) runToCompletion(kmap.map(next));
        kmap.unmap(next++);
      }
    }
  }
  const flushes = (kmap.costs.flushes - before.flushes) / SECONDS;
  return {
    cpus,
    slots,
    held,
    mapsPerSecond: rate * cpus,
    flushesPerSecond: flushes,
    cpuFlushesPerSecond: flushes * cpus,
    slotsScannedPerMap: (kmap.costs.scanned - before.scanned) / (rate * cpus * SECONDS),
  };
}
