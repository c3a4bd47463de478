/** /proc/meminfo for programs to read: the kernel's keys, in bytes, and the machine that they are about. */
import { z } from "zod";
import { PAGE_SIZE } from "../base/units.ts";
import { designSchema } from "../design.ts";
import { geometrySchema } from "../geometry.ts";
import type { MeminfoLine } from "../mm/meminfo.ts";
import type { MachineSpec } from "../presets.ts";
import { tunablesSchema } from "../tunables.ts";

export const meminfoSchema = z.strictObject({
  schema: z.literal("bigmem.meminfo/1"),
  spec: z.strictObject({
    /** The version of bigmem. */
    bigmem: z.string(),
    geometry: geometrySchema,
    design: designSchema,
    tunables: tunablesSchema,
    /** The personality. */
    kernel: z.string(),
    seed: z.int(),
  }),
  /** The trace that was replayed before, if any, and whether this is its end or the peak of its page tables. */
  after: z.strictObject({ trace: z.string(), at: z.enum(["end", "peak"]) }).nullable(),
  /** By the kernel's key with `Bytes` behind it. */
  memory: z.record(z.string().regex(/Bytes$/), z.int()),
});
export type MeminfoReport = z.infer<typeof meminfoSchema>;

export function meminfoReport(
  spec: MachineSpec,
  bigmem: string,
  lines: readonly MeminfoLine[],
  after: MeminfoReport["after"] = null,
): MeminfoReport {
  const memory = lines.map(({ key, pages }) => [`${key}Bytes`, pages * PAGE_SIZE]);
  return { schema: "bigmem.meminfo/1", spec: { bigmem, ...spec }, after, memory: Object.fromEntries(memory) };
}
