import { describe, expect, test } from "vitest";
import { EBUSY, EFAULT, EINVAL, EIO } from "../../base/errno.ts";
import { addressOf, type Pfn, type PteSlot, type Vpn } from "../../base/units.ts";
import { audit } from "../../check/audit/audit.ts";
import { PTE_WRITE } from "../../hw/pte.ts";
import { BUS_ADRERR, FAULT_OOM } from "../fault.ts";
import { type FileObject, OpenFile } from "../file.ts";
import { PG_ANON } from "../frames.ts";
import type { Thread } from "../process.ts";
import { readRemote, referencedFrame } from "../remote.ts";
import { MAP_FIXED, MAP_PRIVATE, MAP_SHARED, READ, READ_WRITE, TestKernel } from "../test-kernel.ts";
import { VM_RAW } from "../vma.ts";
import { remapPfnRange, vmInsertPage, vmInsertPfn } from "./areas.ts";
import { type PfnMappingName, pfnMappingOptions } from "./options.ts";
import { createSegmentFile } from "./segment-files.ts";
import { NOPFN_OOM, NOPFN_SIGBUS, type SegmentLayout, type SegmentWay } from "./segments.ts";
import type { ShadowBits } from "./shadow-bits.ts";

const AT: Vpn = 0x1000;
const PAGES = 16;
const SEGMENT = 128;

const names = Object.keys(pfnMappingOptions) as PfnMappingName[];
/** Those that can have private mappings. */
const withCopies = names.filter((name) => name !== "refuse-cow");
/** Those that can fill private mappings page by page. */
const withAnyFrame = withCopies.filter((name) => name !== "linear-rule");

class World extends TestKernel {
  segmentFile(way: SegmentWay, pages = PAGES, layout: SegmentLayout = "in one piece"): FileObject {
    const { kernel } = this;
    const file = createSegmentFile(kernel, {
      name: way,
      sizeBytes: addressOf(pages),
      way,
      layout,
      content: (memory, frame, index) => memory.writeByte(frame, 0, index + 1),
    });
    return file!;
  }

  /** mmap's result. */
  tryMap(file: FileObject, pages: number, prot: number, flags: number): number {
    const args = [addressOf(AT), addressOf(pages), prot, flags | MAP_FIXED, new OpenFile(file, "read-write"), 0];
    return this.call("mmap", args);
  }

  /** What the program reads at the start of a page, or minus the verdict. */
  byte(page: Vpn, thread: Thread = this.thread): number {
    const verdict = this.load(page, thread);
    return verdict === 0 ? this.kernel.memory.readByte(this.entry(page, thread).frame, 0) : -verdict;
  }

  write(page: Vpn, value: number, thread: Thread = this.thread): number {
    const verdict = this.store(page, thread);
    if (verdict === 0) this.kernel.memory.writeByte(this.entry(page, thread).frame, 0, value);
    return verdict;
  }

  bytes(first: Vpn, pages: number, thread: Thread = this.thread): number[] {
    return Array.from({ length: pages }, (_, at) => this.byte(first + at, thread));
  }

  isSegment(frame: Pfn): boolean {
    return this.kernel.rawMemory.has(frame);
  }

  get lawful(): string[] {
    const { kernel } = this;
    return audit({ kernel, processes: kernel.processes }).map(({ law, what }) => `${law}: ${what}`);
  }

  vmas(thread: Thread = this.thread): string[] {
    return [...thread.mm.vmas].map(({ start, end, flags, file }) => {
      const kind = (flags & VM_RAW) !== 0 ? "raw" : file?.raw == null ? "other" : "copies";
      return `${start - AT}..${end - AT} ${kind}`;
    });
  }
}

const world = (pfnMappings: PfnMappingName, kernel: "linux-6.1" | "linux-2.6.11" = "linux-6.1"): World =>
  new World({ pfnMappings, kernel, segments: [SEGMENT] });

const original = Array.from({ length: PAGES }, (_, at) => at + 1);

