/**
 * The machine on which programs are compared with the recorded answers of a real one: one CPU, far more memory than
 * any program uses, and a kernel preset.
 */

import type { Design } from "../design.ts";
import { rulesWith } from "../design-rules.ts";
import { parseGeometry } from "../geometry.ts";
import { type PagingFormatName, pagingFormats } from "../hw/paging-format.ts";
import { Machine } from "../machine.ts";
import { kernelPreset, type MachineSpec } from "../presets.ts";
import { parseDesign } from "../settle-design.ts";
import { parseRecord } from "../size-schema.ts";
import { tunablesSchema } from "../tunables.ts";

const MEMORY = "256M";
/** Of which a 32-bit kernel has so much always mapped: the rest is highmem. */
const LOWMEM = "96M";
/** Memory without struct pages, for programs whose files are that. */
const SEGMENT = "4M";
/** A small TLB of the time when each format came up: programs this short fill no other. */
const tlbs = { i386: "p6", pae: "p6", "x86-64": "k8", "x86-64-la57": "icelake" } as const;

/** What such a machine is made from. */
export function oracleSpec(paging: PagingFormatName, kernel: string, design: Partial<Design> = {}): MachineSpec {
  const preset = kernelPreset(kernel);
  return {
    geometry: parseGeometry({
      memoryBytes: MEMORY,
      paging,
      tlb: tlbs[paging],
      bootMemory: "none",
      segments: SEGMENT,
      lowmemBytes: pagingFormats[paging].vaddrBits === 32 ? LOWMEM : null,
    }),
    design: parseDesign(design, preset.design, rulesWith(paging)),
    tunables: parseRecord(tunablesSchema, "tunables", preset.tunables),
    kernel: preset.personality,
    seed: 0,
  };
}

export const oracleMachine = (paging: PagingFormatName): Machine => new Machine(oracleSpec(paging, "linux-6.1"));
