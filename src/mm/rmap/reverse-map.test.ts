/** One contract for all reverse maps: each must find exactly the entries that a search of everything finds. */
import { describe, expect, test } from "vitest";
import { Rng } from "../../base/rng.ts";
import type { Pfn, PteSlot, Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import { anonVmaFork } from "../anon-vma.ts";
import { type FileObject, linkMapping } from "../file.ts";
import { PG_ANON } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { VM_MAYREAD, VM_READ, VM_SHARED, VM_WRITE, Vma } from "../vma.ts";
import type { ReverseMap } from "./reverse-map.ts";
import { type ReverseMapName, reverseMaps } from "./reverse-maps.ts";
import { TestWorld } from "./test-world.ts";

const ANON = VM_READ | VM_WRITE | VM_MAYREAD;
const SHARED = ANON | VM_SHARED;

/** A world with one reverse map, and the mappings that are really there. */
class Mapped {
  readonly world: TestWorld;
  readonly rmap: ReverseMap;
  /** By frame: the entries that map it. */
  readonly truth = new Map<Pfn, Set<PteSlot>>();
  private lastFrame = 9000;

  constructor(name: ReverseMapName, format: "i386" | "pae" | "x86-64" = "pae") {
    this.world = new TestWorld(format);
    this.rmap = reverseMaps[name](this.world);
  }

  space(parent: AddressSpace | null = null): AddressSpace {
    const mm = this.world.space();
    expect(this.rmap.spaceBorn(mm, parent)).toBe(0);
    return mm;
  }

  area(mm: AddressSpace, start: Vpn, end: Vpn, file: FileObject | null, index: number): Vma {
    const vma = new Vma(mm, start, end, file === null ? ANON : SHARED, file, index);
    mm.vmas.insert(vma);
    linkMapping(vma);
    if (file === null) this.world.anonVmas.prepare(vma);
    return vma;
  }

  filePage(file: FileObject, index: number): Pfn {
    const frame = ++this.lastFrame;
    this.world.frames.mapping.write(frame, file.id);
    this.world.frames.index.write(frame, index);
    file.pages.insert(index, frame);
    return frame;
  }

  anonPage(vma: Vma, page: Vpn): Pfn {
    const frame = ++this.lastFrame;
    this.world.frames.mapping.write(frame, vma.anonVma!.id);
    this.world.frames.index.write(frame, vma.indexAt(page));
    this.world.frames.setFlag(frame, PG_ANON);
    return frame;
  }

  map(frame: Pfn, vma: Vma, page: Vpn): PteSlot {
    const slot = this.world.slotOf(vma.mm, page);
    expect(this.rmap.add(frame, slot, vma)).toBe(0);
    this.world.write(slot, frame);
    if (!this.truth.has(frame)) this.truth.set(frame, new Set());
    this.truth.get(frame)!.add(slot);
    return slot;
  }

  unmap(frame: Pfn, slot: PteSlot, vma: Vma): void {
    this.world.write(slot, -1);
    this.rmap.remove(frame, slot, vma);
    this.truth.get(frame)!.delete(slot);
  }

  found(frame: Pfn): PteSlot[] {
    const slots: PteSlot[] = [];
    this.rmap.forEach(frame, (slot) => {
      slots.push(slot);
      return true;
    });
    return slots.sort((one, other) => one - other);
  }

  expected(frame: Pfn): PteSlot[] {
    return [...(this.truth.get(frame) ?? [])].sort((one, other) => one - other);
  }

  check(): void {
    for (const [frame, slots] of this.truth) {
      expect(this.found(frame)).toEqual(this.expected(frame));
      expect(this.world.frames.mapCount.read(frame)).toBe(slots.size);
    }
  }
}

const names = Object.keys(reverseMaps) as ReverseMapName[];

describe.each(names)("%s", (name) => {
  test("finds a page of a file in every address space that maps it", () => {
    //               index 5    index 6
    //   one          page 105   page 106
    //   other        page 0
    const mapped = new Mapped(name);
    const file = mapped.world.files.create({ name: "f", kind: "shmem", sizeBytes: 65_536 });
    const one = mapped.area(mapped.space(), 100, 116, file, 0);
    const other = mapped.area(mapped.space(), 0, 4, file, 5);
    const five = mapped.filePage(file, 5);
    const six = mapped.filePage(file, 6);
    const slots = [mapped.map(five, one, 105), mapped.map(six, one, 106), mapped.map(five, other, 0)];
    expect(mapped.found(five)).toEqual([slots[0], slots[2]].sort((a, b) => a! - b!));
    mapped.unmap(five, slots[0]!, one);
    expect(mapped.found(five)).toEqual([slots[2]]);
    expect(mapped.found(six)).toEqual([slots[1]]);
  });

  test("finds an anonymous page in the parent and in the child that shares it", () => {
    const mapped = new Mapped(name);
    const { world } = mapped;
    const parent = mapped.area(mapped.space(), 200, 210, null, 200);
    const frame = mapped.anonPage(parent, 203);
    const inParent = mapped.map(frame, parent, 203);

    const child = new Vma(mapped.space(parent.mm), 200, 210, ANON, null, 200);
    child.mm.vmas.insert(child);
    expect(anonVmaFork(world as unknown as Kernel, child, parent)).toBe(0);
    const inChild = mapped.map(frame, child, 203);
    expect(mapped.found(frame)).toEqual([inParent, inChild].sort((a, b) => a - b));
  });

  test("finds an entry where it was moved to", () => {
    const mapped = new Mapped(name);
    const mm = mapped.space();
    const from = mapped.area(mm, 300, 304, null, 300);
    const frame = mapped.anonPage(from, 301);
    const old = mapped.map(frame, from, 301);
    const to = new Vma(mm, 800, 804, ANON, null, 300);
    to.anonVma = from.anonVma;
    mm.vmas.insert(to);
    expect(mapped.world.anonVmas.clone(to, from)).toBe(0);
    const now = mapped.world.slotOf(mm, 801);
    mapped.world.write(old, -1);
    mapped.world.write(now, frame);
    mapped.rmap.move(frame, old, now);
    expect(mapped.found(frame)).toEqual([now]);
    expect(mapped.world.frames.mapCount.read(frame)).toBe(1);
  });

  test("stops when the visitor has seen enough", () => {
    const mapped = new Mapped(name);
    const file = mapped.world.files.create({ name: "f", kind: "shmem", sizeBytes: 4096 });
    const frame = mapped.filePage(file, 0);
    for (let at = 0; at < 20; at++) {
      const vma = mapped.area(mapped.space(), 16, 17, file, 0);
      mapped.map(frame, vma, 16);
    }
    let seen = 0;
    mapped.rmap.forEach(frame, () => ++seen < 7);
    expect(seen).toBe(7);
  });

  test("lets the visitor remove each entry that it is shown", () => {
    const mapped = new Mapped(name);
    const file = mapped.world.files.create({ name: "f", kind: "shmem", sizeBytes: 4096 });
    const frame = mapped.filePage(file, 0);
    const owners = new Map<PteSlot, Vma>();
    for (let at = 0; at < 30; at++) {
      const vma = mapped.area(mapped.space(), 16, 17, file, 0);
      owners.set(mapped.map(frame, vma, 16), vma);
    }
    let kept = 0;
    mapped.rmap.forEach(frame, (slot) => {
      if (slot % 3 === 0) kept++;
      else mapped.unmap(frame, slot, owners.get(slot)!);
      return true;
    });
    expect(mapped.found(frame)).toEqual(mapped.expected(frame));
    expect(mapped.world.frames.mapCount.read(frame)).toBe(kept);
  });

  test.each(["i386", "pae", "x86-64"] as const)(
    "finds what is mapped after any sequence of operations, %s",
    (format) => {
      const rng = new Rng(3);
      const mapped = new Mapped(name, format);
      const { world } = mapped;
      const file = world.files.create({ name: "f", kind: "shmem", sizeBytes: 64 * 4096 });
      const pages = Array.from({ length: 24 }, (_, index) => mapped.filePage(file, index));
      const areas: Vma[] = [];
      const live: { frame: Pfn; slot: PteSlot; vma: Vma }[] = [];
      for (let at = 0; at < 12; at++) {
        const mm = mapped.space();
        const start = 1020 - rng.below(16);
        areas.push(mapped.area(mm, start, start + 20, file, rng.below(4)));
        areas.push(mapped.area(mm, 4000, 4010, null, 4000));
      }
      for (let step = 0; step < 1500; step++) {
        const vma = rng.pick(areas);
        const page = vma.start + rng.below(vma.pages);
        const slot = world.slotOf(vma.mm, page);
        if (world.mappedBy(slot) >= 0) {
          const at = live.findIndex((mapping) => mapping.slot === slot);
          const [mapping] = live.splice(at, 1);
          mapped.unmap(mapping!.frame, slot, vma);
        } else {
          const frame = vma.file === null ? mapped.anonPage(vma, page) : pages[vma.indexAt(page)]!;
          mapped.map(frame, vma, page);
          live.push({ frame, slot, vma });
        }
        if (step % 100 === 99) mapped.check();
      }
      mapped.check();
      expect(live.length).toBeGreaterThan(100);
    },
  );
});
