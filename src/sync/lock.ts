/**
 * Locks as objects with names and owners. `tryAcquire` never waits; `acquire` is a path that waits. The idiom of a hot
 * path, which spares a generator when nobody contends:
 *
 *     if (!lock.tryAcquire(task)) yield* lock.acquire(task);
 *
 * While a task is interleaved with others `tryAcquire` declines, so that the path comes to `acquire`, and the scheduler
 * to a place where others may run. A kernel that really only tries calls `attempt`, which says whether the lock is had.
 */
import { bug } from "../base/errors.ts";
import type { Path, Wait, Waiting } from "./path.ts";
import { point } from "./path.ts";
import type { Task } from "./task.ts";
import type { Touch } from "./watch.ts";

export interface Lock {
  /** No two locks of a machine share a name. */
  readonly name: string;
  /** What all locks of its kind are called: orders hold between kinds. */
  readonly family: string;
  /** What it protects, if that is more than what only its holders reach: a step of a holder touches it. */
  readonly guards?: string;
}

/** "mmap_sem of 12" is of the family "mmap_sem". */
const familyOf = (name: string): string => name.split(" of ")[0]!;

/** A sleeping lock with one owner. */
export class Mutex implements Lock, Wait {
  readonly name: string;
  readonly family: string;
  readonly how: Waiting = "sleep";
  readonly guards?: string;
  owner: Task | undefined;

  /** `guards`: see Lock. */
  constructor(name: string, guards?: string) {
    this.name = name;
    this.family = familyOf(name);
    if (guards !== undefined) this.guards = guards;
  }

  get on(): string {
    return this.owner === undefined ? this.name : `${this.name}, held by ${this.owner.name}`;
  }

  ready(): boolean {
    return this.owner === undefined;
  }

  tryAcquire(task: Task): boolean {
    if (this.owner !== undefined || task.watch !== null) return false;
    this.take(task);
    return true;
  }

  /** Takes the lock if it is free; whether it was. */
  attempt(task: Task): boolean {
    task.watch?.touch(this.name, "write");
    if (this.owner !== undefined) return false;
    this.take(task);
    task.watch?.acquired(task, this, "tried");
    return true;
  }

  *acquire(task: Task): Path<void> {
    do {
      if (this.owner === task) bug(`${task.name} takes ${this.name} twice`);
      yield this;
    } while (this.owner !== undefined);
    this.take(task);
    task.watch?.acquired(task, this, "waited");
  }

  release(task: Task): void {
    if (this.owner !== task) bug(`${task.name} releases ${this.name}, held by ${this.owner?.name ?? "nobody"}`);
    this.owner = undefined;
    drop(task, this);
  }

  protected take(task: Task): void {
    this.owner = task;
    task.hold(this);
  }
}

/** A lock whose owner may not sleep nor be preempted, and that others wait for without leaving their CPUs. */
export class SpinLock extends Mutex {
  override readonly how: Waiting = "spin";
  /** Written out: each fault takes one. */
  override tryAcquire(task: Task): boolean {
    if (this.owner !== undefined || task.watch !== null) return false;
    this.owner = task;
    task.hold(this);
    task.preemptCount++;
    return true;
  }

  override release(task: Task): void {
    if (this.owner !== task) bug(`${task.name} releases ${this.name}, held by ${this.owner?.name ?? "nobody"}`);
    this.owner = undefined;
    task.preemptCount--;
    drop(task, this);
  }

  protected override take(task: Task): void {
    super.take(task);
    task.preemptCount++;
  }
}

interface Waiter {
  readonly task: Task;
  readonly for: "read" | "write";
}

/** Many readers or one writer (mmap_sem). Who waits is served in turn: a reader waits behind a writer that waits. */
export class RwSemaphore implements Lock {
  readonly name: string;
  readonly family: string;
  private writer: Task | undefined;
  /** The first `readerCount` are: few at a time, and an array that shrinks is allocated anew. */
  private readonly readers: (Task | null)[] = [null, null];
  private readerCount = 0;
  private readonly queue: Waiter[] = [];
  private readonly arriving: Wait;

