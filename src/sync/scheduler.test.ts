import { describe, expect, test } from "vitest";
import { Rng } from "../base/rng.ts";
import { Mutex, RwSemaphore, SpinLock } from "./lock.ts";
import { type Path, point } from "./path.ts";
import { Scheduler } from "./scheduler.ts";
import { type Build, replay, searchAll, searchAtRandom, shortestFailure } from "./search.ts";
import { Task } from "./task.ts";

type Body = (task: Task, scheduler: Scheduler) => Path<void>;

interface Options {
  readonly preemption?: "on" | "off";
  readonly cpuOf?: readonly number[];
  readonly wrongAtEnd?: () => string | undefined;
}

/** Tasks on CPUs of their own, unless said otherwise. */
function world(bodies: readonly Body[], { preemption = "off", cpuOf, wrongAtEnd }: Options = {}) {
  const scheduler = new Scheduler({
    cpus: bodies.length,
    preemption,
    switched: () => {},
    entered: () => {},
    shared: [],
  });
  bodies.forEach((body, at) => {
    const task = new Task(at + 1, `task ${at + 1}`);
    task.cpu = cpuOf?.[at] ?? at;
    scheduler.add(task, body(task, scheduler));
  });
  return { scheduler, wrong: () => undefined, wrongAtEnd: wrongAtEnd ?? (() => undefined), describe: () => "" };
}

function* locked(lock: Mutex, task: Task, inside: () => Path<void>): Path<void> {
  if (!lock.tryAcquire(task)) yield* lock.acquire(task);
  yield* inside();
  lock.release(task);
}

function* nothing(): Path<void> {}

const all = { runs: 100_000 };

describe("the exhaustive search", () => {
  test("finds that two locks taken in two orders hang, and says who waits for what", () => {
    const build: Build = () => {
      const [a, b] = [new SpinLock("a"), new SpinLock("b")];
      return world([
        (task) => locked(a, task, () => locked(b, task, nothing)),
        (task) => locked(b, task, () => locked(a, task, nothing)),
      ]);
    };
    const { failure } = searchAll(build, all);
    expect(failure?.reason).toBe(
      "deadlock: task 1 waits for b, held by task 2 and holds a; task 2 waits for a, held by task 1 and holds b",
    );
    expect(replay(build, failure!.choices).failure?.reason).toBe(failure!.reason);
  });

  test("finds that one order never hangs, and that the lock graph knows the order", () => {
    let last: Scheduler | undefined;
    const searched = searchAll(() => {
      const [a, b] = [new SpinLock("a"), new SpinLock("b")];
      const body: Body = (task) => locked(a, task, () => locked(b, task, nothing));
      const built = world([body, body]);
      last = built.scheduler;
      return built;
    }, all);
    expect(searched.complete).toBe(true);
    expect(searched.failure).toBeUndefined();
    expect(last?.validator.graph.orders).toEqual(["a -> b"]);
    expect(last?.validator.graph.cycle()).toEqual([]);
  });

  test("counts steps that commute once: three tasks with a lock each make one run, with one lock six", () => {
    const build = (shared: boolean) => () => {
      const locks = [1, 2, 3].map((n) => new SpinLock(`lock ${n}`));
      return world(locks.map((own) => (task: Task) => locked(shared ? locks[0]! : own, task, nothing)));
    };
    expect(searchAll(build(false), all)).toMatchObject({ runs: 1, complete: true });
    expect(searchAll(build(true), all)).toMatchObject({ runs: 6, complete: true });
  });

  test("finds a lost update, which the shortest failure shows with one switch", () => {
    const build: Build = () => {
      const cell = { value: 0 };
      const add: Body = function* (_task, scheduler) {
        const seen = cell.value;
        scheduler.touch("cell", "read");
        yield point("between load and store");
        cell.value = seen + 1;
        scheduler.touch("cell", "write");
      };
      const wrongAtEnd = () => (cell.value === 2 ? undefined : `the sum is ${cell.value}`);
      return world([add, add], { wrongAtEnd });
    };
    const { failure } = searchAll(build, all);
    expect(failure?.reason).toBe("the sum is 1");
    expect(shortestFailure(build, failure!, all).choices).toEqual([0, 1, 1, 0]);
    expect(searchAtRandom(build, new Rng(1), { runs: 50 }).failure?.reason).toBe("the sum is 1");
  });
});

