/**
 * Scenarios about faults that make areas: a copy of memory without struct pages gets an area of its own, for which the fault must
 * have mmap_sem for writing, and holds it for reading.
 */
import { bug } from "../../base/errors.ts";
import { addressOf, type Vpn } from "../../base/units.ts";
import { LOAD } from "../../hw/access.ts";
import { OpenFile } from "../../mm/file.ts";
import type { Kernel } from "../../mm/kernel.ts";
import type { PfnMappings } from "../../mm/pfnmap/pfn-mappings.ts";
import { createSegmentFile } from "../../mm/pfnmap/segment-files.ts";
import { VmaSplit } from "../../mm/pfnmap/vma-split.ts";
import type { Thread } from "../../mm/process.ts";
import { FAULT_MINOR, type Intent, type Verdict } from "../../mm/verdict.ts";
import type { Path } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import type { Scenario } from "./scenario.ts";
import { PAGE, PRIVATE_FIXED, READ_WRITE, Stage } from "./stage.ts";

const PAGES = 3;

/** Stays among the readers while it waits for the others to go. */
class Upgrading extends VmaSplit {
  protected override *beginWriting(thread: Thread): Path<void> {
    yield* thread.mm.mmapSem.upgrade(thread);
  }
}

/** Lets go, comes back, and goes on with the area that it had found. */
class Trusting extends VmaSplit {
  override *changeArea(kernel: Kernel, thread: Thread, page: Vpn, intent: Intent): Path<Verdict> {
    const vma = thread.mm.vmas.containing(page);
    yield* this.beginWriting(thread);
    const verdict = vma === null ? FAULT_MINOR : yield* this.change(kernel, vma, page, intent);
    yield* this.endWriting(thread);
    return verdict;
  }
}

/** A program with a private mapping of a segment, of which it has read one page; by other `mappings` than special bits, or null. */
function mappedSegment(
  mappings: VmaSplit | null,
  lockGraph: LockGraph,
): { stage: Stage; threads: readonly [Thread, Thread] } {
  const design = { pfnMappings: mappings === null ? "special-bit" : "vma-split" } as const;
  const stage = new Stage({ kind: "pae", cpus: 2, lockGraph, design, segment: "64K" });
  if (mappings !== null) (stage.kernel as { pfnMappings: PfnMappings }).pfnMappings = mappings;
  const threads = stage.process("program", [0, 1]);
  const spec = { name: "segment", sizeBytes: addressOf(PAGES), way: "xip" } as const;
  const file = createSegmentFile(stage.kernel, spec) ?? bug("a scenario's segment is too small");
  const opened = new OpenFile(file, "read-write");
  const args = [addressOf(PAGE), addressOf(PAGES), READ_WRITE, PRIVATE_FIXED, opened, 0];
  if (stage.machine.call(threads[0], "mmap", args) < 0) bug("a scenario's mmap fails");
  // Its page table is there.
  stage.machine.access(threads[0], addressOf(PAGE + 1), LOAD);
  return { stage, threads };
}

/** Both threads store to pages of one area, which has neither copied. */
function twoCopies(mappings: VmaSplit, lockGraph: LockGraph): World {
  const { stage, threads } = mappedSegment(mappings, lockGraph);
  for (const [at, thread] of threads.entries()) {
    stage.scheduler.add(thread, stage.storeByte(thread, PAGE + 2 * at, 10 + at));
  }
  return stage.starts();
}

/** One thread stores while the other unmaps the area. */
function copyAgainstUnmap(mappings: VmaSplit, lockGraph: LockGraph): World {
  const { stage, threads } = mappedSegment(mappings, lockGraph);
  stage.scheduler.add(threads[0], stage.munmap(threads[0], PAGE, PAGES));
  stage.scheduler.add(threads[1], stage.storeByte(threads[1], PAGE + 2, 10));
  return stage.starts();
}

/** One thread copies what the other reads, and reads it again once it knows of the copy. */
function copyAgainstRead(change: (kernel: Kernel) => void, lockGraph: LockGraph): World {
  const { stage, threads } = mappedSegment(null, lockGraph);
  const [writer, reader] = threads;
  change(stage.kernel);
  let written = false;
  let stale = false;
  stage.scheduler.add(
    writer,
    (function* () {
      yield* stage.storeByte(writer, PAGE + 1, 10);
      written = true;
    })(),
  );
  stage.scheduler.add(
    reader,
    (function* () {
      yield* stage.loadByte(reader, PAGE + 1);
      const before = written;
      const byte = yield* stage.loadByte(reader, PAGE + 1);
      stale = before && byte !== 10;
    })(),
  );
  return stage.starts(() => (stale ? "a thread reads the segment after another has stored to its copy" : undefined));
}

export const areas: readonly Scenario[] = [
  {
    name: "area-split-by-two-faults",
    claim:
      "A fault that splits its area lets go of mmap_sem before it takes it for writing: two that stay among its readers wait for each other for ever.",
    variants: [
      {
        name: "as-it-is",
        says: "mmap_sem is dropped, taken for writing, and everything is looked at again",
        expects: "holds",
        build: (graph) => twoCopies(new VmaSplit(), graph),
      },
      {
        name: "upgrade",
        says: "the fault goes on reading while it waits for the other readers to leave",
        expects: "breaks",
        build: (graph) => twoCopies(new Upgrading(), graph),
      },
    ],
  },
  {
    name: "area-split-against-unmap",
    claim: "Whoever has let go of mmap_sem finds his area again, or that it is gone.",
    variants: [
      {
        name: "as-it-is",
        says: "the area is looked for again",
        expects: "holds",
        build: (graph) => copyAgainstUnmap(new VmaSplit(), graph),
      },
      {
        name: "trusts-what-it-saw",
        says: "the area that was found before is split",
        expects: "breaks",
        build: (graph) => copyAgainstUnmap(new Trusting(), graph),
      },
    ],
  },
  {
    name: "raw-copy-against-read",
    claim: "No CPU reads what is raw any more once another may store to the copy that has taken its place.",
    variants: [
      {
        name: "as-it-is",
        says: "the raw entry is cleared, every CPU has flushed it, and only then is the copy's set",
        expects: "holds",
        build: (graph) => copyAgainstRead(() => {}, graph),
      },
      {
        name: "forgets-to-flush",
        says: "the raw entry is overwritten",
        expects: "breaks",
        build: (graph) =>
          copyAgainstRead((kernel) => {
            kernel.tlbFlush.page = () => {};
          }, graph),
      },
    ],
  },
];
