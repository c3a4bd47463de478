/**
 * exit: the process gives its address space back. The last process that ran in it tears it down, all areas in one go,
 * with one flush at most, since no CPU runs there any more.
 *
 * @models linux-6.1 kernel/exit.c do_exit, exit_mm
 */
import type { Path } from "../sync/path.ts";
import type { Kernel } from "./kernel.ts";
import type { Process, ProcessState } from "./process.ts";
import { releaseSpace, switchSpace } from "./space.ts";
import { releaseTask } from "./task-memory.ts";

/** Ends a process: by its own will (`exited`, with its status) or by a signal (`killed`, with the signal's number). */
export function* exitProcess(kernel: Kernel, process: Process, state: ProcessState, status: number): Path<void> {
  if (process.state !== "alive") return;
  process.state = state;
  process.exitStatus = status;
  const { mm } = process;
  mm.notePeaks();
  // Other processes may share the address space and run in it: only this one's CPUs leave.
  const own = new Set(process.threads.map((thread) => thread.cpu));
  for (const cpu of [...mm.cpus]) {
    if (!mayLeave(kernel, cpu)) continue;
    if (mm.users === 1 || own.has(cpu)) switchSpace(kernel, kernel.cpus[cpu]!, null);
  }
  yield* releaseSpace(kernel, mm);
  for (const thread of process.threads) releaseTask(kernel, thread);
}

/** While tasks are interleaved a CPU leaves an address space only by what itself does, or by an interrupt. */
const mayLeave = ({ tlbFlush, current }: Kernel, cpu: number): boolean =>
  tlbFlush.interrupts === null || current.task.cpu === cpu;
