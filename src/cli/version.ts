/** bigmem's version, from the package's own manifest: beside `src` in a checkout, beside `dist` in a package. */
import manifest from "../../package.json" with { type: "json" };

export const version: string = manifest.version;
