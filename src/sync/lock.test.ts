import { describe, expect, test } from "vitest";
import { Mutex, RwSemaphore } from "./lock.ts";
import { runToCompletion } from "./path.ts";
import { Task } from "./task.ts";

const [first, second] = [new Task(1, "first"), new Task(2, "second")];

describe("a mutex", () => {
  test("has one owner at a time, and knows who", () => {
    const lock = new Mutex("page_table_lock");
    expect(lock.tryAcquire(first)).toBe(true);
    expect(lock.tryAcquire(second)).toBe(false);
    expect(lock.on).toBe("page_table_lock, held by first");
    expect(first.held).toEqual([lock]);
    lock.release(first);
    expect(lock.tryAcquire(second)).toBe(true);
    lock.release(second);
    expect(first.held.length + second.held.length).toBe(0);
  });

  test("suspends the path that must wait for it, and lets it go on once it is free", () => {
    const lock = new Mutex("page lock");
    lock.tryAcquire(first);
    const path = lock.acquire(second);
    const step = path.next();
    expect(step.done).toBe(false);
    if (step.done === true) return;
    expect(step.value.ready()).toBe(false);
    lock.release(first);
    expect(step.value.ready()).toBe(true);
    expect(path.next().done).toBe(true);
    expect(lock.owner).toBe(second);
    lock.release(second);
  });

  test("is not released by a stranger, nor taken twice", () => {
    const lock = new Mutex("kmap_lock");
    lock.tryAcquire(first);
    expect(() => lock.release(second)).toThrow("second releases kmap_lock, held by first");
    expect(() => runToCompletion(lock.acquire(first))).toThrow("first takes kmap_lock twice");
    lock.release(first);
  });
});

describe("a read-write semaphore", () => {
  test("lets many read, or one write", () => {
    const lock = new RwSemaphore("mmap_sem");
    expect(lock.tryRead(first)).toBe(true);
    expect(lock.tryRead(second)).toBe(true);
    expect(lock.tryWrite(first)).toBe(false);
    lock.releaseRead(first);
    lock.releaseRead(second);
    expect(lock.tryWrite(second)).toBe(true);
    expect(lock.tryRead(first)).toBe(false);
    lock.releaseWrite(second);
    expect(second.held).toEqual([]);
  });

  test("reports a release without a hold", () => {
    const lock = new RwSemaphore("mmap_sem");
    expect(() => lock.releaseRead(first)).toThrow("first does not read-hold mmap_sem");
    expect(() => lock.releaseWrite(first)).toThrow("first does not write-hold mmap_sem");
  });
});

test("a path that waits for what nobody else can give is a bug when it runs alone", () => {
  const lock = new Mutex("i_mmap_lock");
  lock.tryAcquire(first);
  expect(() => runToCompletion(lock.acquire(second))).toThrow("waits for i_mmap_lock, held by first");
});
