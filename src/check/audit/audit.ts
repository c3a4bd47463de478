/** The auditor: every law of the machine, checked at a moment when no kernel path is under way. */
import { bug, KernelBug } from "../../base/errors.ts";
import { type Described, describe } from "../describe.ts";
import { areaLaws } from "./area-laws.ts";
import { bigPageLaws } from "./big-page-laws.ts";
import { Census } from "./census.ts";
import { chainLaws } from "./chain-laws.ts";
import { cpuLaws } from "./cpu-laws.ts";
import { fileEntryLaws } from "./file-entry-laws.ts";
import { highmemLaws } from "./highmem-laws.ts";
import type { Law, Violation } from "./law.ts";
import { linkLaws } from "./link-laws.ts";
import { listLaws } from "./list-laws.ts";
import { memMapLaws } from "./memmap-laws.ts";
import { memoryLaws } from "./memory-laws.ts";
import { pfnLaws } from "./pfn-laws.ts";
import { segmentLaws } from "./segment-laws.ts";
import { softPageLaws } from "./soft-page-laws.ts";
import { swapLaws } from "./swap-laws.ts";
import { tableLaws } from "./table-laws.ts";
import { tableSharingLaws } from "./table-sharing-laws.ts";
import { thpLaws } from "./thp-laws.ts";
import { wholePageLaws } from "./whole-page-laws.ts";

export type { Law, Violation } from "./law.ts";

/** Every law, in the order in which they are checked. */
export const laws: readonly Law[] = [
  ...memoryLaws,
  ...listLaws,
  ...swapLaws,
  ...tableLaws,
  ...tableSharingLaws,
  ...highmemLaws,
  ...areaLaws,
  ...linkLaws,
  ...chainLaws,
  ...fileEntryLaws,
  ...bigPageLaws,
  ...thpLaws,
  ...pfnLaws,
  ...softPageLaws,
  ...wholePageLaws,
  ...segmentLaws,
  ...memMapLaws,
  ...cpuLaws,
];

/** The most violations of one law that are listed. */
const MOST_OF_ONE_LAW = 10;

/** Where the machine breaks its laws; empty if it keeps them all. */
export const audit = (described: Described): Violation[] =>
  described.kernel.structPages.aside(() => auditAside(described));

function auditAside(described: Described): Violation[] {
  const census = new Census(described);
  const violations: Violation[] = [];
  for (const { name, check } of laws) {
    let found = 0;
    const report = (what: string) => {
      if (found++ < MOST_OF_ONE_LAW) violations.push({ law: name, what });
    };
    try {
      check(census, report);
    } catch (error) {
      // Looking for something that is gone is itself a finding.
      if (!(error instanceof KernelBug)) throw error;
      report(error.message);
    }
  }
  return violations;
}

/** Throws a KernelBug with the machine's state if it breaks a law; `when` says after what. */
export function requireClean(described: Described, when: string): void {
  const violations = audit(described);
  if (violations.length === 0) return;
  const lines = violations.map(({ law, what }) => `  ${law}: ${what}`);
  try {
    bug(`${when}, the machine breaks its laws:\n${lines.join("\n")}`);
  } catch (error) {
    if (error instanceof KernelBug) error.state = describe(described);
    throw error;
  }
}
