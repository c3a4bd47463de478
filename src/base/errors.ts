/**
 * The two kinds of failure that are thrown. Outcomes of the simulated world are values (`>= 0` or `-ENOMEM`), never
 * exceptions; these two are for us and for the person at the keyboard.
 */

/** A bug of ours: an invariant is broken. Carries a dump of the machine's state where one can be had. */
export class KernelBug extends Error {
  override readonly name = "KernelBug";
  /** The state notation at the time of the bug; filled in by whoever can print it. */
  state: string | undefined;
}

/** A person's bad input: says which file and place, what was found, what was expected, what to do. Exit status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Reports a broken invariant. */
export function bug(message: string): never {
  throw new KernelBug(message);
}
