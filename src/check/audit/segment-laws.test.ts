import { expect, test } from "vitest";
import { PAGE_SIZE } from "../../base/units.ts";
import { TestKernel } from "../../mm/test-kernel.ts";
import { audit } from "./audit.ts";

test.each([
  ["a wrong sum", (world: TestKernel) => world.kernel.segments.pages++],
  [
    "a segment that is gone while it is attached",
    (world: TestKernel) => world.kernel.segments.fileGone(world.thread.mm.vmas.first!.file!),
  ],
])("%s is found", (_what, harm) => {
  const world = new TestKernel();
  const id = world.call("shmget", [0, 2 * PAGE_SIZE, 0o1600]);
  world.call("shmat", [id, 0x4000_0000, 0]);
  const found = () => audit({ kernel: world.kernel, processes: world.kernel.processes }).map(({ law }) => law);
  expect(found()).toEqual([]);
  harm(world);
  expect(found()).toContain("segments-are-files");
});