describe.each(["linux-6.1", "linux-2.6.11"] as const)("under %s", (kernel) => {
  describe.each(withCopies)("%s", (name) => {
    test.each(["remap", "xip"] as const)(
      "a private writable mapping of 16 pages (%s): a write gives page 3 a struct page and a reverse map, the others have none",
      (way) => {
        const t = world(name, kernel);
        const free = t.kernel.allocator.unusedPages;
        const file = t.segmentFile(way);
        expect(t.tryMap(file, PAGES, READ_WRITE, MAP_PRIVATE)).toBe(addressOf(AT));
        expect(t.bytes(AT, PAGES)).toEqual(original);
        expect(t.write(AT + 3, 99)).toBe(0);
        expect(t.lawful).toEqual([]);

        const copy = t.entry(AT + 3).frame;
        expect(t.kernel.frames.has(copy, PG_ANON)).toBe(true);
        const found: PteSlot[] = [];
        t.kernel.reverseMap.forEach(copy, (slot) => found.push(slot) > 0);
        expect(found).toHaveLength(1);
        for (let at = 0; at < PAGES; at++) expect(t.isSegment(t.entry(AT + at).frame)).toBe(at !== 3);
        // Only what has a struct page is resident.
        const { resident } = t.thread.mm;
        expect(resident.anon).toBe(1);
        expect(resident.file).toBe(name === "struct-pages" ? PAGES - 1 : 0);

        const child = t.fork()!;
        expect(t.kernel.frames.mapCount.read(copy)).toBe(2);
        expect(t.bytes(AT, PAGES, child)).toEqual(original.with(3, 99));
        expect(t.write(AT + 3, 98, child)).toBe(0);
        expect(t.write(AT + 5, 97, child)).toBe(0);
        expect(t.byte(AT + 3)).toBe(99);
        expect(t.byte(AT + 5)).toBe(6);
        expect(t.lawful).toEqual([]);

        t.exit(child);
        expect(t.call("munmap", [addressOf(AT), addressOf(PAGES)])).toBe(0);
        expect(resident).toMatchObject({ anon: 0, file: 0 });
        expect(t.lawful).toEqual([]);
        t.exit(t.thread);
        expect(t.kernel.allocator.unusedPages).toBeGreaterThanOrEqual(free);
      },
    );

    test("a split keeps what is raw and what is a copy apart, and so do all that follow", () => {
      const t = world(name, kernel);
      t.tryMap(t.segmentFile("remap"), PAGES, READ_WRITE, MAP_PRIVATE);
      t.write(AT + 3, 99);
      t.write(AT + 9, 98);
      expect(t.call("mprotect", [addressOf(AT + 2), addressOf(4), READ])).toBe(0);
      expect(t.lawful).toEqual([]);
      expect(t.call("munmap", [addressOf(AT), addressOf(1)])).toBe(0);
      expect(t.call("munmap", [addressOf(AT + 12), addressOf(2)])).toBe(0);
      expect(t.call("mprotect", [addressOf(AT + 2), addressOf(4), READ_WRITE])).toBe(0);
      expect(t.lawful).toEqual([]);
      expect(t.write(AT + 4, 97)).toBe(0);
      expect(t.bytes(AT + 1, 11)).toEqual(original.with(3, 99).with(4, 97).with(9, 98).slice(1, 12));
      expect(t.lawful).toEqual([]);
      // Areas of what a driver has mapped never become one again.
      const areas = t.vmas().filter((area) => area.endsWith("raw"));
      expect(areas.length).toBeGreaterThan(2);
    });

    test("mremap moves raw entries and copies, and the index with the place", () => {
      const t = world(name, kernel);
      t.tryMap(t.segmentFile("remap"), PAGES, READ_WRITE, MAP_PRIVATE);
      t.write(AT + 3, 99);
      const to = AT + 0x40_03;
      const from = t.thread.mm.vmas.containing(AT + 3)!;
      const [first, pages] = [from.start, from.pages];
      const args = [addressOf(first), addressOf(pages), addressOf(pages), 3, addressOf(to)];
      expect(t.call("mremap", args)).toBe(addressOf(to));
      expect(t.lawful).toEqual([]);
      expect(t.bytes(to, pages)).toEqual(original.with(3, 99).slice(first - AT, first - AT + pages));
      expect(t.write(to + pages - 1, 96)).toBe(0);
      expect(t.byte(to + pages - 1)).toBe(96);
      expect(t.lawful).toEqual([]);
    });

    test("what is raw cannot be referred to from outside; a copy can", () => {
      const t = world(name, kernel);
      t.tryMap(t.segmentFile("xip"), PAGES, READ_WRITE, MAP_PRIVATE);
      t.byte(AT + 2);
      t.write(AT + 3, 99);
      const referenced = (page: Vpn) => referencedFrame(t.kernel, t.thread.mm.vmas.containing(page)!, page);
      const peek = (page: Vpn) => t.run(readRemote(t.kernel, t.thread, t.thread.process, addressOf(page)));
      expect(peek(AT + 3)).toBe(99);
      const raw = referenced(AT + 2);
      if (name === "struct-pages") {
        expect(t.isSegment(raw)).toBe(true);
        t.kernel.allocator.release(raw);
        expect(peek(AT + 2)).toBe(3);
      } else {
        expect(raw).toBe(-EFAULT);
        expect(peek(AT + 2)).toBe(-EIO);
      }
      expect(t.lawful).toEqual([]);
    });

    test("a copy that is dropped is the file's page again, with what was written to that since", () => {
      const t = world(name, kernel);
      const file = t.segmentFile("xip");
      t.tryMap(file, PAGES, READ_WRITE, MAP_PRIVATE);
      t.write(AT + 3, 99);
      expect(t.call("madvise", [addressOf(AT), addressOf(PAGES), 4])).toBe(0);
      expect(t.byte(AT + 3)).toBe(4);
      const bytes = Uint8Array.of(55);
      expect(t.call("pwrite", [new OpenFile(file, "read-write"), bytes, 3 * 4096])).toBe(1);
      expect(t.byte(AT + 3)).toBe(55);
      expect(t.lawful).toEqual([]);
    });
  });
});

