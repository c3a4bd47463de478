/** The folder of samples that ships with bigmem: beside dist/ in a published package, further up in a checkout. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const NAME = "samples/";

const folders = ["../samples/", "../../samples/"].map((path) => new URL(path, import.meta.url));

/** Undefined where bigmem was copied without it. */
export const samplesFolder: URL | undefined = folders.find((folder) => existsSync(folder));

/** The path that is meant: "samples/sort.bmt" is the one that ships, where there is no file of that name. */
export function withSamples(path: string): string {
  if (!path.startsWith(NAME) || samplesFolder === undefined || existsSync(path)) return path;
  const shipped = fileURLToPath(new URL(path.slice(NAME.length), samplesFolder));
  return existsSync(shipped) ? shipped : path;
}
