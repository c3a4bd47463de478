/**
 * The end of the road: nothing can be reclaimed, so somebody is killed. The kernel's rule says who has the most memory to
 * give; that process ends at once, as if by SIGKILL, unless it is in the middle of a call or a fault. Then it ends when
 * that comes back to the program, and whoever needed its memory fails, as it does itself.
 *
 * @models linux-2.6.11 mm/oom_kill.c out_of_memory, select_bad_process, badness, oom_kill_process
 * @models linux-6.1 mm/oom_kill.c out_of_memory, oom_badness
 * @differs there is no time: neither what a process has run for counts, nor does anybody wait for a victim; nobody has a
 *          niceness or an oom_adj, and the first process is as mortal as any
 */
import type { Path } from "../../sync/path.ts";
import { exitProcess } from "../exit.ts";
import type { Kernel } from "../kernel.ts";
import type { Process } from "../process.ts";
import type { ZoneUse } from "../zone.ts";

const SIGKILL = 9;

/** Who was killed, and why that one. */
export interface OomVictim {
  readonly process: Process;
  readonly pid: number;
  readonly name: string;
  /** What the kernel's rule made of it: pages. */
  readonly points: number;
  /** Where memory was, just before; kernels print as much. */
  readonly memory: readonly ZoneUse[];
}

/** How bad a process is: the pages that it stands for. */
export type Badness = (kernel: Kernel, process: Process) => number;

/** All that it has mapped, and all that its children have in address spaces of their own. */
export const badness2611: Badness = (_kernel, process) => {
  const own = process.mm;
  const children = process.children.filter((child) => child.state === "alive" && child.mm !== own);
  return children.reduce((sum, { mm }) => sum + mm.totalPages, own.totalPages);
};

/** What it has in memory and in swap, and the tables for it. */
export const badness61: Badness = (_kernel, { mm }) =>
  mm.residentPages + mm.resident.swap + mm.tablesByLevel.reduce((sum, tables) => sum + tables, 0);

/** Kills a process for its memory: whether there may be some now for the one who runs. */
export function* killForMemory(kernel: Kernel): Path<boolean> {
  const chosen = choose(kernel);
  if (chosen === null) return false;
  let killed = false;
  const { points } = chosen;
  const memory = kernel.allocator.zones.map(({ use }) => use);
  for (const process of sharersOf(kernel, chosen.process)) {
    kernel.oomVictims.push({ process, pid: process.pid, name: process.name, points, memory });
    if (isBusy(kernel, process)) process.isDoomed = true;
    else {
      yield* exitProcess(kernel, process, "killed", SIGKILL);
      killed = true;
    }
  }
  const { process } = kernel.oomVictims.at(-1)!;
  return killed && !process.isDoomed;
}

interface Choice {
  readonly process: Process;
  readonly points: number;
}

/** The worst process, the oldest of several; its first child with memory of its own instead, where the kernel says so. */
function choose(kernel: Kernel): Choice | null {
  const { badness, spares } = kernel.personality.oom;
  let worst: Choice | null = null;
  for (const process of kernel.processes) {
    if (process.state !== "alive") continue;
    // One is dying already: its memory will do.
    if (process.isDoomed) return null;
    const points = badness(kernel, process);
    if (points > (worst?.points ?? 0)) worst = { process, points };
  }
  if (worst === null || spares === "nobody") return worst;
  const { mm, children } = worst.process;
  const child = children.find((one) => one.state === "alive" && one.mm !== mm);
  return child === undefined ? worst : { process: child, points: worst.points };
}

/** All processes that run in the same memory: killing one of them alone would free nothing. */
const sharersOf = ({ processes }: Kernel, { mm }: Process): Process[] =>
  processes.filter((process) => process.state === "alive" && process.mm === mm);

/** Whether somebody is in the middle of something there: one of its own threads, or the one who runs, on its behalf. */
function isBusy({ current, tlbFlush }: Kernel, { threads, mm }: Process): boolean {
  if (tlbFlush.interrupts !== null && threads.some((thread) => thread.watch !== null)) return true;
  if (threads.some((thread) => thread === current.task)) return true;
  return mm.mmapSem.isHeld;
}
