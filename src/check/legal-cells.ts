/**
 * All legal cells of the design space, in an order: how many there are, and the one of a given number, without making the
 * others. Axes are chosen one after the other; what the choices so far leave of the rules decides how many ways there are to
 * go on, and few different leavings occur, so that each is counted once.
 *
 *     rule  a=1 + c=2, after a=1   ->   left: c=2        after a=0   ->   left: nothing, the rule cannot be broken any more
 */
import { bug, UsageError } from "../base/errors.ts";
import { designRules, rulesWith } from "../design-rules.ts";
import type { PagingFormatName } from "../hw/paging-format.ts";
import { type Cell, type Choices, coveringCells, everyChoice } from "./cells.ts";

/** A combination that is ruled out: what is still to be chosen for it. */
type Ruled = readonly (readonly [axis: string, option: string])[];

export class LegalCells {
  readonly count: bigint;
  private readonly axes: readonly string[];
  private readonly choices: Choices;
  private readonly counted = new Map<string, bigint>();

  /** The first axis of `choices` is the paging format, or the rules are those that hold with all. */
  constructor(choices: Choices) {
    this.choices = choices;
    this.axes = Object.keys(choices);
    this.count = this.countFrom(0, ruled());
  }

  /** The legal cell of that number, below `count`. */
  at(number: bigint): Cell {
    const cell: Record<string, string> = {};
    let left = number;
    let rules = ruled();
    this.axes.forEach((axis, depth) => {
      for (const option of this.choices[axis]!) {
        const after = chosen(rules, axis, option);
        const ways = after === undefined ? 0n : this.countFrom(depth + 1, after);
        if (left < ways) {
          cell[axis] = option;
          rules = after!;
          return;
        }
        left -= ways;
      }
      bug(`there is no legal cell ${number}: there are ${this.count}`);
    });
    return cell;
  }

  /** Of all cells that many, far apart from each other, and no two alike; fewer are the first of more. */
  *spread(most: number): Generator<Cell> {
    const step = coprimeBelow((this.count * GOLDEN_RATIO) / 1000n, this.count);
    for (let i = 0n; i < most && i < this.count; i++) yield this.at((i * step) % this.count);
  }

  /** Legal cells that begin as chosen, with these rules left. */
  private countFrom(depth: number, rules: readonly Ruled[]): bigint {
    if (depth === this.axes.length) return 1n;
    const key = `${depth} ${rules.map((rule) => rule.map((pair) => pair.join("=")).join("+")).join(" ")}`;
    const known = this.counted.get(key);
    if (known !== undefined) return known;
    let count = 0n;
    const axis = this.axes[depth]!;
    for (const option of this.choices[axis]!) {
      const after = chosen(rules, axis, option);
      if (after !== undefined) count += this.countFrom(depth + 1, after);
    }
    this.counted.set(key, count);
    return count;
  }
}

/** In thousandths. Its multiples lie far apart from each other on a circle, however many there are. */
const GOLDEN_RATIO = 618n;

function coprimeBelow(most: bigint, count: bigint): bigint {
  let number = most;
  while (number > 1n && greatestDivisor(number, count) > 1n) number--;
  return number > 1n ? number : 1n;
}

const greatestDivisor = (one: bigint, other: bigint): bigint =>
  other === 0n ? one : greatestDivisor(other, one % other);

const combination = ({ when }: { readonly when: object }): Ruled => Object.entries(when);

/** The rules before anything is chosen: those of all machines, which the paging format adds to. */
const ruled = (): readonly Ruled[] => designRules.map(combination);

/** What the rules leave once an option is chosen; undefined if it breaks one. */
function chosen(rules: readonly Ruled[], axis: string, option: string): readonly Ruled[] | undefined {
  const all = axis === "paging" ? rulesWith(option as PagingFormatName).map(combination) : rules;
  const left: Ruled[] = [];
  for (const rule of all) {
    const wanted = rule.find(([name]) => name === axis);
    if (wanted !== undefined && wanted[1] !== option) continue;
    const rest = wanted === undefined ? rule : rule.filter(([name]) => name !== axis);
    if (rest.length === 0) return undefined;
    left.push(rest);
  }
  return left;
}

/** Cells by the word that a person gave as `asked`: `pairs`, `triples` (any two or three choices meet in some), or how many, out of all that are legal. */
export function cellsBy(asked: string, word: string): Cell[] {
  if (word === "pairs") return coveringCells(everyChoice, 2);
  if (word === "triples") return coveringCells(everyChoice, 3);
  if (/^[1-9]\d{0,8}$/.test(word)) return [...new LegalCells(everyChoice).spread(Number(word))];
  throw new UsageError(`${asked} ${word}: expected pairs, triples, or how many`);
}