describe.each(names)("%s", (name) => {
  test("shared mappings are the segment itself: nothing is copied, and everybody sees every write", () => {
    const t = world(name);
    t.tryMap(t.segmentFile("xip"), PAGES, READ_WRITE, MAP_SHARED);
    expect(t.write(AT + 3, 99)).toBe(0);
    const child = t.fork()!;
    expect(t.write(AT + 4, 98, child)).toBe(0);
    expect(t.bytes(AT, PAGES)).toEqual(original.with(3, 99).with(4, 98));
    expect(t.isSegment(t.entry(AT + 3).frame)).toBe(true);
    expect(t.entry(AT + 3).flags & PTE_WRITE).toBe(PTE_WRITE);
    expect(t.kernel.counters.pagesCopied).toBe(0);
    expect(t.lawful).toEqual([]);
  });

  test("a part of a private area cannot be remapped: its index could not be a frame", () => {
    const t = world(name);
    const file = t.segmentFile("nopfn");
    t.tryMap(file, PAGES, READ_WRITE, MAP_PRIVATE);
    const vma = t.thread.mm.vmas.containing(AT)!;
    expect(t.run(remapPfnRange(t.kernel, vma, AT + 1, file.raw!.frameOf(1), PAGES - 1))).toBe(-EINVAL);
    expect(t.run(remapPfnRange(t.kernel, vma, AT, file.raw!.frameOf(0), PAGES - 1))).toBe(-EINVAL);
    expect(t.entry(AT + 1).flags).toBe(0);
    expect(t.lawful).toEqual([]);
  });

  test("a driver fills a shared area page by page, and a private one if a copy could be told", () => {
    const t = world(name);
    const file = t.segmentFile("nopfn", PAGES, "scattered");
    t.tryMap(file, PAGES, READ_WRITE, MAP_SHARED);
    expect([t.byte(AT + 3), t.write(AT + 4, 50), t.byte(AT + 4)]).toEqual([4, 0, 50]);
    expect(t.lawful).toEqual([]);
    t.tryMap(file, PAGES, READ_WRITE, MAP_PRIVATE);
    const isFilled = (withAnyFrame as string[]).includes(name);
    expect(t.byte(AT + 3)).toBe(isFilled ? 4 : -BUS_ADRERR);
    expect(t.write(AT + 3, 60)).toBe(isFilled ? 0 : BUS_ADRERR);
    expect(t.write(AT + 4, 61)).toBe(isFilled ? 0 : BUS_ADRERR);
    expect(t.lawful).toEqual([]);
  });

  test("what a driver answers instead of a frame becomes a signal, or no memory", () => {
    const t = world(name);
    const file = t.segmentFile("nopfn");
    const answers = new Map([
      [5, NOPFN_SIGBUS],
      [6, NOPFN_OOM],
    ]);
    const nopfn = file.raw!.nopfn.bind(file.raw!);
    file.raw!.nopfn = (index) => answers.get(index) ?? nopfn(index);
    t.tryMap(file, PAGES + 2, READ_WRITE, MAP_SHARED);
    expect([t.load(AT + 4), t.load(AT + 5), t.store(AT + 6)]).toEqual([0, BUS_ADRERR, FAULT_OOM]);
    expect(t.load(AT + PAGES)).toBe(BUS_ADRERR);
    expect(t.lawful).toEqual([]);
  });

  test("an entry that is taken is not filled again", () => {
    const t = world(name);
    const file = t.segmentFile("nopfn");
    t.tryMap(file, PAGES, READ_WRITE, MAP_SHARED);
    const vma = t.thread.mm.vmas.containing(AT)!;
    const frame = file.raw!.frameOf(2);
    expect(t.run(vmInsertPfn(t.kernel, vma, AT + 2, frame))).toBe(0);
    expect(t.run(vmInsertPfn(t.kernel, vma, AT + 2, frame))).toBe(-EBUSY);
    expect(t.byte(AT + 2)).toBe(3);
    expect(t.lawful).toEqual([]);
    const ordinary = t.map(AT + 0x100, 4, READ, MAP_SHARED, t.file(4));
    const other = t.thread.mm.vmas.containing(ordinary)!;
    expect(() => t.run(vmInsertPfn(t.kernel, other, ordinary, frame))).toThrow("holds pages only");
    if (name !== "struct-pages") {
      expect(() => t.run(vmInsertPage(t.kernel, other, ordinary, frame))).toThrow("no struct page");
    }
    t.load(ordinary);
    const page = t.entry(ordinary).frame;
    expect(t.run(vmInsertPage(t.kernel, other, ordinary, page))).toBe(-EBUSY);
    expect(t.call("madvise", [addressOf(ordinary), addressOf(1), 4])).toBe(0);
    expect(t.run(vmInsertPage(t.kernel, other, ordinary, page))).toBe(0);
    expect(t.entry(ordinary).frame).toBe(page);
    expect(t.lawful).toEqual([]);
  });

  test("the allocator never gives out a frame of a segment, whatever is left", () => {
    const t = world(name);
    t.segmentFile("remap");
    const { allocator } = t.kernel;
    for (let left = allocator.unusedPages; left > 0; left--) {
      const frame = allocator.tryAllocate(0, 3, 9);
      if (frame < 0) break;
      expect(t.isSegment(frame)).toBe(false);
    }
  });
});

