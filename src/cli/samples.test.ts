import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const bigmem = fileURLToPath(new URL("../../bin/bigmem.js", import.meta.url));
const elsewhere = (...args: string[]) =>
  spawnSync(process.execPath, [bigmem, ...args], { cwd: tmpdir(), encoding: "utf8" });

test("a recording that ships is found wherever one stands", () => {
  const { status, stdout } = elsewhere("trace", "info", "samples/sort.bmt");
  expect(status).toBe(0);
  expect(stdout).toContain("sort");
});

test("one that does not is called what it was called", () => {
  const { status, stderr } = elsewhere("trace", "info", "samples/nothing.bmt");
  expect([status, stderr]).toEqual([2, "bigmem: samples/nothing.bmt: no such file\n"]);
});
