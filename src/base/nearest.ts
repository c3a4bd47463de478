/** "Did you mean": the known word that is nearest to one that somebody typed. */

/**
 * The candidate within a third of the word's length in edits (one edit, if that is less, but never all of the word);
 * else the first that the word abbreviates, as `revMap` does `reverseMap`; or undefined.
 */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const wanted = normal(word);
  let best: string | undefined;
  let bestDistance = Math.min(Math.max(1, Math.floor(wanted.length / 3)), wanted.length - 1) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(wanted, normal(candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best ?? candidates.find((candidate) => abbreviates(wanted, normal(candidate)));
}

/** Whether `short`, of three letters or more, starts as `long` does and leaves out some of its letters. */
function abbreviates(short: string, long: string): boolean {
  if (short.length < 3 || short[0] !== long[0]) return false;
  let at = 0;
  for (const letter of long) if (letter === short[at]) at++;
  return at === short.length;
}

/** ` (did you mean "x"?)`, or nothing: to append to an error's first half. */
export function didYouMean(word: string, candidates: readonly string[]): string {
  const candidate = nearest(word, candidates);
  return candidate === undefined ? "" : ` (did you mean "${candidate}"?)`;
}

/** Case and separators do not count: `ReverseMap`, `reverse-map` and `reverse_map` are one word. */
const normal = (word: string): string => word.toLowerCase().replaceAll(/[-_ ]/g, "");

/** Levenshtein's distance, with two swapped neighbours counted as one edit. */
function editDistance(from: string, to: string): number {
  let twoAbove: number[] = [];
  let above = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const changed = from[row - 1] === to[column - 1] ? 0 : 1;
      let cost = Math.min(above[column] + 1, current[column - 1] + 1, above[column - 1] + changed);
      const swapped = row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      if (swapped) cost = Math.min(cost, twoAbove[column - 2] + 1);
      current.push(cost);
    }
    twoAbove = above;
    above = current;
  }
  return above[to.length];
}
