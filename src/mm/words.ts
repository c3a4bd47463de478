/**
 * The arithmetic of `unsigned long`: numbers that programs pass reach 2^64 and wrap there (on 32 bits at 2^32), where
 * doubles only grow. Sums and roundings are exact below 2^53 and, for whole pages, up to the top.
 */
import type { AddressLayout } from "./layout.ts";

/** One more than the greatest unsigned long. */
export const wordLimit = (layout: AddressLayout): number => (layout.abi === "i386" ? 2 ** 32 : 2 ** 64);

/** `value` as an unsigned long: negative numbers are two's complement. */
export function unsigned(layout: AddressLayout, value: number): number {
  const limit = wordLimit(layout);
  if (value >= limit) return limit === 2 ** 64 ? limit - UNREPRESENTABLE : value % limit;
  if (value >= 0) return value;
  const wrapped = value + limit;
  return wrapped === limit ? limit - UNREPRESENTABLE : wrapped;
}

/** -1 and its neighbours have no double beside 2^64; the greatest one below stands for them, unaligned as they are. */
const UNREPRESENTABLE = 2048;

/** The sum of two unsigned longs, as it wraps. What stands for -1 and its neighbours is taken for -1. */
export function sumWrapped(layout: AddressLayout, one: number, other: number): number {
  const limit = wordLimit(layout);
  if (other === 0) return one;
  if (limit === 2 ** 64 && one === limit - UNREPRESENTABLE) return other - 1;
  return (one + other) % limit;
}

/** Rounds up to a whole page, as programs know pages, without the wrap. */
export const alignUp = ({ pageBytes }: AddressLayout, bytes: number): number =>
  Math.ceil(bytes / pageBytes) * pageBytes;
/** Rounds down to a whole page. */
export const alignDown = ({ pageBytes }: AddressLayout, bytes: number): number =>
  Math.floor(bytes / pageBytes) * pageBytes;
/** Whether it is a whole number of pages. */
export const isAligned = ({ pageBytes }: AddressLayout, bytes: number): boolean => bytes % pageBytes === 0;

/** PAGE_ALIGN: rounds up, and wraps to 0 at the top. */
export function alignUpWrapped(layout: AddressLayout, bytes: number): number {
  const aligned = alignUp(layout, bytes);
  return aligned >= wordLimit(layout) ? 0 : aligned;
}