  constructor(name: string) {
    this.name = name;
    this.family = familyOf(name);
    this.arriving = point(name);
  }

  /** Whether anybody holds it. */
  get isHeld(): boolean {
    return this.writer !== undefined || this.readerCount > 0;
  }

  tryRead(task: Task): boolean {
    if (this.writer !== undefined || this.queue.length > 0 || task.watch !== null) return false;
    this.takeRead(task);
    return true;
  }

  tryWrite(task: Task): boolean {
    if (this.writer !== undefined || this.readerCount > 0 || task.watch !== null) return false;
    this.takeWrite(task);
    return true;
  }

  *read(task: Task): Path<void> {
    if (task.watch !== null) yield this.arriving;
    if (this.writer === task) bug(`${task.name} takes ${this.name} for read while it writes`);
    const waiter: Waiter = { task, for: "read" };
    if (!this.isTurnOf(waiter)) yield* this.wait(waiter);
    this.takeRead(task);
    task.watch?.acquired(task, this, "waited");
  }

  *write(task: Task): Path<void> {
    if (task.watch !== null) yield this.arriving;
    if (this.writer === task || this.readers.includes(task))
      bug(`${task.name} takes ${this.name} for write while it holds it`);
    const waiter: Waiter = { task, for: "write" };
    if (!this.isTurnOf(waiter)) yield* this.wait(waiter);
    this.takeWrite(task);
    task.watch?.acquired(task, this, "waited");
  }

  /**
   * Who reads waits until nobody else does, and writes from then on. Two who wait so wait for each other: no kernel has this
   * call, and what would use it must let go first.
   */
  *upgrade(task: Task): Path<void> {
    task.watch?.touch(this.name, "write");
    const ready = () => this.writer === undefined && this.readerCount === 1;
    yield { on: `the other readers of ${this.name}, reading it`, ready };
    this.releaseRead(task);
    this.takeWrite(task);
    task.watch?.acquired(task, this, "waited");
  }

  releaseRead(task: Task): void {
    const { readers } = this;
    let at = this.readerCount - 1;
    while (at >= 0 && readers[at] !== task) at--;
    if (at < 0) bug(`${task.name} does not read-hold ${this.name}`);
    readers[at] = readers[--this.readerCount]!;
    readers[this.readerCount] = null;
    drop(task, this, "read");
  }

  releaseWrite(task: Task): void {
    if (this.writer !== task) bug(`${task.name} does not write-hold ${this.name}`);
    this.writer = undefined;
    drop(task, this);
  }

  private takeRead(task: Task): void {
    for (let at = 0; at < this.readerCount; at++) {
      if (this.readers[at] === task) bug(`${task.name} takes ${this.name} for read twice`);
    }
    this.readers[this.readerCount++] = task;
    task.hold(this);
    task.watch?.touch(this.name, "read");
  }

  private takeWrite(task: Task): void {
    this.writer = task;
    task.hold(this);
    task.watch?.touch(this.name, "write");
  }

  /** Waits in the queue until it is the waiter's turn. */
  private *wait(waiter: Waiter): Path<void> {
    const { name, queue } = this;
    waiter.task.watch?.touch(this.name, "write");
    queue.push(waiter);
    yield {
      get on() {
        return `${name} for ${waiter.for}`;
      },
      ready: () => this.isTurnOf(waiter),
    };
    queue.splice(queue.indexOf(waiter), 1);
    waiter.task.watch?.touch(this.name, "write");
  }

  /** Whether those who hold it and those who came before let the waiter in. */
  private isTurnOf(waiter: Waiter): boolean {
    if (this.writer !== undefined) return false;
    const before = this.queue.indexOf(waiter);
    const earlier = before < 0 ? this.queue : this.queue.slice(0, before);
    if (waiter.for === "write") return this.readerCount === 0 && earlier.length === 0;
    return earlier.every((other) => other.for === "read");
  }
}

function drop(task: Task, lock: Lock, how: Touch = "write"): void {
  task.unhold(lock);
  if (task.watch === null) return;
  task.watch.touch(lock.name, how);
  task.watch.released(task, lock);
}
