/**
 * Scenarios about the page tables that a file has for all who map it: guests who come at the same time, one who leaves while
 * another faults, truncation, and the end of the last guest while somebody new comes.
 */
import { bug } from "../../base/errors.ts";
import { addressOf, type Vpn } from "../../base/units.ts";
import { LOAD } from "../../hw/access.ts";
import { OpenFile } from "../../mm/file.ts";
import type { Kernel } from "../../mm/kernel.ts";
import type { Thread } from "../../mm/process.ts";
import type { Path } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { byteAt, wrongIf } from "./contents.ts";
import { freesBeforeFlush } from "./doubles.ts";
import { HUGE, LATER, VALUE } from "./huge-stage.ts";
import type { Scenario } from "./scenario.ts";
import { READ_WRITE, SHARED_FIXED, Stage, type StageShape } from "./stage.ts";

/** What guests share: one leaf table, or the table above with all that it leads to. */
interface Kind extends Pick<StageShape, "kind" | "kernel"> {
  readonly pages: number;
}
const leafOf2611: Kind = { kind: "pae", kernel: "linux-2.6.11", pages: HUGE };
const leafOf61: Kind = { kind: "x86-64", kernel: "linux-6.1", pages: HUGE };
const gigabyte: Kind = { kind: "x86-64", kernel: "linux-6.1", pages: HUGE * HUGE };

/** Where guests map the file: aligned for either. */
const PLACE: Vpn = HUGE * HUGE;

type Change = (kernel: Kernel) => void;
const asItIs: Change = () => {};
type Build = (kind: Kind, change: Change, graph: LockGraph) => World;

interface Guests {
  readonly stage: Stage;
  readonly kind: Kind;
  readonly opened: OpenFile;
  /** On CPUs 0 and 1. */
  readonly guests: readonly [Thread, Thread];
  /** The first one's other thread, on CPU 2, if there is that. */
  readonly beside: Thread | undefined;
}

/** Two processes that map a file, whose first page is there. `who` has its tables already. With three CPUs the first runs on two. */
function guestsOf(kind: Kind, who: "first" | "both", cpus: 2 | 3, lockGraph: LockGraph): Guests {
  const design = { pageTableSharing: "file-shared" } as const;
  const stage = new Stage({ ...kind, cpus, lockGraph, design });
  const { kernel } = stage;
  const file = kernel.files.create({ name: "data", kind: "shmem", sizeBytes: addressOf(kind.pages) });
  const opened = new OpenFile(file, "read-write");
  const [first, beside] = cpus === 3 ? stage.process("first", [0, 2]) : stage.process("first", [0]);
  const [second] = stage.process("second", [1]);
  const guests = [first, second] as const;
  for (const guest of guests) if (mmap(stage, guest, kind, opened) < 0) bug("a scenario's mmap fails");
  stage.store(first, PLACE, VALUE);
  // Another CPU of the first one's knows them too, and must be told when he leaves.
  if (beside !== undefined) stage.machine.access(beside, addressOf(PLACE), LOAD);
  if (who === "both") stage.machine.access(second, addressOf(PLACE), LOAD);
  return { stage, kind, opened, guests, beside };
}

const mmapArgs = ({ pages }: Kind, opened: OpenFile) =>
  [addressOf(PLACE), addressOf(pages), READ_WRITE, SHARED_FIXED, opened, 0] as const;
const mmap = (stage: Stage, guest: Thread, kind: Kind, opened: OpenFile): number =>
  stage.machine.call(guest, "mmap", mmapArgs(kind, opened));

/** The first writes to a page that nobody has, while the second, who has no table yet, reads it. */
const bothCome: Build = (kind, change, lockGraph) => {
  const { stage, guests } = guestsOf(kind, "first", 2, lockGraph);
  const page = PLACE + 1;
  change(stage.kernel);
  stage.scheduler.add(guests[0], stage.storeByte(guests[0], page, LATER));
  stage.scheduler.add(guests[1], stage.access(guests[1], page, LOAD));
  return stage.starts(
    () =>
      wrongIf(byteAt(stage, guests[0].mm, page), [LATER], "the first one's page") ??
      wrongIf(byteAt(stage, guests[1].mm, page), [LATER], "the second one's"),
  );
};

