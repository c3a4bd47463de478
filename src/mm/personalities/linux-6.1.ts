/** Linux 6.1: the kernel that "today" means here. */
import type { Personality } from "../personality.ts";

export const linux61: Personality = {
  name: "linux-6.1",
  anonVmas: "chained",
  placement: "top-down",
  stackGuardPages: 256,
  lowestPage: 16,
  writeReuse: "exclusive-bit",
  faultAround: "aligned-window",
  calls: {},
};
