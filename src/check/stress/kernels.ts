/**
 * The twenty kernels of the highpte patch's test matrix: five ways to have highmem, for one CPU or several, with and without
 * preemption in the kernel.
 */
import type { Design } from "../../design.ts";
import { parseGeometry } from "../../geometry.ts";
import { kernelPreset, type MachineSpec } from "../../presets.ts";
import { parseRecord } from "../../size-schema.ts";
import { tunablesSchema } from "../../tunables.ts";

export interface HighmemVariant {
  /** As the patch's author wrote it. */
  readonly name: string;
  readonly memoryBytes: string;
  readonly paging: "i386" | "pae";
  readonly design: Partial<Design>;
}

const low = { pageTablePlacement: "lowmem", pageTableAccess: "direct" } as const;
const high = { pageTablePlacement: "highmem", pageTableAccess: "kmap-atomic" } as const;

export const highmemVariants: readonly HighmemVariant[] = [
  { name: "nohighmem", memoryBytes: "768M", paging: "i386", design: low },
  { name: "4GB", memoryBytes: "4G", paging: "i386", design: low },
  { name: "4GB-highpte", memoryBytes: "4G", paging: "i386", design: high },
  { name: "64GB", memoryBytes: "64G", paging: "pae", design: low },
  { name: "64GB-highpte", memoryBytes: "64G", paging: "pae", design: high },
];

/** CPUs of an SMP machine. */
const SMP_CPUS = 4;

export interface StressKernel {
  readonly highmem: HighmemVariant;
  readonly cpus: number;
  readonly preemption: "on" | "off";
  /** As the matrix's rows are called: "SMP-preempt on". */
  readonly row: string;
}

const rows = [
  { row: "UP-preempt on", cpus: 1, preemption: "on" },
  { row: "UP-preempt off", cpus: 1, preemption: "off" },
  { row: "SMP-preempt on", cpus: SMP_CPUS, preemption: "on" },
  { row: "SMP-preempt off", cpus: SMP_CPUS, preemption: "off" },
] as const;

/** All twenty, row by row. */
export const stressKernels: readonly StressKernel[] = rows.flatMap((row) =>
  highmemVariants.map((highmem) => ({ highmem, ...row })),
);

/** `swap`: the sizes of its swap areas. */
export function stressSpec({ highmem, cpus }: StressKernel, seed: number, swap: string | readonly []): MachineSpec {
  const preset = kernelPreset("linux-2.6.11");
  const { memoryBytes, paging } = highmem;
  return {
    geometry: parseGeometry({ memoryBytes, paging, cpus, tlb: "p6", cost: "p6", cacheLineBytes: 32, swap }),
    design: { ...preset.design, ...highmem.design },
    tunables: parseRecord(tunablesSchema, "tunables", preset.tunables),
    kernel: preset.personality,
    seed,
  };
}
