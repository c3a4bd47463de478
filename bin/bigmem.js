#!/usr/bin/env node
// Starts bigmem: the built program in a published package, the sources in a checkout. Sources need a Node that strips
// types; where this one is too old, the one that the package brings along takes over.
import "./inlining.js";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import module, { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
const program = existsSync(source) ? source : fileURLToPath(new URL("../dist/bigmem.js", import.meta.url));
const [major, minor] = process.versions.node.split(".").map(Number);

if (major > 22 || (major === 22 && minor >= 18)) {
  // Node keeps what it made of the sources beside its temporary files: the second start takes half as long.
  module.enableCompileCache();
  await import(program);
} else {
  const node = newerNode();
  if (node === undefined) {
    const remedy = program === source ? 'run "npm ci" in its folder, which brings one along' : "install a newer one";
    process.stderr.write(`bigmem: needs Node 22.18 or later and found ${process.version}; ${remedy}.\n`);
    process.exit(2);
  }
  const { status, signal } = spawnSync(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: "inherit",
  });
  if (signal !== null) process.kill(process.pid, signal);
  process.exit(status ?? 1);
}

function newerNode() {
  try {
    const manifest = createRequire(import.meta.url).resolve("node/package.json");
    const node = manifest.replace(/package\.json$/, "bin/node");
    return existsSync(node) ? node : undefined;
  } catch {
    return undefined;
  }
}
