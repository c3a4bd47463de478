/**
 * What has been added to all elements of many runs, and is not written there yet: one number for each set of runs, however
 * long. Whoever is about to look at an element asks whether its section is owed anything, and has the sums of the runs
 * that reach into it written down first.
 */

/** A set of runs `[first, end)` of an array's elements, in any order, disjoint. It never changes. */
export class Runs {
  readonly firsts: Int32Array;
  readonly ends: Int32Array;
  /** Elements of all runs. */
  readonly length: number;
  /** What was asked for last, and the answer. */
  private shift = -1;
  private known: Int32Array = new Int32Array(0);

  constructor(runs: readonly { readonly first: number; readonly end: number }[]) {
    this.firsts = Int32Array.from(runs, ({ first }) => first);
    this.ends = Int32Array.from(runs, ({ end }) => end);
    this.length = runs.reduce((sum, { first, end }) => sum + end - first, 0);
  }

  get count(): number {
    return this.firsts.length;
  }

  /** The sections of 2^shift elements that they reach into, each once, in ascending order. */
  sections(shift: number): Int32Array {
    if (this.shift !== shift) {
      this.shift = shift;
      this.known = this.findSections(shift);
    }
    return this.known;
  }

  private findSections(shift: number): Int32Array {
    const found = new Set<number>();
    for (let run = 0; run < this.count; run++) {
      for (let at = this.firsts[run]! >>> shift; at <= (this.ends[run]! - 1) >>> shift; at++) found.add(at);
    }
    return Int32Array.from(found).sort();
  }
}

interface Debt {
  sum: number;
  readonly sections: Int32Array;
}

export class OwedSums {
  private readonly shift: number;
  /** By section: how many sets owe it something. */
  private readonly debts: Uint16Array;
  private readonly sets = new Map<Runs, Debt>();

  constructor(shift: number, sections: number) {
    this.shift = shift;
    this.debts = new Uint16Array(sections);
  }

  isOwed(section: number): boolean {
    return this.debts[section] !== 0;
  }

  /** What is owed to each element of the runs. */
  of(runs: Runs): number {
    return this.sets.get(runs)?.sum ?? 0;
  }

  /** One more sum; for runs that nothing was owed to, their sections are told to `begin`. */
  add(runs: Runs, delta: number, begin: (section: number) => void): void {
    const known = this.sets.get(runs);
    if (known !== undefined) {
      known.sum += delta;
      return;
    }
    const sections = runs.sections(this.shift);
    for (const section of sections) {
      begin(section);
      this.debts[section]!++;
    }
    this.sets.set(runs, { sum: delta, sections });
  }

  /** The sums of all runs that reach into the section are owed no longer: they are told to `pay`. */
  settle(section: number, pay: (first: number, end: number, delta: number) => void): void {
    const due = [...this.sets].filter(([, { sections }]) => sections.includes(section));
    for (const [runs, { sections }] of due) {
      this.sets.delete(runs);
      for (const each of sections) this.debts[each]!--;
    }
    for (const [{ firsts, ends, count }, { sum }] of due) {
      for (let run = 0; run < count; run++) pay(firsts[run]!, ends[run]!, sum);
    }
  }
}
