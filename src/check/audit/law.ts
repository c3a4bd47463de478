/**
 * A law is one thing that is true of a machine whenever no kernel path is under way, stated in one sentence and checked
 * by recomputing it from the words of memory. Laws share no code with the kernel but the accessors of single bits.
 */
import type { Census } from "./census.ts";

export interface Law {
  readonly name: string;
  /** One sentence; the documentation lists them. */
  readonly statement: string;
  /** Says, one sentence each, where the law does not hold. */
  readonly check: (census: Census, report: (what: string) => void) => void;
}

export interface Violation {
  readonly law: string;
  readonly what: string;
}
