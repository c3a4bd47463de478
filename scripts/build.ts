/** Builds what is published: one file for Node in dist/, and beside it what it compiles on demand or loads. */
import { cpSync, rmSync } from "node:fs";
import { build } from "esbuild";

rmSync("dist", { recursive: true, force: true });
await build({
  entryPoints: ["src/cli/main.ts"],
  outfile: "dist/bigmem.js",
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node22",
  packages: "external",
  // Bit constants become literals; names stay readable in a stack trace.
  minifySyntax: true,
  sourcemap: true,
});
cpSync("src/cli/record/plugin", "dist/plugin", { recursive: true });
cpSync("src/cli/fidelity/measure", "dist/measure", { recursive: true });
cpSync("src/cli/kernel/executor", "dist/executor", { recursive: true });
