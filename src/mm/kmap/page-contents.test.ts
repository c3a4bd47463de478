/** The contents of highmem pages have one door, and it opens only onto what has a window. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { OpenFile } from "../file.ts";
import { writeFile } from "../file-io.ts";
import { readRemote } from "../remote.ts";
import { MAP_PRIVATE, MAP_SHARED, READ_WRITE, TestKernel } from "../test-kernel.ts";
import { truncateFile } from "../truncate.ts";

const HIGH = 1024;
const PAGE = 0x8000;

test.each(["global", "per-task"] as const)("what is in highmem cannot be used without a window (%s)", (kmap) => {
  const { kernel } = new TestKernel({ format: "pae", highmemFrom: HIGH, highmem: { kmap } });
  const { contents } = kernel;
  const bytes = new Uint8Array(4);
  const uses = [
    () => contents.readByte(HIGH, 0),
    () => contents.read(HIGH, 0, bytes),
    () => contents.write(HIGH, 0, Uint8Array.of(7)),
  ];
  for (const use of uses) expect(use).toThrow("are used without a window");
  expect(contents.hold(HIGH)).toBeUndefined();
  for (const use of uses) expect(use).not.toThrow();
  contents.release(HIGH);
  // Its slot still shows it, but is nobody's.
  for (const use of uses) expect(use).toThrow("are used without a window");
  expect(contents.readByte(HIGH - 1, 0)).toBe(0);
});

test("files, faults, copies and truncation use highmem through windows only", () => {
  const machine = new TestKernel({ format: "pae", highmemFrom: HIGH });
  const { memory, atomicMaps, kmap } = machine.kernel;
  const seen = new Set<string>();
  const guard = (name: string, frame: number): void => {
    if (frame < HIGH) return;
    seen.add(name);
    if (atomicMaps.heldBy(0) === 0 && !kmap.shows(frame)) throw new Error(`${name} of ${frame} without a window`);
  };
  const { zero, copy, readByte, writeByte } = memory;
  memory.zero = (frame) => {
    guard("zero", frame);
    zero.call(memory, frame);
  };
  memory.copy = (from, to) => {
    guard("copy", from);
    guard("copy", to);
    copy.call(memory, from, to);
  };
  memory.readByte = (frame, offset) => {
    guard("readByte", frame);
    return readByte.call(memory, frame, offset);
  };
  memory.writeByte = (frame, offset, value) => {
    guard("writeByte", frame);
    writeByte.call(memory, frame, offset, value);
  };

  const file = machine.file(4);
  machine.map(PAGE, 4, READ_WRITE, MAP_PRIVATE);
  machine.store(PAGE);
  const child = machine.fork()!;
  machine.store(PAGE, child);
  machine.map(PAGE + 16, 4, READ_WRITE, MAP_SHARED, file);
  machine.store(PAGE + 16);
  machine.map(PAGE + 32, 4, READ_WRITE, MAP_PRIVATE, file);
  machine.store(PAGE + 32);
  machine.run(writeFile(machine.kernel, machine.thread, new OpenFile(file, "read-write"), Uint8Array.of(1, 2, 3), 10));
  machine.run(truncateFile(machine.kernel, file, 5));
  machine.run(readRemote(machine.kernel, machine.thread, machine.thread.process, (PAGE + 16) * 4096));
  expect([...seen].sort()).toEqual(["copy", "readByte", "writeByte", "zero"]);
});

/** Files of kernel code that reach into frames themselves, and why they may. */
const doors = {
  "frame-bytes.ts": "what the door is made of",
  "kmap/kernel-table.ts": "the kernel's own tables, in lowmem",
  "kmap/page-contents.ts": "the door",
  "pfnmap/segment-files.ts": "what a segment holds when the machine starts",
  "pfnmap/shadow-bits.ts": "bits beside page tables, in lowmem",
  "saved-page.ts": "disks move data by themselves",
  "swap/swap-contents.ts": "so do swap areas",
  "tables/cache/quicklists.ts": "tables that are nobody's, in lowmem",
};

test("no other kernel code reaches into frames", () => {
  const root = join(import.meta.dirname, "..");
  const reaches = /\bmemory\.(read|write|readByte|writeByte|copy|zero)\(|from "\.[./]*frame-bytes\.ts"/;
  const found = readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts") && !/test-(kernel|world|swap)/.test(name))
    .filter((name) => reaches.test(readFileSync(join(root, name), "utf8")));
  expect(found.sort()).toEqual(Object.keys(doors));
});
