/** The ways to know a copy from what has no struct page, by name. */
import { CowBit, SpecialBit } from "./entry-bits.ts";
import { LinearRule } from "./linear-rule.ts";
import type { PfnMappings } from "./pfn-mappings.ts";
import { RefuseCow } from "./refuse-cow.ts";
import { ShadowBits, type ShadowParts } from "./shadow-bits.ts";
import { StructPages } from "./struct-pages.ts";
import { VmaSplit } from "./vma-split.ts";

interface PfnOption {
  /** Whether segments have struct pages. */
  readonly describesSegments: boolean;
  create(parts: ShadowParts): PfnMappings;
}

export const pfnMappingOptions = {
  "refuse-cow": { describesSegments: false, create: () => new RefuseCow() },
  "linear-rule": { describesSegments: false, create: () => new LinearRule() },
  "special-bit": { describesSegments: false, create: () => new SpecialBit() },
  "cow-bit": { describesSegments: false, create: () => new CowBit() },
  "shadow-bits": { describesSegments: false, create: (parts) => new ShadowBits(parts, "bits") },
  "shadow-pages": { describesSegments: false, create: (parts) => new ShadowBits(parts, "pages") },
  "vma-split": { describesSegments: false, create: () => new VmaSplit() },
  "struct-pages": { describesSegments: true, create: () => new StructPages() },
} as const satisfies Record<string, PfnOption>;

export type PfnMappingName = keyof typeof pfnMappingOptions;
