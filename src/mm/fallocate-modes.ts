/** Which modes of fallocate may come together: checked before anyone asks what the file can do. */
import { EINVAL, EOPNOTSUPP } from "../base/errno.ts";

export const FALLOC_KEEP_SIZE = 0x01;
export const FALLOC_PUNCH_HOLE = 0x02;
export const FALLOC_COLLAPSE_RANGE = 0x08;
export const FALLOC_ZERO_RANGE = 0x10;
export const FALLOC_INSERT_RANGE = 0x20;
export const FALLOC_UNSHARE_RANGE = 0x40;
const WITHOUT_SIZE =
  FALLOC_PUNCH_HOLE | FALLOC_COLLAPSE_RANGE | FALLOC_ZERO_RANGE | FALLOC_INSERT_RANGE | FALLOC_UNSHARE_RANGE;

/**
 * Modes are flags, each with a rule about the others: 0, -EINVAL or -EOPNOTSUPP.
 *
 * @models linux-6.1 fs/open.c vfs_fallocate
 */
export function mixedModes(mode: number): number {
  if ((mode & ~(WITHOUT_SIZE | FALLOC_KEEP_SIZE)) !== 0) return -EOPNOTSUPP;
  if ((mode & FALLOC_PUNCH_HOLE) !== 0 && (mode & FALLOC_ZERO_RANGE) !== 0) return -EOPNOTSUPP;
  if ((mode & FALLOC_PUNCH_HOLE) !== 0 && (mode & FALLOC_KEEP_SIZE) === 0) return -EOPNOTSUPP;
  if ((mode & FALLOC_COLLAPSE_RANGE) !== 0 && mode !== FALLOC_COLLAPSE_RANGE) return -EINVAL;
  if ((mode & FALLOC_INSERT_RANGE) !== 0 && mode !== FALLOC_INSERT_RANGE) return -EINVAL;
  if ((mode & FALLOC_UNSHARE_RANGE) !== 0 && (mode & ~(FALLOC_UNSHARE_RANGE | FALLOC_KEEP_SIZE)) !== 0) return -EINVAL;
  return 0;
}

/**
 * One mode at a time, and KEEP_SIZE where it makes sense: 0 or -EOPNOTSUPP.
 *
 * @models linux-6.18 fs/open.c vfs_fallocate
 */
export function oneMode(mode: number): number {
  const keepsSize = (mode & FALLOC_KEEP_SIZE) !== 0;
  switch (mode & ~FALLOC_KEEP_SIZE) {
    case 0:
    case FALLOC_UNSHARE_RANGE:
    case FALLOC_ZERO_RANGE:
      return 0;
    case FALLOC_PUNCH_HOLE:
      return keepsSize ? 0 : -EOPNOTSUPP;
    case FALLOC_COLLAPSE_RANGE:
    case FALLOC_INSERT_RANGE:
      return keepsSize ? -EOPNOTSUPP : 0;
    default:
      return -EOPNOTSUPP;
  }
}