/** The first leaves, the second writes to a page that nobody has yet, with the file's table or without. */
function leaveAgainstFault(
  who: "first" | "both",
  leaves: (guests: Guests) => Path<unknown>,
  kind: Kind,
  change: Change,
  lockGraph: LockGraph,
): World {
  const world = guestsOf(kind, who, 3, lockGraph);
  const { stage, guests } = world;
  change(stage.kernel);
  stage.scheduler.add(guests[0], leaves(world));
  stage.scheduler.add(guests[1], writes());
  return stage.starts(
    () =>
      wrongIf(byteAt(stage, guests[1].mm, PLACE + 1), [LATER], "the page that was written") ??
      wrongIf(byteAt(stage, guests[1].mm, PLACE), [VALUE], "the page of before"),
  );

  function* writes(): Path<void> {
    yield* stage.storeByte(guests[1], PLACE + 1, LATER);
    yield* stage.access(guests[1], PLACE, LOAD);
  }
}

const unmaps = ({ stage, guests, kind }: Guests): Path<unknown> => stage.munmap(guests[0], PLACE, kind.pages);
const protects = ({ stage, guests }: Guests): Path<unknown> =>
  stage.call(guests[0], "mprotect", [addressOf(PLACE), addressOf(1), 1]);
const ends = ({ stage, guests }: Guests): Path<unknown> => stage.exit(guests[0].process);

/** The file is cut to nothing while the second guest, who has its table, reads a page: one that is mapped, or one that is not. */
function truncateAgainstFault(page: 0 | 1, kind: Kind, change: Change, lockGraph: LockGraph): World {
  const { stage, guests, opened } = guestsOf(kind, "both", 2, lockGraph);
  // It is cached, and not mapped.
  stage.machine.writeFile(opened, addressOf(1), new Uint8Array([VALUE]));
  // Who cuts the file does not map it: one area less to look at.
  stage.machine.call(guests[0], "munmap", [addressOf(PLACE), addressOf(kind.pages)]);
  change(stage.kernel);
  stage.scheduler.add(guests[0], stage.call(guests[0], "ftruncate", [opened, 0]));
  stage.scheduler.add(guests[1], stage.access(guests[1], PLACE + page, LOAD));
  return stage.starts(() => wrongIf(byteAt(stage, guests[1].mm, PLACE + page), [null], "what is beyond the end"));
}

/** The only guest ends, and with it the file's tables, while somebody else comes. */
function endAgainstArrival(kind: Kind, change: Change, lockGraph: LockGraph): World {
  const world = guestsOf(kind, "first", 2, lockGraph);
  const { stage, guests, opened } = world;
  const [, second] = guests;
  stage.machine.call(second, "munmap", [addressOf(PLACE), addressOf(kind.pages)]);
  change(stage.kernel);
  let seen = -1;
  stage.scheduler.add(guests[0], ends(world));
  stage.scheduler.add(second, comes());
  return stage.starts(() => wrongIf(seen, [VALUE], "the file"));

  function* comes(): Path<void> {
    yield* stage.call(second, "mmap", mmapArgs(kind, opened));
    seen = yield* stage.loadByte(second, PLACE);
  }
}

/** The first leaves, and then the second ends, and with it the file's tables; another CPU of the first one's walks there. */
function leaveThenEnd(kind: Kind, change: Change, lockGraph: LockGraph): World {
  const world = guestsOf(kind, "both", 3, lockGraph);
  const { stage, guests, beside } = world;
  change(stage.kernel);
  stage.scheduler.add(guests[0], leaveAndEnd());
  stage.scheduler.add(beside!, stage.access(beside!, PLACE, LOAD));
  return stage.starts();

  function* leaveAndEnd(): Path<void> {
    yield* unmaps(world);
    yield* stage.exit(guests[1].process);
  }
}

/** A change in a table is flushed where it is hosted only, and nobody runs there. */
const flushesItsHost: Change = ({ tables }) => {
  for (const shared of tables.shared.all) {
    shared.forEachPlace = (visit) => visit(shared.mms[0]!, shared.firsts[0]!);
  }
};

