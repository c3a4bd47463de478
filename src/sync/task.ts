/** A thread of execution as locks and the scheduler see it: where it runs and what it holds. */
import type { Lock } from "./lock.ts";

export class Task {
  readonly id: number;
  readonly name: string;
  /** The CPU that it runs on. */
  cpu = 0;
  /** The locks that it holds, oldest first. */
  readonly held: Lock[] = [];

  constructor(id: number, name: string) {
    this.id = id;
    this.name = name;
  }
}
