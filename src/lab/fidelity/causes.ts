/** Why a prediction from a recording differs from a native run: what the recorder could not see, and what it changed. */

export const causes = {
  cpu: "the C library chooses its string functions by the CPU it finds, and the recorder's has fewer features: other pages of libc are fetched, and others are mapped around them",
  vdso: "the recorder shows the program no vdso: the dynamic linker allocates less, in another order, and clock calls touch no page of vdso and vvar",
  environment:
    "strings and pointers that exec writes lie elsewhere within the stack's pages: the recorder's environment and auxiliary vector are not the native run's (with another locale, other files are mapped too: measure in the environment of the recording)",
  hashing: "the program draws random numbers (hash seeds, temporary names), so no two runs touch quite the same pages",
  order: "several processes run at once, and who writes to a shared page first is decided by time",
} as const;

export type Cause = keyof typeof causes;
export const causeNames = Object.keys(causes) as [Cause, ...Cause[]];

/** What may be the cause, for all that is known of a recorder. */
export const possibleCauses: readonly Cause[] = ["cpu", "vdso", "environment"];
