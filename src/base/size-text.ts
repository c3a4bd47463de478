/** Sizes as people write and read them: binary units, `64G` in, `64.0 GiB` out. */
import { UsageError } from "./errors.ts";

const UNITS = ["", "K", "M", "G", "T", "P"] as const;

/** Bytes of `4096`, `4K`, `64G`, `1.5T`, `64GiB`. Units are binary; a plain number is bytes. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:iB|B)?$/i.exec(text.trim());
  if (!match) throw new UsageError(`"${text}" is not a size; write a number of bytes, or 4K, 2M, 64G, 1.5T`);
  const unit = (UNITS as readonly string[]).indexOf(match[2].toUpperCase());
  const bytes = Number(match[1]) * 1024 ** unit;
  if (!Number.isInteger(bytes)) throw new UsageError(`"${text}" is not a whole number of bytes`);
  if (!Number.isSafeInteger(bytes)) throw new UsageError(`"${text}" is too large: sizes end at 8 PiB`);
  return bytes;
}

/** `1.50 GiB`: three significant digits; below a kibibyte `17 B`. */
export function formatSize(bytes: number): string {
  if (bytes < 0) return `-${formatSize(-bytes)}`;
  if (bytes < 1024) return `${bytes} B`;
  let unit = 0;
  let value = bytes;
  // 1023.5 would print as 1024: it belongs to the next unit.
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const decimals = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(decimals)} ${UNITS[unit]}iB`;
}
