/** How many page-table entries fork copies a second, and how many the child's exit takes away again. */
import { STORE } from "../src/hw/access.ts";
import type { Measurement } from "./accesses.ts";
import { emptyProcess, mapAnonymous, touchAll, touchedPages } from "./faults.ts";

export function benchFork(now: () => number, seconds = 1): Measurement {
  return { name: "fork", value: forkAndExit(now, seconds).forked, unit: "PTEs/s" };
}

/** The frames stay: the parent maps them too. */
export function benchExit(now: () => number, seconds = 1): Measurement {
  return { name: "exit of a forked child", value: forkAndExit(now, seconds).ended, unit: "PTEs/s" };
}

function forkAndExit(now: () => number, seconds: number): { forked: number; ended: number } {
  const { machine, thread } = emptyProcess();
  mapAnonymous(machine, thread);
  touchAll(machine, thread, STORE);
  const until = now() + seconds * 1000;
  let pages = 0;
  let forking = 0;
  let ending = 0;
  do {
    const start = now();
    const child = machine.fork(thread);
    const between = now();
    if (typeof child === "number") throw new Error(`fork fails: ${child}`);
    machine.exit(child, 0);
    ending += now() - between;
    forking += between - start;
    pages += touchedPages;
  } while (now() < until);
  return { forked: pages / (forking / 1000), ended: pages / (ending / 1000) };
}
