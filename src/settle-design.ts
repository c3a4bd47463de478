/** From what a person has asked for to a design that can be built: rules move what nobody has named, or say why there is none. */
import { UsageError } from "./base/errors.ts";
import { type AxisName, type Design, requireAxis, requireOption } from "./design.ts";
import { designRules, type Rule } from "./design-rules.ts";

/** An option that a rule moved. */
export interface Move {
  readonly axis: AxisName;
  readonly from: string;
  readonly to: string;
  readonly reason: string;
}

/** A design that can be built, with what had to be moved for it; or why there is none. */
export type Settled =
  | { readonly design: Design; readonly moves: readonly Move[]; readonly illegal?: never }
  | { readonly illegal: string };

/**
 * Applies the rules to a design in which the axes of `asked` were asked for by name: those never move, the others
 * follow where a rule couples them.
 */
export function settleDesign(design: Design, asked: ReadonlySet<AxisName>, rules = designRules): Settled {
  const moves: Move[] = [];
  let settled = design;
  for (;;) {
    const broken = rules.find((rule) => holds(rule.when, settled));
    if (broken === undefined) return { design: settled, moves };
    const isFree = ([axis]: [AxisName, string]) => !asked.has(axis) && moves.every((move) => move.axis !== axis);
    const ways = [broken.instead ?? {}, broken.otherwise ?? {}].map((way) =>
      entriesOf(way).filter(([axis, to]) => settled[axis] !== to),
    );
    const coupled = ways.find((way) => way.length > 0 && way.every(isFree));
    if (coupled === undefined) return { illegal: `${describeCell(broken.when)}: ${broken.reason}` };
    for (const [axis, to] of coupled) moves.push({ axis, from: settled[axis], to, reason: broken.reason });
    settled = { ...settled, ...Object.fromEntries(coupled) };
  }
}

/** The options that a person named, over those of `base`. An unknown word or an illegal combination is a UsageError. */
export function parseDesign(
  chosen: Readonly<Record<string, unknown>>,
  base: Design,
  rules: readonly Rule[] = designRules,
): Design {
  const asked = new Set<AxisName>();
  const design: Record<AxisName, string> = { ...base };
  for (const [axis, option] of Object.entries(chosen)) {
    requireAxis(axis);
    design[axis] = requireOption(axis, option);
    asked.add(axis);
  }
  const settled = settleDesign(design as Design, asked, rules);
  if (settled.illegal !== undefined) throw new UsageError(`illegal design: ${settled.illegal}`);
  return settled.design;
}

const entriesOf = (part: Partial<Design>): [AxisName, string][] => Object.entries(part) as [AxisName, string][];

const holds = (cell: Partial<Design>, design: Design): boolean =>
  entriesOf(cell).every(([axis, option]) => design[axis] === option);

const describeCell = (cell: Partial<Design>): string =>
  entriesOf(cell)
    .map(([axis, option]) => `${axis}=${option}`)
    .join(" with ");