/** A file's tables go with any of its guests. */
const endsWithAnybody: Change = ({ tableSharing }) => {
  const drop = tableSharing.dropHost.bind(tableSharing);
  tableSharing.dropHost = (kernel, file) => {
    const others = file.references - 1;
    file.references -= others;
    const isOver = drop(kernel, file);
    file.references += others;
    return isOver;
  };
};

const leaf = [
  { name: "2.6.11", of: "2.6.11, which has leaf tables in common", kind: leafOf2611 },
  { name: "6.1", of: "6.1, which has leaf tables in common", kind: leafOf61 },
];
const all = [...leaf, { name: "gigabyte", of: "6.1, with the table above in common", kind: gigabyte }];

/** Without 6.1's leaf tables, which make no difference there. */
const withoutTwice = all.filter(({ kind }) => kind !== leafOf61);

/** The kernel as it is, of several kinds. */
const holding = (kinds: typeof all, name: string, says: string, build: Build) =>
  kinds.map((one) => ({
    name: `${name}-${one.name}`,
    says: `${says}: ${one.of}`,
    expects: "holds" as const,
    build: (graph: LockGraph) => build(one.kind, asItIs, graph),
  }));

const leaving =
  (who: "first" | "both", leaves: (guests: Guests) => Path<unknown>): Build =>
  (...of) =>
    leaveAgainstFault(who, leaves, ...of);
const cutting =
  (page: 0 | 1): Build =>
  (...of) =>
    truncateAgainstFault(page, ...of);

export const hosting: readonly Scenario[] = [
  {
    name: "two-guests-come",
    claim: "A file has one tree of tables, whoever comes first: what one guest writes the other finds.",
    variants: [
      ...holding(
        leaf.slice(0, 1),
        "as-it-is",
        "one writes to a page that is new while the other comes and reads it",
        bothCome,
      ),
    ],
  },
  {
    name: "guest-leaves-against-fault",
    claim:
      "Who leaves a file's table takes nothing from the others, and whoever comes meanwhile waits until he is gone, once.",
    variants: [
      ...holding(
        withoutTwice,
        "unmaps",
        "one unmaps the file while the other writes to a new page",
        leaving("both", unmaps),
      ),
      ...holding(
        leaf.slice(0, 1),
        "unmaps-and-comes",
        "the same, and the other comes only then",
        leaving("first", unmaps),
      ),
      ...holding(all, "protects", "one protects a page while the other writes to a new one", leaving("both", protects)),
      ...holding(all, "ends", "one ends while the other writes to a new page", leaving("both", ends)),
    ],
  },
  {
    name: "guest-leaves-then-end",
    claim: "A file's tables go with its last guest, and no CPU of those who have left before walks there any more.",
    variants: [
      ...holding(all, "as-it-is", "one unmaps the file, then the other ends", leaveThenEnd),
      {
        name: "does-not-wait",
        says: "who leaves is off the list while the interrupts are still on their way",
        expects: "breaks",
        build: (graph) => leaveThenEnd(leafOf61, freesBeforeFlush, graph),
      },
    ],
  },
  {
    name: "truncate-against-guest",
    claim: "What truncation clears in a file's tables it clears for all: no guest maps it again, and no CPU keeps it.",
    variants: [
      ...holding(all, "there", "the file is cut while a guest reads a page of it", cutting(0)),
      ...holding(leaf.slice(0, 1), "missing", "the same, and the page is yet to be mapped", cutting(1)),
      {
        name: "flushes-its-host",
        says: "guests are not told",
        expects: "breaks",
        build: (graph) => truncateAgainstFault(0, leafOf61, flushesItsHost, graph),
      },
    ],
  },
  {
    name: "last-guest-ends-against-arrival",
    claim: "A file's tables go with its last user, and not with a guest while somebody else maps the file.",
    variants: [
      ...holding(
        all,
        "as-it-is",
        "the only guest ends while another process maps the file and reads it",
        endAgainstArrival,
      ),
      {
        name: "ends-with-anybody",
        says: "they go with each area",
        expects: "breaks",
        build: (graph) => endAgainstArrival(leafOf61, endsWithAnybody, graph),
      },
    ],
  },
];
