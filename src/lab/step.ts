/**
 * Steps through a trace: for each chosen operation the state before and after, in the state notation, and one sentence
 * that says what happened and why. The sentence is made from what the machine counted meanwhile.
 */
import { UsageError } from "../base/errors.ts";
import { didYouMean } from "../base/nearest.ts";
import { describe } from "../check/describe.ts";
import { FETCH, LOAD } from "../hw/access.ts";
import type { Machine } from "../machine.ts";
import type { Counters } from "../mm/counters.ts";
import type { Operation, ReplayObserver } from "./replay.ts";
import { callText } from "./step-call.ts";

export interface StepSelection {
  /** Operations `[from, to)`, by number. */
  readonly from: number;
  readonly to: number;
  /** Only these: `fault`, an event's name, or a call's. Empty: all. */
  readonly only: ReadonlySet<string>;
  /** The whole state, or only the lines that an operation changes. */
  readonly show: "whole" | "changes";
}

/** Thrown to end a replay early: everything asked for has been printed. */
export class SteppedEnough extends Error {}

export class Stepper implements ReplayObserver {
  /** Operations printed. */
  printed = 0;
  /** What operations there were, by name: for a person who asked for one that never came. */
  readonly seen = new Set<string>();
  private readonly machine: Machine;
  private readonly selection: StepSelection;
  private readonly print: (text: string) => void;
  private stateBefore: string[] = [];
  private countedBefore: Counted = {};

  constructor(machine: Machine, selection: StepSelection, print: (text: string) => void) {
    this.machine = machine;
    this.selection = selection;
    this.print = print;
  }

  before(operation: Operation): void {
    if (operation.number >= this.selection.to) throw new SteppedEnough();
    if (!this.chosen(operation)) return;
    this.stateBefore = this.state();
    this.countedBefore = counted(this.machine.kernel.counters);
  }

  after(operation: Operation): void {
    if (!this.chosen(operation)) return;
    const before = this.stateBefore;
    const after = this.state();
    const changes = difference(counted(this.machine.kernel.counters), this.countedBefore);
    const { number, record, thread } = operation;
    const who = thread === undefined ? "nobody" : thread.process.name;
    const head = `#${number}  ${who}: ${operationText(operation)}   (record ${record})`;
    const states = this.selection.show === "whole" ? wholeStates(before, after) : changedLines(before, after);
    this.print(`${[head, ...states, `  ${sentence(operation, changes)}`].join("\n")}\n\n`);
    this.printed++;
  }

  /** Complains if a person asked for operations that the trace does not have. */
  requirePrinted(): void {
    if (this.printed > 0) return;
    const names = [...this.seen].sort();
    const missing = [...this.selection.only].find((name) => !this.seen.has(name));
    if (missing === undefined)
      throw new UsageError(`no operation from ${this.selection.from} to ${this.selection.to} was chosen`);
    throw new UsageError(
      `--only ${missing}: no such operation there${didYouMean(missing, names)}; there are ${names.join(", ")}`,
    );
  }

  private chosen(operation: Operation): boolean {
    const { from, to, only } = this.selection;
    const name = operationName(operation);
    this.seen.add(name);
    return operation.number >= from && operation.number < to && (only.size === 0 || only.has(name));
  }

  private state(): string[] {
    const lines = describe(this.machine).split("\n").slice(0, -1);
    return this.selection.show === "whole" ? lines : named(lines);
  }
}

/** The state with the process's name on each of its lines, not only on the first: for lines shown alone. */
function named(lines: readonly string[]): string[] {
  let name = "";
  return lines.map((line) => {
    const isContinued = line.startsWith(" ");
    if (!isContinued) name = line.split(" ", 1)[0] as string;
    return isContinued ? name + line.slice(name.length) : line;
  });
}

/** What an operation is called in --only. */
export function operationName({ what }: Operation): string {
  return what.op === "call" ? what.name : what.op;
}

function operationText({ what }: Operation): string {
  if (what.op === "fault") {
    const kind = what.kind === FETCH ? "fetch from" : what.kind === LOAD ? "load from" : "store to";
    return `fault: ${kind} page 0x${what.page.toString(16)}`;
  }
  return callText(what);
}

const CONTEXT_INDENT = "    ";

function wholeStates(before: readonly string[], after: readonly string[]): string[] {
  const indented = (lines: readonly string[]): string[] => lines.map((line) => CONTEXT_INDENT + line);
  return ["  before", ...indented(before), "  after", ...indented(after)];
}

/** The lines that went (-) and came (+), each run of them under the last area line above it that stayed. */
function changedLines(before: readonly string[], after: readonly string[]): string[] {
  const gone = multiset(before);
  const come = multiset(after);
  for (const [line, times] of gone) {
    const both = Math.min(times, come.get(line) ?? 0);
    gone.set(line, times - both);
    come.set(line, (come.get(line) ?? 0) - both);
  }
  const removed = taken(before, gone).map((line) => `  - ${line}`);
  const added = taken(after, come).map((line) => `  + ${line}`);
  if (removed.length + added.length === 0) return ["  (no area, entry or frame changes)"];
  return [...shortened(removed), ...shortened(added), `  (${after.length - added.length} lines unchanged)`];
}

