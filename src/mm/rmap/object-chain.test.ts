/** The hybrids: what is chained and what is searched for, when a page of a file is mapped in its order and out of it. */
import { describe, expect, test } from "vitest";
import { EINVAL, ENOMEM } from "../../base/errno.ts";
import { addressOf, type Pfn, type PteSlot } from "../../base/units.ts";
import type { FileObject } from "../file.ts";
import type { Thread } from "../process.ts";
import { MAP_PRIVATE, MAP_SHARED, READ_WRITE, TestKernel } from "../test-kernel.ts";
import type { ReverseMapName } from "./reverse-maps.ts";

const AT = 0x8000;
const LINE = 32;

/** One file of 16 pages, mapped whole and in order by so many processes, each of which has touched page 5. */
class Shared {
  readonly machine: TestKernel;
  readonly file: FileObject;
  readonly threads: Thread[];
  readonly frame: Pfn;

  constructor(reverseMap: ReverseMapName, processes: number) {
    this.machine = new TestKernel({ format: "pae", kernel: "linux-2.6.11", nonlinear: "tagged-search", reverseMap });
    const { machine } = this;
    this.file = machine.file(16);
    machine.map(AT, 16, READ_WRITE, MAP_SHARED, this.file);
    machine.load(AT + 5);
    this.threads = [machine.thread];
    while (this.threads.length < processes) this.threads.push(machine.fork()!);
    for (const thread of this.threads) machine.load(AT + 5, thread);
    this.frame = machine.entry(AT + 5).frame;
  }

  get map() {
    return this.machine.kernel.reverseMap;
  }

  /** Maps page `index` of the file at page `at` of the area. */
  remap(thread: Thread, at: number, index: number): number {
    return this.machine.call("remap_file_pages", [addressOf(AT + at), addressOf(1), 0, index, 0], thread);
  }

  /** The process gives its entry up; the page that belongs there is forgotten. */
  drop(thread: Thread, at: number): void {
    this.machine.call("munmap", [addressOf(AT + at), addressOf(1)], thread);
  }

  slots(): PteSlot[] {
    const slots: PteSlot[] = [];
    this.map.forEach(this.frame, (slot) => {
      slots.push(slot);
      return true;
    });
    return slots;
  }
}

describe.each(["object-chain-convert", "object-chain-incremental"] as const)("%s", (name) => {
  test("takes no memory for pages in order, and finds them through the file's areas", () => {
    const shared = new Shared(name, 8);
    const { areasVisited, linksFollowed } = shared.map.costs;
    expect([shared.slots().length, shared.map.bytes]).toEqual([8, 0]);
    expect(shared.map.costs.areasVisited - areasVisited).toBe(8);
    expect(shared.map.costs.linksFollowed).toBe(linksFollowed);
  });

  test("chains anonymous pages", () => {
    const shared = new Shared(name, 1);
    const { machine } = shared;
    machine.map(AT + 512, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT + 512);
    expect(shared.map.bytes).toBe(0);
    const children = Array.from({ length: 7 }, () => machine.fork()!);
    expect(shared.map.bytes).toBe(2 * LINE);
    for (const child of children) machine.exit(child);
    expect(shared.map.bytes).toBe(LINE);
    shared.map.collapse(machine.entry(AT + 512).frame);
    expect(shared.map.bytes).toBe(0);
  });

  test("finds a page that is in order and out of it, until each of its entries is gone", () => {
    const shared = new Shared(name, 3);
    const { machine, frame, threads } = shared;
    for (const thread of threads) expect(shared.remap(thread, 2, 5)).toBe(0);
    expect(machine.entry(AT + 2).frame).toBe(frame);
    expect(shared.slots().length).toBe(6);
    const found: PteSlot[] = [];
    shared.map.forEachKnown(frame, (slot) => found.push(slot) > 0);
    expect(found.length).toBe(6);
    for (const thread of threads) {
      shared.drop(thread, 5);
      shared.drop(thread, 2);
    }
    expect([shared.slots(), shared.map.bytes, machine.kernel.frames.mapCount.read(frame)]).toEqual([[], 0, 0]);
    machine.map(AT + 5, 1, READ_WRITE, MAP_SHARED, shared.file, 5);
    machine.load(AT + 5);
    expect([machine.entry(AT + 5).frame, shared.map.bytes]).toEqual([frame, 0]);
  });

  test("finds what lies in order in an area that is out of it", () => {
    const shared = new Shared(name, 2);
    shared.remap(shared.threads[1]!, 9, 3);
    expect(shared.slots().length).toBe(2);
    shared.drop(shared.threads[0]!, 5);
    expect(shared.slots().length).toBe(1);
  });

  test("goes on knowing entries that were moved, split and merged", () => {
    const shared = new Shared(name, 1);
    const { machine } = shared;
    shared.remap(machine.thread, 2, 5);
    machine.call("mprotect", [addressOf(AT + 4), addressOf(4), 1]);
    machine.call("mprotect", [addressOf(AT + 4), addressOf(4), 3]);
    machine.call("mremap", [addressOf(AT), addressOf(16), addressOf(16), 3, addressOf(AT + 1024)]);
    expect(machine.entry(AT + 1024 + 2).frame).toBe(shared.frame);
    const { tables } = machine.kernel;
    const pages = shared.slots().map((slot) => tables.pageOf(slot));
    expect(pages.sort()).toEqual([AT + 1024 + 2, AT + 1024 + 5]);
    machine.call("munmap", [addressOf(AT + 1024), addressOf(16)]);
    expect([shared.slots(), shared.map.bytes]).toEqual([[], 0]);
  });
});

