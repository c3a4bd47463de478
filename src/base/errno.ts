/** Linux's error numbers, as system calls return them: negated, in the same number as a result. */
export const EPERM = 1;
export const ENOENT = 2;
export const EIO = 5;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EFAULT = 14;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const EINVAL = 22;
export const ETXTBSY = 26;
export const EFBIG = 27;
export const ENOSPC = 28;
export const ENOSYS = 38;
export const EIDRM = 43;
export const EOVERFLOW = 75;
export const EOPNOTSUPP = 95;

const names: ReadonlyMap<number, string> = new Map(
  Object.entries({
    EPERM,
    ENOENT,
    EIO,
    EBADF,
    EAGAIN,
    ENOMEM,
    EACCES,
    EFAULT,
    EBUSY,
    EEXIST,
    ENODEV,
    EINVAL,
    ETXTBSY,
    EFBIG,
    ENOSPC,
    ENOSYS,
    EIDRM,
    EOVERFLOW,
    EOPNOTSUPP,
  }).map(([name, value]) => [value, name]),
);

/** `ENOMEM` for 12 or -12; `E99` for a number that has no name here. */
export function errnoName(errno: number): string {
  const positive = Math.abs(errno);
  return names.get(positive) ?? `E${positive}`;
}
