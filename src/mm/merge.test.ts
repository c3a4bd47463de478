import { describe, expect, test } from "vitest";
import { addressOf } from "../base/units.ts";
import { areaPicture, layOut, protect } from "./area-picture.ts";
import { MAP_PRIVATE, MAP_SHARED, READ, READ_WRITE, TestKernel } from "./test-kernel.ts";
import { VM_ACCOUNT } from "./vma.ts";

const AT = 0x40000;
const X = READ_WRITE;
const Y = READ;

const picture = (machine: TestKernel, pages: number, thread = machine.thread): string =>
  areaPicture(thread.mm, AT, pages);

describe.each(["linux-6.1", "linux-2.6.11"] as const)("%s: where areas join", (kernel) => {
  const machineWith = (areas: string, rights: Record<string, number>): TestKernel => {
    const machine = new TestKernel({ kernel });
    layOut(machine, AT, areas, rights);
    return machine;
  };

  //   before    the change, at pages 2..4           after     case
  const mapped = [
    ["AA..BB", { A: X, B: X }, X, "AAAAAA", 1],
    ["AA..BB", { A: X, B: Y }, X, "AAAABB", 2],
    ["AA..BB", { A: Y, B: X }, X, "AABBBB", 3],
    ["AA..BB", { A: Y, B: Y }, X, "AABBCC", "none"],
  ] as const;
  test.each(mapped)("%s, a gap mapped: %o with %i gives %s (case %s)", (before, rights, prot, after) => {
    const machine = machineWith(before, rights);
    machine.map(AT + 2, 2, prot, MAP_PRIVATE);
    expect(picture(machine, 6)).toBe(after);
  });

  const protectedParts = [
    ["AAAABB", { A: X, B: Y }, Y, "AABBBB", 4],
    ["AABBBB", { A: X, B: Y }, X, "AAAABB", 5],
    ["AABBCC", { A: X, B: Y, C: X }, X, "AAAAAA", 6],
    ["AABBCC", { A: X, B: Y, C: 0 }, X, "AAAABB", 7],
    ["AABBCC", { A: 0, B: Y, C: X }, X, "AABBBB", 8],
    ["AAAAAA", { A: X }, 0, "AABBCC", "none: two splits"],
  ] as const;
  test.each(protectedParts)("%s, a part protected: %o with %i gives %s (case %s)", (before, rights, prot, after) => {
    const machine = machineWith(before, rights);
    // Read-only private memory that once becomes writable is charged: make all alike first.
    for (const vma of machine.thread.mm.vmas) {
      if ((vma.flags & VM_ACCOUNT) !== 0) continue;
      vma.flags |= VM_ACCOUNT;
      machine.kernel.commitment.chargeAnyway(vma.pages);
    }
    expect(protect(machine, AT + 2, 2, prot)).toBe(0);
    expect(picture(machine, 6)).toBe(after);
  });

  test("protecting there and back gives one area again", () => {
    const machine = machineWith("AAAAAA", { A: X });
    for (let page = 0; page < 6; page++) protect(machine, AT + page, 1, page % 2 === 0 ? READ : 0);
    expect(picture(machine, 6)).toBe("ABCDEF");
    for (let page = 0; page < 6; page++) protect(machine, AT + page, 1, X);
    expect(picture(machine, 6)).toBe("AAAAAA");
    expect(machine.kernel.slabs.vmas.objects).toBe(1);
  });

  test("a file's areas join where its pages continue, and only there", () => {
    const machine = new TestKernel({ kernel });
    const file = machine.file(16);
    machine.map(AT, 2, READ, MAP_SHARED, file, 0);
    const opened = machine.thread.mm.vmas.first!.opened;
    const map = (page: number, index: number) =>
      machine.call("mmap", [addressOf(page), addressOf(2), READ, 0x11, opened, addressOf(index)]);
    map(AT + 2, 2);
    expect(picture(machine, 6)).toBe("AAAA..");
    map(AT + 4, 6);
    expect(picture(machine, 6)).toBe("AAAABB");
    expect(file.mappings.count).toBe(2);
    expect(file.references).toBe(2);
    // Another open of the same file is another file to merging.
    machine.map(AT + 6, 2, READ, MAP_SHARED, file, 8);
    expect(picture(machine, 8)).toBe("AAAABBCC");
  });

  test("unmapping and mapping again gives the same areas", () => {
    const machine = machineWith("AAAAAA", { A: X });
    machine.store(AT + 1);
    machine.call("munmap", [addressOf(AT + 2), addressOf(2)]);
    expect(picture(machine, 6)).toBe("AA..BB");
    machine.map(AT + 2, 2, X, MAP_PRIVATE);
    expect(picture(machine, 6)).toBe("AAAAAA");
  });
});