describe("conversion", () => {
  test("chains all entries of the page, and of no other, when one is to be out of order", () => {
    const shared = new Shared("object-chain-convert", 8);
    shared.remap(shared.machine.thread, 2, 5);
    expect([shared.map.costs.conversions, shared.map.bytes]).toEqual([1, 2 * LINE]);
    const { areasVisited } = shared.map.costs;
    expect(shared.slots().length).toBe(9);
    expect(shared.map.costs.areasVisited).toBe(areasVisited);
    shared.remap(shared.threads[3]!, 2, 5);
    expect(shared.map.costs.conversions).toBe(1);
  });

  test("draws all memory before it begins: it fails as a whole", () => {
    const shared = new Shared("object-chain-convert", 16);
    const { machine, frame, map } = shared;
    for (const block of [1, 2, 3]) {
      machine.kernel.allocator.failObjectAt(block);
      expect(machine.run(map.admitNonlinear(machine.kernel, frame))).toBe(-ENOMEM);
      expect([map.bytes, map.costs.conversions, shared.slots().length]).toEqual([0, 0, 16]);
    }
    expect(machine.run(map.admitNonlinear(machine.kernel, frame))).toBe(0);
    expect([map.bytes, map.costs.conversions, shared.slots().length]).toEqual([3 * LINE, 1, 16]);
  });

  test("is impossible for a page that has left its file, which only a scan of everything finds", () => {
    const shared = new Shared("object-chain-convert", 3);
    const { machine, frame, map } = shared;
    machine.kernel.frames.mapping.write(frame, 0);
    expect(machine.run(map.admitNonlinear(machine.kernel, frame))).toBe(-EINVAL);
    expect(shared.slots().length).toBe(3);
    let known = 0;
    map.forEachKnown(frame, () => ++known > 0);
    expect(known).toBe(0);
  });
});

describe("the count in the chain", () => {
  /** Bytes with so many entries of the page out of order, while so many are in order. */
  function bytesWith(linear: number, others: number): number {
    const shared = new Shared("object-chain-incremental", Math.max(linear, 1));
    const { machine, threads } = shared;
    if (linear === 0) shared.drop(machine.thread, 5);
    const places = [0, 1, 2, 3, 4, 6, 7, 8];
    for (const at of places.slice(0, others)) shared.remap(threads[0]!, at, 5);
    expect(machine.kernel.frames.mapCount.read(shared.frame)).toBe(linear + others);
    expect(shared.slots().length).toBe(linear + others);
    return shared.map.bytes;
  }

  test.each([
    [0, 1, 0],
    [0, 7, 1],
    [0, 8, 2],
    [1, 0, 0],
    [9, 0, 0],
    [1, 1, 1],
    [9, 6, 1],
    [9, 7, 2],
  ])("%i entries in order and %i others take %i lines", (linear, others, lines) => {
    expect(bytesWith(linear, others)).toBe(lines * LINE);
  });

  test("goes with the last entry in order, and the chain with the last other one", () => {
    const shared = new Shared("object-chain-incremental", 2);
    const { threads, map, frame } = shared;
    for (const at of [0, 1, 2, 3, 4, 6, 7]) shared.remap(threads[0]!, at, 5);
    expect(map.bytes).toBe(2 * LINE);
    for (const thread of threads) shared.drop(thread, 5);
    expect(map.bytes).toBe(LINE);
    for (const at of [0, 1, 2, 3, 4, 6]) shared.drop(threads[0]!, at);
    map.collapse(frame);
    expect([map.bytes, shared.slots().length]).toEqual([0, 1]);
    shared.drop(threads[0]!, 7);
    expect(shared.slots()).toEqual([]);
  });

  test("is not there when an entry that needed it found no memory", () => {
    const shared = new Shared("object-chain-incremental", 2);
    const { machine, frame, map } = shared;
    const { entries, frames } = machine.kernel;
    const vma = machine.thread.mm.vmas.find(AT)!;
    const slot = shared.slots()[0]! - 5;
    expect(entries.indexOf(slot)).toBe(0);
    machine.kernel.allocator.failObjectAt(1);
    expect(map.add(frame, slot, vma)).toBe(-ENOMEM);
    expect([map.bytes, frames.mapCount.read(frame), shared.slots().length]).toEqual([0, 2, 2]);
    expect(map.add(frame, slot, vma)).toBe(0);
    expect([map.bytes, frames.mapCount.read(frame)]).toEqual([LINE, 3]);
  });
});

test("a nonlinear area is nothing for reclaim to look into, and is read whole for who needs all", () => {
  const shared = new Shared("object-anon", 2);
  const { map, frame, machine } = shared;
  shared.remap(machine.thread, 2, 5);
  let known = 0;
  map.forEachKnown(frame, () => ++known > 0);
  expect(known).toBe(1);
  const { entriesRead } = map.costs;
  expect(shared.slots().length).toBe(3);
  expect(map.costs.entriesRead - entriesRead).toBeLessThanOrEqual(1 + 16);
});
