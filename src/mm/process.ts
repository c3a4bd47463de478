/** Processes and their threads, as the memory manager needs them: who runs where, with what limits, and what it cost. */
import { Task } from "../sync/task.ts";
import type { AddressSpace } from "./address-space.ts";
import type { Limits } from "./limits.ts";
import type { TaskMemory } from "./task-memory.ts";

export type ProcessState = "alive" | "exited" | "killed";

export class Process {
  readonly pid: number;
  name: string;
  /** exec and exit replace it. */
  mm: AddressSpace;
  limits: Limits;
  readonly parent: Process | null;
  readonly children: Process[] = [];
  readonly threads: Thread[] = [];
  state: ProcessState = "alive";
  /** What exit said, or the signal that ended it. */
  exitStatus = 0;
  /** It is to be killed for its memory as soon as it is not in the middle of anything. */
  isDoomed = false;
  minorFaults = 0;
  majorFaults = 0;

  constructor(pid: number, name: string, mm: AddressSpace, parent: Process | null) {
    this.pid = pid;
    this.name = name;
    this.mm = mm;
    this.limits = mm.limits;
    this.parent = parent;
    parent?.children.push(this);
  }
}

export class Thread extends Task {
  readonly process: Process;
  /** Its stack and what else the kernel keeps for it; null once it has ended, or where tasks cost nothing. */
  memory: TaskMemory | null = null;

  constructor(id: number, process: Process) {
    super(id, `${process.name} ${id}`);
    this.process = process;
    process.threads.push(this);
  }

  get mm(): AddressSpace {
    return this.process.mm;
  }
}
