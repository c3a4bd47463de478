/**
 * Locks as objects with names and owners. `tryAcquire` never waits; `acquire` is a path that waits. The idiom of a hot
 * path, which spares a generator when nobody contends:
 *
 *     if (!lock.tryAcquire(task)) yield* lock.acquire(task);
 */
import { bug } from "../base/errors.ts";
import type { Path, Wait } from "./path.ts";
import type { Task } from "./task.ts";

export interface Lock {
  readonly name: string;
}

/** A lock with one owner: a spinlock or a mutex, by its name and use. */
export class Mutex implements Lock, Wait {
  readonly name: string;
  owner: Task | undefined;

  constructor(name: string) {
    this.name = name;
  }

  get on(): string {
    return `${this.name}, held by ${this.owner?.name ?? "nobody"}`;
  }

  ready(): boolean {
    return this.owner === undefined;
  }

  tryAcquire(task: Task): boolean {
    if (this.owner !== undefined) return false;
    this.owner = task;
    task.held.push(this);
    return true;
  }

  *acquire(task: Task): Path<void> {
    while (!this.tryAcquire(task)) {
      if (this.owner === task) bug(`${task.name} takes ${this.name} twice`);
      yield this;
    }
  }

  release(task: Task): void {
    if (this.owner !== task) bug(`${task.name} releases ${this.name}, held by ${this.owner?.name ?? "nobody"}`);
    this.owner = undefined;
    drop(task, this);
  }
}

/** Many readers or one writer (mmap_sem). */
export class RwSemaphore implements Lock {
  readonly name: string;
  private writer: Task | undefined;
  /** Few at a time: an array is cheaper than a set. */
  private readonly readers: Task[] = [];
  private readonly forRead: Wait;
  private readonly forWrite: Wait;

  constructor(name: string) {
    this.name = name;
    this.forRead = { on: `${name} for read`, ready: () => this.writer === undefined };
    this.forWrite = { on: `${name} for write`, ready: () => this.writer === undefined && this.readers.length === 0 };
  }

  tryRead(task: Task): boolean {
    if (this.writer !== undefined) return false;
    if (this.readers.includes(task)) bug(`${task.name} takes ${this.name} for read twice`);
    this.readers.push(task);
    task.held.push(this);
    return true;
  }

  tryWrite(task: Task): boolean {
    if (!this.forWrite.ready()) return false;
    this.writer = task;
    task.held.push(this);
    return true;
  }

  *read(task: Task): Path<void> {
    while (!this.tryRead(task)) {
      if (this.writer === task) bug(`${task.name} takes ${this.name} for read while it writes`);
      yield this.forRead;
    }
  }

  *write(task: Task): Path<void> {
    while (!this.tryWrite(task)) {
      if (this.writer === task || this.readers.includes(task))
        bug(`${task.name} takes ${this.name} for write while it holds it`);
      yield this.forWrite;
    }
  }

  releaseRead(task: Task): void {
    const at = this.readers.lastIndexOf(task);
    if (at < 0) bug(`${task.name} does not read-hold ${this.name}`);
    if (at === this.readers.length - 1) this.readers.pop();
    else this.readers.splice(at, 1);
    drop(task, this);
  }

  releaseWrite(task: Task): void {
    if (this.writer !== task) bug(`${task.name} does not write-hold ${this.name}`);
    this.writer = undefined;
    drop(task, this);
  }
}

function drop(task: Task, lock: Lock): void {
  const { held } = task;
  const at = held.lastIndexOf(lock);
  if (at === held.length - 1) held.pop();
  else held.splice(at, 1);
}
