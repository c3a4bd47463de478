/** How records take sizes and say what is wrong with them: shared by geometry, tunables and presets. */
import { z } from "zod";
import { UsageError } from "./base/errors.ts";
import { didYouMean } from "./base/nearest.ts";
import { parseSize } from "./base/size-text.ts";

/** A number of bytes, or text such as `64G`. */
export const sizeSchema = z.union([
  z.int().min(0),
  z.string().transform((text, context) => {
    try {
      return parseSize(text);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      context.addIssue({ code: "custom", message: error.message });
      return z.NEVER;
    }
  }),
]);

/** Parses a record that a person wrote; a mistake becomes a UsageError that names the key and what was expected. */
export function parseRecord<S extends z.ZodObject>(schema: S, what: string, input: unknown): z.output<S> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  throw new UsageError(result.error.issues.map((issue) => describeIssue(schema, what, issue)).join("\n"));
}

function describeIssue(schema: z.ZodObject, what: string, issue: z.core.$ZodIssue): string {
  if (issue.code === "unrecognized_keys" && issue.path.length === 0) {
    const known = Object.keys(schema.shape);
    const unknown = issue.keys.map((key) => `"${key}"${didYouMean(key, known)}`).join(", ");
    return `${what} has no ${unknown}; known: ${known.join(", ")}`;
  }
  return `${[what, ...issue.path].join(".")}: ${issue.message}`;
}
