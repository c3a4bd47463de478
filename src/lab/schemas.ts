/** The JSON Schemas of every file and report that bigmem reads or writes, for docs/schemas. */
import { z } from "zod";
import { publishedSchemas } from "../presets.ts";
import { experimentSchema } from "./experiments/experiment.ts";
import { meminfoSchema } from "./meminfo-report.ts";
import { reportSchema } from "./report.ts";
import { eventSchema } from "./trace/event.ts";
import { headerSchema } from "./trace/format.ts";
import { traceInfoSchema } from "./trace/info.ts";
import { workloadSchema } from "./workloads/workload.ts";

const named: Readonly<Record<string, z.ZodType>> = {
  report: reportSchema,
  experiment: experimentSchema,
  meminfo: meminfoSchema,
  "trace-header": headerSchema,
  "trace-event": eventSchema,
  "trace-info": traceInfoSchema,
  workload: workloadSchema,
};

/** By name: the schema, as the input that a person writes. */
export function schemas(): Readonly<Record<string, unknown>> {
  const own = Object.fromEntries(
    Object.entries(named).map(([name, schema]) => [
      name,
      z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }),
    ]),
  );
  return { ...publishedSchemas(), ...own };
}