test("a private mapping of memory without struct pages is refused where nothing could tell copies", () => {
  const t = world("refuse-cow");
  for (const way of ["remap", "xip"] as const) {
    expect(t.tryMap(t.segmentFile(way), PAGES, READ_WRITE, MAP_PRIVATE)).toBe(-EINVAL);
    // It could be made writable later.
    expect(t.tryMap(t.segmentFile(way), PAGES, READ, MAP_PRIVATE)).toBe(-EINVAL);
  }
  expect(t.lawful).toEqual([]);
});

test("the formula needs frames in one piece, and takes a file that has them so", () => {
  const t = world("linear-rule");
  expect(t.tryMap(t.segmentFile("xip", PAGES, "scattered"), PAGES, READ, MAP_PRIVATE)).toBe(-EINVAL);
  expect(t.tryMap(t.segmentFile("xip", PAGES, "scattered"), 1, READ, MAP_PRIVATE)).toBe(addressOf(AT));
  const file = t.segmentFile("xip");
  expect(t.tryMap(file, PAGES, READ, MAP_PRIVATE)).toBe(addressOf(AT));
  const vma = t.thread.mm.vmas.containing(AT)!;
  expect(vma.fileIndex).toBe(file.raw!.frameOf(0));
  // Mapped whole, at once.
  expect(t.entry(AT + PAGES - 1).frame).toBe(file.raw!.frameOf(PAGES - 1));
  t.call("munmap", [addressOf(AT), addressOf(5)]);
  expect(t.thread.mm.vmas.find(AT)!.fileIndex).toBe(file.raw!.frameOf(5));
});