describe("a CPU", () => {
  const twice: Body = function* () {
    yield point("a point");
  };
  const orders = (preemption: "on" | "off") => {
    const seen = new Set<string>();
    const build: Build = () => {
      const built = world([twice, twice], { preemption, cpuOf: [0, 0] });
      const wrongAtEnd = () => {
        seen.add(built.scheduler.steps.map(({ actor }) => actor).join(""));
        return undefined;
      };
      return { ...built, wrongAtEnd };
    };
    searchAll(build, all);
    return [...seen].sort();
  };

  test("leaves a task in the kernel only if the kernel is preemptible", () => {
    expect(orders("off")).toEqual(["0011", "1100"]);
    expect(orders("on")).toEqual(["0011", "0101", "0110", "1001", "1010", "1100"]);
  });

  test("goes to another task while one sleeps, not while one spins", () => {
    const run = (lock: Mutex) => {
      const built = world([(task) => locked(lock, task, nothing), nothing], { cpuOf: [0, 0] });
      lock.attempt(new Task(9, "another"));
      built.scheduler.step(0);
      return built.scheduler.choices();
    };
    expect(run(new Mutex("page lock"))).toEqual([1]);
    expect(run(new SpinLock("page_table_lock"))).toEqual([]);
  });

  test("takes interrupts while it spins", () => {
    const handled: string[] = [];
    const built = world([
      function* (_task, scheduler) {
        scheduler.send(1, "flush", () => handled.push("flush"));
        yield { on: "the answer", how: "spin", ready: () => handled.length > 0 };
      },
      nothing,
    ]);
    built.scheduler.step(0);
    expect(built.scheduler.choices()).toEqual([1, 3]);
    built.scheduler.step(3);
    expect(built.scheduler.choices()).toEqual([0, 1]);
  });
});

describe("the validator", () => {
  const findings = (...bodies: Body[]) => {
    const built = world(bodies);
    while (built.scheduler.choices().length > 0) built.scheduler.step(built.scheduler.choices()[0]!);
    return built.scheduler.validator;
  };

  test("reports a circle of orders though nobody hung, but no order by a lock that was only tried", () => {
    const [a, b] = [new SpinLock("a of 1"), new SpinLock("b of 2")];
    const forward: Body = (task) => locked(a, task, () => locked(b, task, nothing));
    const backward: Body = (task) => locked(b, task, () => locked(a, task, nothing));
    const tries: Body = (task) =>
      locked(b, task, function* () {
        if (a.attempt(task)) a.release(task);
        else yield point("no luck");
      });
    expect(findings(forward, backward).graph.cycle()).toEqual([
      "task 1 takes b of 2 while it holds a of 1",
      "task 2 takes a of 1 while it holds b of 2",
    ]);
    expect(findings(forward, tries).graph.cycle()).toEqual([]);
  });

  test("reports sleeping with a spinlock held, slots that are used twice, and what is left at the end", () => {
    const sleeps: Body = (task) =>
      locked(new SpinLock("page_table_lock"), task, function* () {
        yield { on: "disk", ready: () => true };
      });
    expect(findings(sleeps).findings).toEqual(["task 1 sleeps on disk while it holds page_table_lock"]);

    // biome-ignore lint/correctness/useYield: nothing waits
    const maps: Body = function* (task, { validator }) {
      validator.slotMapped(task, "CPU 0 PTE0");
      validator.slotMapped(task, "CPU 0 PTE0");
      validator.slotUnmapped(task, "CPU 0 PTE1");
    };
    expect(findings(maps).findings).toEqual([
      "task 1 maps CPU 0 PTE0, which task 1 still uses",
      "task 1 unmaps CPU 0 PTE1, which nobody has mapped",
      "task 1 ends and has mapped CPU 0 PTE0",
    ]);
  });
});

test("a reader waits behind a writer that waits", () => {
  const semaphore = new RwSemaphore("mmap_sem of 1");
  const read: Body = function* (task) {
    if (!semaphore.tryRead(task)) yield* semaphore.read(task);
    yield point("reading");
    semaphore.releaseRead(task);
  };
  const write: Body = function* (task) {
    if (!semaphore.tryWrite(task)) yield* semaphore.write(task);
    semaphore.releaseWrite(task);
  };
  const { scheduler } = world([read, write, read]);
  for (const actor of [0, 0, 1, 1, 2, 2]) scheduler.step(actor);
  expect(scheduler.choices()).toEqual([0]);
  scheduler.step(0);
  expect(scheduler.choices()).toEqual([1]);
});
