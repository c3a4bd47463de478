import { expect, test } from "vitest";
import { UsageError } from "../base/errors.ts";
import { Machine } from "../machine.ts";
import { applySettings, specOf } from "../presets.ts";
import { TraceFiles } from "./trace-files.ts";

const machine = (...settings: string[]): Machine => {
  const all = ["geometry.memory=64M", "geometry.segments=1M", ...settings];
  return new Machine(applySettings(specOf("amd64-8g"), all));
};

test("files of a trace are executed in place by their name, or by the directory that is", () => {
  const made = machine("tunables.executeInPlace=/usr/");
  const thread = made.spawn("program").threads[0]!;
  const files = new TraceFiles(made);
  const kindOf = (path: string, sizeBytes?: number) => files.open(thread, { path, sizeBytes }, 8192).file.kind;
  expect(kindOf("xip:data", 4096)).toBe("xip");
  expect(kindOf("/usr/bin/sort", 65_536)).toBe("xip");
  expect(kindOf("/home/numbers", 65_536)).toBe("regular");
  // How long it is nobody knows: it may have to grow.
  expect(kindOf("/usr/lib/unknown")).toBe("regular");
  expect(() => kindOf("/usr/lib/large", 2 ** 20)).toThrow(UsageError);
});

test("nothing is executed in place unless it is asked for", () => {
  const made = machine();
  const thread = made.spawn("program").threads[0]!;
  expect(new TraceFiles(made).open(thread, { path: "/usr/bin/sort", sizeBytes: 4096 }, 0).file.kind).toBe("regular");
});
