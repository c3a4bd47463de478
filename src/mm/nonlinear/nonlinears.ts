/** What remap_file_pages may do, by the names that the design space gives it. */
import { emulated } from "./emulated.ts";
import type { Nonlinear } from "./nonlinear.ts";
import { unsupported } from "./unsupported.ts";

export const nonlinears = { unsupported, emulated } as const satisfies Record<string, Nonlinear>;

export type NonlinearName = keyof typeof nonlinears;
