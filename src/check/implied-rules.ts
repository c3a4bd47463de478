/**
 * What rules rule out together. Where each option of an axis is ruled out by something, all of that together is ruled out as
 * well, whatever the axis: a search that knows it does not go on to find out.
 *
 *     a=1 + b=1    a=2 + c=1    and a is 1 or 2   ->   b=1 + c=1
 */
import type { Cell, Choices } from "./cells.ts";

/** Choices that are ruled out together. */
type Ruled = Readonly<Record<string, string>>;

/** Choices of an implied rule, at most: there are many larger ones, and they are found late anyway. */
const MOST = 3;

/** The rules, and those that follow from them where there is nothing but these choices. */
export function impliedRules(rules: readonly Ruled[], choices: Choices): Ruled[] {
  const known = new Map<string, Ruled>();
  for (const rule of rules) known.set(nameOf(rule), rule);
  for (let before = -1; before < known.size; ) {
    before = known.size;
    for (const [axis, options] of Object.entries(choices))
      for (const rule of without(axis, options, [...known.values()])) known.set(nameOf(rule), rule);
  }
  return [...known.values()];
}

/** What the rules about an axis say together of the other axes. */
function without(axis: string, options: readonly string[], rules: readonly Ruled[]): Ruled[] {
  let unions = new Map<string, Ruled>([["", {}]]);
  for (const option of options) {
    const longer = new Map<string, Ruled>();
    const about = rules.filter((rule) => rule[axis] === option);
    for (const union of unions.values())
      for (const rule of about) {
        const joined = join(union, rule, axis);
        if (joined !== undefined) longer.set(nameOf(joined), joined);
      }
    unions = withoutLonger(longer);
  }
  return [...unions.values()].filter((union) => !rules.some((rule) => holds(rule, union)));
}

/** Both together, but for the axis; undefined if they cannot be, or are many. */
function join(union: Ruled, rule: Ruled, axis: string): Ruled | undefined {
  const joined: Record<string, string> = { ...union };
  for (const [other, option] of Object.entries(rule)) {
    if (other === axis) continue;
    if (joined[other] !== undefined && joined[other] !== option) return undefined;
    joined[other] = option;
  }
  return Object.keys(joined).length <= MOST ? joined : undefined;
}

/** Those of which no other is a part. */
function withoutLonger(unions: ReadonlyMap<string, Ruled>): Map<string, Ruled> {
  const all = [...unions.values()].sort((one, other) => Object.keys(one).length - Object.keys(other).length);
  const kept: Ruled[] = [];
  for (const union of all) if (!kept.some((shorter) => holds(shorter, union))) kept.push(union);
  return new Map(kept.map((union) => [nameOf(union), union]));
}

/** Whether everything that the rule names is chosen. */
export const holds = (rule: Ruled, cell: Cell): boolean =>
  Object.entries(rule).every(([axis, option]) => cell[axis] === option);

const nameOf = (rule: Ruled): string =>
  Object.entries(rule)
    .map(([axis, option]) => `${axis}=${option}`)
    .sort()
    .join(" ");
