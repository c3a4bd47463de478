import { describe, expect, test } from "vitest";
import { layOut, protect } from "./area-picture.ts";
import type { Thread } from "./process.ts";
import { READ_WRITE, TestKernel } from "./test-kernel.ts";

const AT = 0x40000;

const areaOf = (thread: Thread) => thread.mm.vmas.containing(AT)!;
const chainOf = (thread: Thread) => areaOf(thread).anonVmaChain.map(({ anonVma }) => anonVma);

function family(kernel: "linux-6.1" | "linux-2.6.11"): { machine: TestKernel; parent: Thread } {
  const machine = new TestKernel({ kernel });
  layOut(machine, AT, "AA", { A: READ_WRITE });
  machine.store(AT);
  return { machine, parent: machine.thread };
}

describe("chained anon_vmas (6.1)", () => {
  test("a child has an anon_vma of its own and is on the lists of all its ancestors", () => {
    const { machine, parent } = family("linux-6.1");
    const child = machine.fork()!;
    const grandchild = machine.fork(child)!;
    const root = areaOf(parent).anonVma!;
    expect(chainOf(grandchild)).toEqual([root, areaOf(child).anonVma, areaOf(grandchild).anonVma]);
    expect([root.children, areaOf(child).anonVma!.children]).toEqual([2, 1]);
    expect(root.links.size).toBe(3);
    expect(areaOf(grandchild).anonVma!.root).toBe(root);
    expect(root.references).toBe(3);
  });

  test("an anon_vma whose area is gone, with one child, is used again by that child's child", () => {
    const { machine } = family("linux-6.1");
    const child = machine.fork()!;
    const orphaned = areaOf(child).anonVma!;
    const grandchild = machine.fork(child)!;
    machine.exit(child);
    expect([orphaned.children, orphaned.activeVmas]).toEqual([1, 0]);
    const next = machine.fork(grandchild)!;
    expect(areaOf(next).anonVma).toBe(orphaned);
    expect(machine.kernel.anonVmas.count).toBe(3);
  });

  test("a daemon that forks and exits for ever keeps a short chain", () => {
    const { machine, parent } = family("linux-6.1");
    let at = machine.fork(parent)!;
    for (let generation = 0; generation < 20; generation++) {
      const next = machine.fork(at)!;
      machine.exit(at);
      at = next;
    }
    expect(chainOf(at).length).toBeLessThanOrEqual(3);
  });

  test("all of it goes with the last process, in any order", () => {
    const { machine, parent } = family("linux-6.1");
    const child = machine.fork()!;
    const grandchild = machine.fork(child)!;
    protect(machine, AT, 1, 1);
    for (const thread of [parent, grandchild, child]) machine.exit(thread);
    const { anonVmas, slabs } = machine.kernel;
    expect(anonVmas.count).toBe(0);
    expect([slabs.anonVmas.objects, slabs.anonVmaChains.objects, slabs.vmas.objects]).toEqual([0, 0, 0]);
  });

  test.each([1, 2, 3, 4])("a fork that finds no memory at its allocation %i leaves nothing behind", (failing) => {
    const { machine } = family("linux-6.1");
    const child = machine.fork()!;
    const { anonVmas, anonVmaChains } = machine.kernel.slabs;
    const before = [anonVmas.objects, anonVmaChains.objects, machine.kernel.anonVmas.count];
    let attempts = 0;
    for (const slab of [anonVmas, anonVmaChains]) {
      const allocate = slab.allocate.bind(slab);
      slab.allocate = () => {
        if (++attempts === failing) machine.kernel.allocator.failObjectAt(1);
        return allocate();
      };
    }
    expect(machine.fork(child)).toBe(null);
    expect([anonVmas.objects, anonVmaChains.objects, machine.kernel.anonVmas.count]).toEqual(before);
    expect(areaOf(child).anonVma!.children).toBe(0);
  });
});

describe("simple anon_vmas (2.6.11)", () => {
  test("a family shares one, and it goes with the last of them", () => {
    const { machine, parent } = family("linux-2.6.11");
    const child = machine.fork()!;
    const grandchild = machine.fork(child)!;
    expect(areaOf(grandchild).anonVma).toBe(areaOf(parent).anonVma);
    expect(areaOf(parent).anonVma!.links.size).toBe(3);
    expect(machine.kernel.anonVmas.count).toBe(1);
    for (const thread of [parent, grandchild, child]) machine.exit(thread);
    expect(machine.kernel.anonVmas.count).toBe(0);
    expect(machine.kernel.slabs.anonVmas.objects).toBe(0);
  });

  test("each index is looked for only in the areas that have it", () => {
    const { machine, parent } = family("linux-2.6.11");
    protect(machine, AT + 1, 1, 1);
    const found: number[] = [];
    areaOf(parent).anonVma!.forEachVma(AT + 1, AT + 2, (vma) => {
      found.push(vma.start);
      return true;
    });
    expect(found).toEqual([AT + 1]);
  });
});
