/** The options of the axis `tlbFlush`. */
import type { Tunables } from "../../tunables.ts";
import type { FlushParts, TlbFlush } from "../tlb-flush.ts";
import { PerPage } from "./per-page.ts";
import { PerRange } from "./per-range.ts";
import { WholeMm } from "./whole-mm.ts";

export const tlbFlushes = {
  "per-page": (parts: FlushParts): TlbFlush => new PerPage(parts),
  "per-range": (parts: FlushParts, tunables: Tunables): TlbFlush =>
    new PerRange(parts, tunables.singlePageFlushCeiling),
  "whole-mm": (parts: FlushParts): TlbFlush => new WholeMm(parts),
} as const satisfies Record<string, (parts: FlushParts, tunables: Tunables) => TlbFlush>;
