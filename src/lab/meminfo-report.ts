/** /proc/meminfo for programs to read: the kernel's keys, in bytes, and the machine that they are about. */
import { z } from "zod";
import { PAGE_SIZE } from "../base/units.ts";
import { designSchema } from "../design.ts";
import { geometrySchema } from "../geometry.ts";
import type { Machine } from "../machine.ts";
import { meminfo } from "../mm/meminfo.ts";
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
  /** The trace that was replayed before, if any. */
  after: z.string().nullable(),
  /** By the kernel's key with `Bytes` behind it. */
  memory: z.record(z.string().regex(/Bytes$/), z.int()),
});
export type MeminfoReport = z.infer<typeof meminfoSchema>;

export function meminfoReport(machine: Machine, bigmem: string, after: string | null): MeminfoReport {
  const memory = meminfo(machine.kernel).map(({ key, pages }) => [`${key}Bytes`, pages * PAGE_SIZE]);
  return { schema: "bigmem.meminfo/1", spec: { bigmem, ...machine.spec }, after, memory: Object.fromEntries(memory) };
}
