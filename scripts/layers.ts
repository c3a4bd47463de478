/** Checks the layer law: each folder of src imports only from the layers below it, and only cli touches Node. */
import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

/** From the bottom up. A file belongs to the first layer whose prefix it starts with. */
const layers: readonly { name: string; prefixes: readonly string[]; packages: readonly string[] }[] = [
  { name: "base", prefixes: ["src/base/"], packages: [] },
  { name: "hw", prefixes: ["src/hw/"], packages: [] },
  { name: "sync", prefixes: ["src/sync/"], packages: [] },
  { name: "tunables", prefixes: ["src/tunables.ts", "src/size-schema.ts"], packages: ["zod"] },
  { name: "mm", prefixes: ["src/mm/"], packages: [] },
  {
    name: "machine",
    prefixes: [
      "src/design.ts",
      "src/design-rules.ts",
      "src/settle-design.ts",
      "src/geometry.ts",
      "src/presets.ts",
      "src/footprint.ts",
      "src/reservations.ts",
      "src/boot.ts",
      "src/startup.ts",
      "src/machine.ts",
    ],
    packages: ["zod"],
  },
  { name: "check", prefixes: ["src/check/"], packages: [] },
  { name: "lab", prefixes: ["src/lab/"], packages: ["zod"] },
  { name: "cli", prefixes: ["src/cli/"], packages: ["zod", "commander", "node:*"] },
];

const layerOf = (file: string): number =>
  layers.findIndex((layer) => layer.prefixes.some((prefix) => file.startsWith(prefix)));
const complaints: string[] = [];

for (const file of globSync("src/**/*.ts").sort()) {
  if (file.endsWith(".test.ts")) continue;
  const rank = layerOf(file);
  const layer = layers[rank];
  if (layer === undefined) {
    complaints.push(`${file}: belongs to no layer`);
    continue;
  }
  const source = readFileSync(file, "utf8");
  for (const [, imported] of source.matchAll(/^(?:import|export)\s[^;]*?from\s+"([^"]+)"/gm)) {
    if (imported === undefined) continue;
    if (imported.startsWith(".")) {
      const target = normalize(join(dirname(file), imported));
      const targetRank = layerOf(target);
      if (targetRank > rank)
        complaints.push(`${file}: ${layer.name} imports ${target}, which is ${layers[targetRank]?.name}`);
    } else if (
      !layer.packages.some(
        (name) => name === imported || (name.endsWith("*") && imported.startsWith(name.slice(0, -1))),
      )
    ) {
      complaints.push(`${file}: ${layer.name} imports the package ${imported}`);
    }
  }
}

for (const complaint of complaints) console.error(complaint);
console.log(
  complaints.length === 0 ? "layers: imports point only down" : `layers: ${complaints.length} imports point up`,
);
process.exit(complaints.length === 0 ? 0 : 1);