describe("anon_vmas decide too", () => {
  /** "AA..BB" with both areas written, so that each has an anon_vma of its own. */
  const written = (kernel: "linux-6.1" | "linux-2.6.11"): TestKernel => {
    const machine = new TestKernel({ kernel });
    layOut(machine, AT, "AA..BB", { A: X, B: X });
    machine.store(AT);
    machine.store(AT + 4);
    return machine;
  };

  test("two areas with different anon_vmas never join; 6.1 gives the gap between them to the upper one", () => {
    const machine = written("linux-6.1");
    machine.map(AT + 2, 2, X, MAP_PRIVATE);
    expect(picture(machine, 6)).toBe("AABBBB");
  });

  test("and 2.6.11 to the lower one", () => {
    const machine = written("linux-2.6.11");
    machine.map(AT + 2, 2, X, MAP_PRIVATE);
    expect(picture(machine, 6)).toBe("AAAABB");
  });

  test("a neighbour's anon_vma is used at once where the areas may join later", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AABB", { A: X, B: X | 4 });
    machine.store(AT);
    machine.store(AT + 2);
    const [low, high] = [...machine.thread.mm.vmas];
    expect(high!.anonVma).toBe(low!.anonVma);
    expect(machine.kernel.anonVmas.count).toBe(1);
    protect(machine, AT + 2, 2, X);
    expect(picture(machine, 4)).toBe("AAAA");
  });

  test("after a fork the child's written areas stay as they are on 6.1: their chains are not singular", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AA..", { A: X });
    machine.store(AT);
    const child = machine.fork()!;
    machine.map(AT + 2, 2, X, MAP_PRIVATE);
    expect(picture(machine, 4)).toBe("AAAA");
    machine.runs(child);
    machine.call("mmap", [addressOf(AT + 2), addressOf(2), X, 0x32, null, 0], child);
    expect(picture(machine, 4, child)).toBe("AABB");
  });

  test("and join on 2.6.11, where a family shares its anon_vma", () => {
    const machine = new TestKernel({ kernel: "linux-2.6.11" });
    layOut(machine, AT, "AA..", { A: X });
    machine.store(AT);
    const child = machine.fork()!;
    machine.runs(child);
    machine.call("mmap", [addressOf(AT + 2), addressOf(2), X, 0x32, null, 0], child);
    expect(picture(machine, 4, child)).toBe("AAAA");
  });

  test("an untouched area does not take over pages that another has written, on 6.1", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AABB", { A: X, B: X | 4 });
    machine.store(AT + 2);
    protect(machine, AT + 2, 1, X);
    expect(picture(machine, 4)).toBe("AABC");
  });

  test("a new mapping below a written area and above an untouched one joins the written one alone", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AA..BB", { A: X, B: X });
    machine.store(AT + 4);
    machine.map(AT + 2, 2, X, MAP_PRIVATE);
    expect(picture(machine, 6)).toBe("AABBBB");
  });

  test("the area that grows over another's pages is found wherever that one was", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AABBCC", { A: X, B: Y, C: X });
    machine.store(AT + 4);
    const exporter = machine.thread.mm.vmas.last!.anonVma;
    protect(machine, AT + 2, 2, X);
    expect(picture(machine, 6)).toBe("AAAAAA");
    expect(machine.thread.mm.vmas.first!.anonVma).toBe(exporter);
    expect(exporter!.links.size).toBe(1);
    expect(exporter!.activeVmas).toBe(1);
  });

  test("without memory for its links it does not grow", () => {
    const machine = new TestKernel();
    layOut(machine, AT, "AABBCC", { A: X, B: Y, C: X });
    machine.store(AT + 4);
    machine.kernel.slabs.anonVmaChains.allocate = () => -12;
    expect(protect(machine, AT + 2, 2, X)).toBe(0);
    expect(picture(machine, 6)).toBe("AABBCC");
    expect(machine.thread.mm.vmas.first!.anonVma).toBe(null);
  });
});