test("scattered frames are told from copies by all that keep something", () => {
  for (const name of withAnyFrame) {
    const t = world(name);
    t.tryMap(t.segmentFile("xip", PAGES, "scattered"), PAGES, READ_WRITE, MAP_PRIVATE);
    t.write(AT + 3, 99);
    expect(t.bytes(AT, PAGES), name).toEqual(original.with(3, 99));
    expect(t.lawful, name).toEqual([]);
  }
});

test("a copy has an area of its own, neighbours share one, and what is dropped goes back", () => {
  const t = world("vma-split");
  t.tryMap(t.segmentFile("xip"), PAGES, READ_WRITE, MAP_PRIVATE);
  expect(t.vmas()).toEqual(["0..16 raw"]);
  t.write(AT + 3, 99);
  expect(t.vmas()).toEqual(["0..3 raw", "3..4 copies", "4..16 raw"]);
  t.write(AT + 4, 98);
  expect(t.vmas()).toEqual(["0..3 raw", "3..5 copies", "5..16 raw"]);
  t.call("madvise", [addressOf(AT), addressOf(PAGES), 4]);
  expect(t.byte(AT + 4)).toBe(5);
  expect(t.vmas()).toEqual(["0..3 raw", "3..4 copies", "4..5 raw", "5..16 raw"]);
  expect(t.lawful).toEqual([]);
});

describe("bits beside page tables", () => {
  test.each([
    ["i386", 1024, 128],
    ["pae", 512, 64],
    ["x86-64", 512, 64],
  ] as const)("%s: a table of %d entries has %d bytes of them, or a page", (format, _entries, bytes) => {
    const few = new World({ format, pfnMappings: "shadow-bits", segments: [SEGMENT] });
    const { pfnMappings } = few.kernel;
    expect((pfnMappings as ShadowBits).bytesPerTable).toBe(bytes);
    few.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    few.store(AT);
    expect(pfnMappings.costs.shadowBytes).toBe(4096);
    for (let at = 1; at < 4096 / bytes; at++) few.store(few.map(AT + at * 1024, 1, READ_WRITE, MAP_PRIVATE));
    const tables = few.tables()[0]!;
    expect(tables).toBe(4096 / bytes);
    expect(pfnMappings.costs.shadowBytes).toBe(4096);

    const many = new World({ format, pfnMappings: "shadow-pages", segments: [SEGMENT] });
    many.store(many.map(AT, 1, READ_WRITE, MAP_PRIVATE));
    many.store(many.map(AT + 1024, 1, READ_WRITE, MAP_PRIVATE));
    expect(many.kernel.pfnMappings.costs.shadowBytes).toBe(many.tables()[0]! * 4096);
    expect([...few.lawful, ...many.lawful]).toEqual([]);
  });

  test("are read for every entry of a private mapping that is looked at, and for no other", () => {
    const t = world("shadow-bits");
    const { costs } = t.kernel.pfnMappings;
    t.store(t.map(AT + 0x100, 4, READ_WRITE, MAP_PRIVATE));
    t.tryMap(t.segmentFile("xip"), PAGES, READ_WRITE, MAP_SHARED);
    t.bytes(AT, PAGES);
    t.fork();
    expect(costs.lookups).toBe(0);
    t.tryMap(t.segmentFile("xip"), PAGES, READ_WRITE, MAP_PRIVATE);
    t.bytes(AT, PAGES);
    t.write(AT + 3, 9);
    expect(costs).toMatchObject({ lookups: 1, marks: 1 });
    t.fork();
    expect(costs).toMatchObject({ lookups: 1 + PAGES, marks: 2 });
  });
});
