/** How records take sizes and say what is wrong with them: shared by geometry, tunables and presets. */
import { z } from "zod";
import { UsageError } from "./base/errors.ts";
import { didYouMean } from "./base/nearest.ts";
import { parseSize } from "./base/size-text.ts";

/** A number of bytes, or text such as `64G`. */
export const sizeSchema = z.union(
  [
    z.int().min(0),
    z
      .string()
      .refine((text) => whyNoSize(text) === undefined)
      .transform(parseSize),
  ],
  {
    error: ({ input }) => whyNoSize(input) ?? "write a number of bytes, or text such as 64G",
  },
);

/** What is wrong with a text that should be a size. */
function whyNoSize(text: unknown): string | undefined {
  if (typeof text !== "string") return undefined;
  try {
    parseSize(text);
    return undefined;
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
}

/**
 * Parses a record that a person wrote; a mistake becomes a UsageError that names the key and what was expected.
 * `shorthands` are keys that were replaced before, and may be suggested.
 */
export function parseRecord<S extends z.ZodObject>(
  schema: S,
  what: string,
  input: unknown,
  shorthands: readonly string[] = [],
): z.output<S> {
  const result = schema.safeParse(input, { reportInput: true });
  if (result.success) return result.data;
  throw new UsageError(
    result.error.issues
      .map((issue) => describeIssue([...shorthands, ...Object.keys(schema.shape)], what, issue))
      .join("\n"),
  );
}

/** One mistake in words. `known` are the keys of the outermost record. */
function describeIssue(known: readonly string[], what: string, issue: z.core.$ZodIssue): string {
  const place = [what, ...issue.path].join(".");
  if (issue.code === "unrecognized_keys") {
    const candidates = issue.path.length === 0 ? known : [];
    const unknown = issue.keys.map((key) => `"${key}"${didYouMean(key, candidates)}`).join(", ");
    return `${place} has no ${unknown}${candidates.length === 0 ? "" : `; known: ${candidates.join(", ")}`}`;
  }
  if (issue.input === undefined && issue.code !== "custom") return `${place} is missing`;
  if (issue.code === "invalid_value") {
    const found = String(issue.input);
    const values = issue.values.map(String);
    return `${place}: there is no "${found}"${didYouMean(found, values)}; use ${values.join(", ")}`;
  }
  const within = issue.code === "invalid_union" ? nearestBranch(issue) : [];
  if (within.length > 0) return within.map((inner) => describeIssue([], place, inner)).join("\n");
  return `${place}: ${issue.message}`;
}

/** Of several forms that a value may have: what is wrong with it as the one that it resembles, if any. */
function nearestBranch(issue: z.core.$ZodIssueInvalidUnion): readonly z.core.$ZodIssue[] {
  if (typeof issue.input !== "object" || issue.input === null) return [];
  return (
    issue.errors.find((branch) => branch.some(({ path, code }) => path.length > 0 || code === "unrecognized_keys")) ??
    []
  );
}

/** One of the named presets, or a record that says it all. */
export function presetOr<const N extends string, S extends z.ZodType>(names: readonly [N, ...N[]], record: S) {
  const preset = z.enum(names as readonly [N, ...N[]]);
  return z.union([preset, record], {
    error: ({ input }) => {
      if (typeof input !== "string") return `write a record, or the name of a preset: ${names.join(", ")}`;
      return `there is no preset "${input}"${didYouMean(input, names)}; the presets are ${names.join(", ")}`;
    },
  });
}
