/**
 * Synthetic workloads as data: a name, what it does in a sentence, its parameters with units and defaults, and its steps.
 * A number in a step may be a parameter ("$size") or a product of some ("$size / $processes", "$rounds * 2").
 */
import { z } from "zod";
import { UsageError } from "../../base/errors.ts";
import { didYouMean } from "../../base/nearest.ts";
import { parseSize } from "../../base/size-text.ts";

const parameterSchema = z.strictObject({
  /** How it is written: "64M", "8", "0.25". */
  unit: z.enum(["bytes", "count", "share"]),
  default: z.union([z.number().min(0), z.string()]),
  means: z.string(),
});

/** A number, or a product of numbers and parameters. */
const amount = z.union([z.number().min(0), z.string().regex(/^[$\w.]+( [*/] [$\w.]+)*$/)]);

const mapStep = z.strictObject({
  do: z.literal("map"),
  area: z.string(),
  bytes: amount,
  /** Private memory; memory shared with children to come; a file's pages, private or shared; those of one executed in place. */
  backing: z.enum(["anonymous", "shared", "file-private", "file-shared", "xip-private", "xip-shared"]),
});
const unmapStep = z.strictObject({ do: z.literal("unmap"), area: z.string() });
const protectStep = z.strictObject({
  do: z.literal("protect"),
  area: z.string(),
  rights: z.enum(["none", "read", "read-write"]),
});
const touchStep = z.strictObject({
  do: z.literal("touch"),
  area: z.string(),
  /** An update is a load and a store of the same page. */
  how: z.enum(["load", "store", "update"]),
  /** From the first page to the last; any page; mostly pages of the first part. */
  order: z.enum(["sequential", "random", "hot"]),
  /** Pages to touch, again and again if the area has fewer. */
  pages: amount,
  /** Accesses to each page when it is touched. */
  accessesPerPage: amount.default(1),
  /** For "hot": the part of the area that is hot, and the part of the touches that go there. */
  hotShare: amount.default(0.1),
  hotTouches: amount.default(0.9),
});
const churnStep = z.strictObject({
  do: z.literal("churn"),
  /** Areas that exist at a time; each round unmaps one and maps another. */
  areas: amount,
  rounds: amount,
  leastBytes: amount,
  mostBytes: amount,
  /** The part of each new area that is written. */
  touched: amount.default(1),
});

export type Step =
  | z.infer<typeof mapStep>
  | z.infer<typeof unmapStep>
  | z.infer<typeof protectStep>
  | z.infer<typeof touchStep>
  | z.infer<typeof churnStep>
  | { do: "fork"; processes: string | number; together: "at once" | "one by one"; steps: Step[] }
  | { do: "repeat"; times: string | number; steps: Step[] };

const stepSchema: z.ZodType<Step> = z.lazy(() =>
  z.discriminatedUnion("do", [
    mapStep,
    unmapStep,
    protectStep,
    touchStep,
    churnStep,
    /** Children that do the steps and exit; the parent waits for all of them. */
    z.strictObject({
      do: z.literal("fork"),
      processes: amount,
      together: z.enum(["at once", "one by one"]),
      steps: z.array(stepSchema),
    }),
    z.strictObject({ do: z.literal("repeat"), times: amount, steps: z.array(stepSchema) }),
  ]),
);

export const workloadSchema = z.strictObject({
  schema: z.literal("bigmem.workload/1"),
  name: z.string().regex(/^[a-z][a-z0-9-]*$/),
  does: z.string(),
  parameters: z.record(z.string().regex(/^[a-z][a-zA-Z]*$/), parameterSchema),
  steps: z.array(stepSchema),
});
export type Workload = z.infer<typeof workloadSchema>;

/** By parameter: its value, in bytes where it is a size. */
export type Values = ReadonlyMap<string, number>;

/** The values that a person chose, over the defaults. Throws UsageError for an unknown parameter or a bad value. */
export function workloadValues(workload: Workload, chosen: Readonly<Record<string, string>>): Values {
  const names = Object.keys(workload.parameters);
  for (const name of Object.keys(chosen)) {
    if (names.includes(name)) continue;
    const known = names.join(", ");
    throw new UsageError(`${workload.name} has no parameter "${name}"${didYouMean(name, names)}; it has ${known}`);
  }
  return new Map(
    names.map((name) => {
      const parameter = workload.parameters[name];
      return [
        name,
        chosenValue(`${workload.name}: ${name}`, parameter.unit, String(chosen[name] ?? parameter.default)),
      ];
    }),
  );
}

function chosenValue(what: string, unit: "bytes" | "count" | "share", text: string): number {
  if (unit === "bytes") return parseSize(text);
  const percent = /^([\d.]+)%$/.exec(text);
  const value = percent !== null && unit === "share" ? Number(percent[1]) / 100 : Number(text);
  const good = unit === "count" ? Number.isInteger(value) && value >= 0 && value <= 2 ** 31 : value >= 0 && value <= 1;
  if (text.trim() !== "" && good) return value;
  const expected = unit === "count" ? "a whole number" : "a share from 0 to 1, or a percentage";
  throw new UsageError(`${what}: expected ${expected}, found "${text}"`);
}

/** What an amount in a step comes to. */
export function amountOf(amount: string | number, values: Values): number {
  if (typeof amount === "number") return amount;
  const words = amount.split(" ");
  let product = factor(words[0], values);
  for (let i = 1; i < words.length; i += 2) {
    const next = factor(words[i + 1], values);
    product = words[i] === "*" ? product * next : product / next;
  }
  return product;
}

function factor(word: string, values: Values): number {
  if (/^[\d.]+$/.test(word)) return Number(word);
  const value = word.startsWith("$") ? values.get(word.slice(1)) : parseSize(word);
  if (value === undefined) throw new UsageError(`a workload's step uses ${word}, which is none of its parameters`);
  return value;
}
