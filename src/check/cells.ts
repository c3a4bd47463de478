/**
 * The design space as tests and campaigns walk it: cells of one choice on each axis, a paging format and a kernel. The whole
 * product is far too large to run; few cells are enough for every legal pair of choices to meet in some cell, and a few
 * hundred for every three.
 *
 * Cells are made one by one: a group of choices that has not met yet is completed, axis by axis, with what brings most new
 * groups together and breaks no rule; where a rule leaves nothing, the search goes back (AETG with backtracking).
 *
 *     reverseMap=none + mlock=chained missing  ->  none chained lowmem ... i386 linux-2.6.11
 */
import { axisNames, type Design, soundOptionsOf } from "../design.ts";
import { designRules, rulesWith } from "../design-rules.ts";
import { type PagingFormatName, pagingFormats } from "../hw/paging-format.ts";
import { kernelPresets } from "../presets.ts";
import { holds, impliedRules } from "./implied-rules.ts";

/** One choice on each axis of the design space, a paging format and a kernel. */
export type Cell = Readonly<Record<string, string>>;

/** What may be chosen on each axis. */
export type Choices = Readonly<Record<string, readonly string[]>>;

/** Everything that there is to choose, but for what is unsound. The paging format comes first: which rules hold depends on it. */
export const everyChoice: Choices = {
  paging: Object.keys(pagingFormats),
  kernel: Object.keys(kernelPresets),
  ...Object.fromEntries(axisNames.map((axis) => [axis, soundOptionsOf(axis)])),
};

/** The design of a whole cell. */
export const designOf = (cell: Cell): Design =>
  Object.fromEntries(axisNames.map((axis) => [axis, cell[axis]])) as Design;

export const nameOfCell = (cell: Cell): string => Object.values(cell).join(" ");

/** Whether what is chosen so far breaks no rule. */
export function isLegal(cell: Cell): boolean {
  const { paging } = cell;
  const rules = paging === undefined ? designRules : rulesWith(paging as PagingFormatName);
  return !rules.some(({ when }) => Object.entries(when).every(([axis, option]) => cell[axis] === option));
}

/** Few legal cells, in which any two (or `size`) choices of different axes that may meet do so. */
export function coveringCells(choices: Choices = everyChoice, size = 2): Cell[] {
  const missing = new Set(groupsOf(choices, size));
  const isOpen = openCells(choices);
  const found: Cell[] = [];
  for (const group of missing) {
    const cell = new Completion(choices, size, missing, isOpen).of(parseGroup(group));
    if (cell === undefined) {
      missing.delete(group);
      continue;
    }
    for (const met of groupsIn(cell, size)) missing.delete(met);
    found.push(cell);
  }
  return found;
}

/** Tells whether a part of a cell may be completed: no rule is broken, nor any that follows from them with these choices. */
function openCells(choices: Choices): (cell: Cell) => boolean {
  const known = new Map<string | undefined, ReturnType<typeof impliedRules>>();
  return (cell) => {
    const { paging } = cell;
    let implied = known.get(paging);
    if (implied === undefined) {
      const rules = paging === undefined ? designRules : rulesWith(paging as PagingFormatName);
      implied = impliedRules(
        rules.map(({ when }) => when),
        choices,
      );
      known.set(paging, implied);
    }
    return !implied.some((rule) => holds(rule, cell));
  };
}

/** Completes a part of a cell, one axis after the other. */
class Completion {
  private readonly choices: Choices;
  private readonly size: number;
  private readonly missing: ReadonlySet<string>;
  private readonly isOpen: (cell: Cell) => boolean;

  constructor(choices: Choices, size: number, missing: ReadonlySet<string>, isOpen: (cell: Cell) => boolean) {
    this.choices = choices;
    this.size = size;
    this.missing = missing;
    this.isOpen = isOpen;
  }

  /** The whole cell, its axes in the order of the choices; undefined if every one breaks a rule. */
  of(part: Cell): Cell | undefined {
    if (!this.isOpen(part)) return undefined;
    const axes = Object.keys(this.choices);
    const axis = axes.find((name) => part[name] === undefined);
    if (axis === undefined) return Object.fromEntries(axes.map((name) => [name, part[name]!]));
    const better = this.choices[axis]!.map((option) => ({ option, brings: this.brings(part, axis, option) }));
    // The order of the table decides between equals, so that the cells are the same in each run.
    better.sort((one, other) => other.brings - one.brings);
    for (const { option } of better) {
      const cell = this.of({ ...part, [axis]: option });
      if (cell !== undefined) return cell;
    }
    return undefined;
  }

  /** How many groups that have not met would do so. */
  private brings(part: Cell, axis: string, option: string): number {
    let count = 0;
    for (const group of groupsIn(part, this.size - 1)) {
      const whole = formatGroup({ ...parseGroup(group), [axis]: option }, this.choices);
      if (this.missing.has(whole)) count++;
    }
    return count;
  }
}

/** `a=x b=y`, axes in the order of the choices. */
function formatGroup(part: Cell, choices: Choices): string {
  const axes = Object.keys(choices).filter((axis) => part[axis] !== undefined);
  return axes.map((axis) => `${axis}=${part[axis]}`).join(" ");
}

const parseGroup = (group: string): Cell =>
  Object.fromEntries(group.split(" ").map((word) => word.split("=") as [string, string]));

/** Every group of that many choices of different axes. */
function groupsOf(choices: Choices, size: number): string[] {
  const axes = Object.keys(choices);
  const from = (first: number, left: number): string[][] => {
    if (left === 0) return [[]];
    return axes.slice(first).flatMap((axis, skipped) => {
      const rest = from(first + skipped + 1, left - 1);
      return choices[axis]!.flatMap((option) => rest.map((words) => [`${axis}=${option}`, ...words]));
    });
  };
  return from(0, size).map((words) => words.join(" "));
}

/** The groups of that many choices that meet in a cell, or in a part of one. */
function groupsIn(cell: Cell, size: number): string[] {
  return groupsOf(Object.fromEntries(Object.entries(cell).map(([axis, option]) => [axis, [option]])), size);
}
