/** What a program does to a page. The numbers are those of a trace's records, and the columns of a TLB entry's rights. */
import type { Unit } from "../base/units.ts";

/** FETCH, LOAD or STORE. */
export type Access = Unit<"Access">;

export const FETCH = 0;
export const LOAD = 1;
export const STORE = 2;
