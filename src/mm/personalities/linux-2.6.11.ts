/** Linux 2.6.11 of March 2005: areas placed bottom-up, anon_vmas shared by families, no guard below a stack. */
import type { Personality } from "../personality.ts";

export const linux2611: Personality = {
  name: "linux-2.6.11",
  anonVmas: "simple",
  placement: "bottom-up-cached",
  stackGuardPages: 0,
  lowestPage: 0,
  writeReuse: "counts",
  faultAround: "none",
  calls: {},
};
