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

function describeIssue(known: readonly string[], what: string, issue: z.core.$ZodIssue): string {
  if (issue.code === "unrecognized_keys" && issue.path.length === 0) {
    const unknown = issue.keys.map((key) => `"${key}"${didYouMean(key, known)}`).join(", ");
    return `${what} has no ${unknown}; known: ${known.join(", ")}`;
  }
  const place = [what, ...issue.path].join(".");
  if (issue.code === "invalid_value") {
    const found = String(issue.input);
    const values = issue.values.map(String);
    return `${place}: there is no "${found}"${didYouMean(found, values)}; use ${values.join(", ")}`;
  }
  return `${place}: ${issue.message}`;
}

/** One of the named presets, or a record that says it all. */
export function presetOr<const N extends string, S extends z.ZodType>(names: readonly [N, ...N[]], record: S) {
  const preset = z.enum(names as readonly [N, ...N[]]);
  return z.union([preset, record], {
    error: ({ input }) => {
      if (typeof input !== "string") return undefined;
      return `there is no preset "${input}"${didYouMean(input, names)}; the presets are ${names.join(", ")}`;
    },
  });
}
