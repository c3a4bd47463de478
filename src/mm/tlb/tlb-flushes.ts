/** The TLB flush strategies by the names that the design space gives them. */
import type { Tunables } from "../../tunables.ts";
import type { FlushParts, TlbFlush } from "../tlb-flush.ts";
import { PerPage } from "./per-page.ts";
import { PerRange } from "./per-range.ts";
import { WholeMm } from "./whole-mm.ts";

export const tlbFlushes = {
  "per-page": (parts) => new PerPage(parts),
  "per-range": (parts, tunables) => new PerRange(parts, tunables.singlePageFlushCeiling),
  "whole-mm": (parts) => new WholeMm(parts),
} as const satisfies Record<string, (parts: FlushParts, tunables: Tunables) => TlbFlush>;