/** More lines than these say little: the rest is counted. */
const MOST_LINES = 24;

function shortened(lines: readonly string[]): readonly string[] {
  if (lines.length <= MOST_LINES) return lines;
  const sign = (lines[0] as string).slice(0, 3);
  return [...lines.slice(0, MOST_LINES), `${sign} ... and ${lines.length - MOST_LINES} lines more; --whole shows all`];
}

function multiset(lines: readonly string[]): Map<string, number> {
  const times = new Map<string, number>();
  for (const line of lines) times.set(line, (times.get(line) ?? 0) + 1);
  return times;
}

/** The lines, in order, of which `left` says that so many are left. */
function taken(lines: readonly string[], left: Map<string, number>): string[] {
  return lines.filter((line) => {
    const times = left.get(line) ?? 0;
    if (times > 0) left.set(line, times - 1);
    return times > 0;
  });
}

type Counted = Record<string, number>;

const counted = (counters: Counters): Counted => ({ ...counters }) as unknown as Counted;

function difference(after: Counted, before: Counted): Counted {
  const changes: Counted = {};
  for (const [name, value] of Object.entries(after)) changes[name] = value - (before[name] ?? 0);
  return changes;
}

/** What a fault did, told by the counter that it moved; the first that moved tells. */
const repairs: readonly (readonly [counter: keyof Counters, why: string])[] = [
  [
    "areaFaults",
    "What is mapped there has no struct page, and the area says so: the writer's copy gets an area of its own, for which the semaphore is given up and taken for writing.",
  ],
  [
    "stackExpansions",
    "The page lies below the stack, which grows down to it; the page itself is then made as any anonymous page.",
  ],
  [
    "zeroPageFaults",
    "Nothing was ever written there, so the read is given the one page of zeros, read-only: no memory is spent until a write.",
  ],
  ["anonymousFaults", "The first write to an anonymous page: a frame is zeroed and mapped writable."],
  [
    "privateFileFaults",
    "The first write to a private page of a file: the file's page is copied at once, so that the file keeps its own.",
  ],
  [
    "sharedWriteFaults",
    "The first write through a shared mapping: the file's own page is mapped, for everyone who maps it.",
  ],
  ["reusedPages", "The page is mapped read-only, but nobody else has it any more: it is made writable without a copy."],
  [
    "copyOnWriteFaults",
    "The page also belongs to its file or to another process, which must not see the write: the writer gets a copy.",
  ],
  ["writeNotifyFaults", "The page was kept read-only to notice the first write; the file now knows that it is dirty."],
  ["fileReadFaults", "The page of the file is in the page cache, or is brought in, and is mapped."],
  ["rawFaults", "What lies there has no struct page: the entry names it, and nothing is counted or chained."],
  ["spuriousFaults", "The entry is already good: somebody else repaired it, or a TLB kept an old translation."],
  ["outOfMemoryFaults", "There is no memory left: the process is killed."],
  ["signalFaults", "No area allows this access: the process gets its signal."],
];

/** What any operation may have done besides. */
const effects: readonly (readonly [counter: keyof Counters, text: (count: number) => string])[] = [
  ["faultAroundPages", (n) => `${plural(n, "cached page")} around it ${n === 1 ? "is" : "are"} mapped as well`],
  ["tablesAllocated", (n) => `${plural(n, "page table")} ${n === 1 ? "is" : "are"} made`],
  ["tablesFreed", (n) => `${plural(n, "page table")} ${n === 1 ? "is" : "are"} freed`],
  ["ptesZapped", (n) => `${plural(n, "entry", "entries")} cleared`],
  ["ptesMoved", (n) => `${plural(n, "entry", "entries")} moved`],
  ["tablesMoved", (n) => `${plural(n, "whole table")} re-hung`],
  ["ptesProtected", (n) => `${plural(n, "entry", "entries")} given other rights`],
  ["ptesCopied", (n) => `${plural(n, "entry", "entries")} copied to the child`],
  [
    "ptesWriteProtected",
    (n) => `${plural(n, "entry", "entries")} made read-only on both sides, so that the first write copies`,
  ],
  ["pagesPopulated", (n) => `${plural(n, "page")} made present beforehand`],
  ["tlbInvalidations", (n) => `${plural(n, "page")} flushed from TLBs`],
  ["tlbReloads", (n) => `${n === 1 ? "one TLB" : `${n} TLBs`} flushed whole`],
  ["tlbShootdowns", (n) => `${plural(n, "other CPU")} interrupted to flush`],
];

const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

function sentence({ what }: Operation, changes: Counted): string {
  const did = effects.flatMap(([counter, text]) =>
    (changes[counter] ?? 0) > 0 ? [text(changes[counter] as number)] : [],
  );
  if (what.op === "fault") {
    const repair = repairs.find(([counter]) => (changes[counter] ?? 0) > 0);
    const why = repair?.[1] ?? "The access could not be translated.";
    return did.length === 0 ? why : `${why} ${capital(did.join("; "))}.`;
  }
  if (did.length === 0) return "Only the list of areas is concerned: page tables follow when pages are touched.";
  return `${capital(did.join("; "))}.`;
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
