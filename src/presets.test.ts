import { describe, expect, test } from "vitest";
import { UsageError } from "./base/errors.ts";
import {
  applySetting,
  applySettings,
  kernelPreset,
  kernelPresets,
  machinePreset,
  machinePresets,
  parseSpec,
  publishedSchemas,
  specOf,
} from "./presets.ts";

const spec = specOf("pae-8g");

test.each(Object.keys(machinePresets))("%s makes a record that survives JSON under every kernel", (machine) => {
  for (const kernel of Object.keys(kernelPresets)) {
    const made = specOf(machine, kernel, [], 7);
    expect(parseSpec(JSON.parse(JSON.stringify(made)))).toEqual(made);
    expect(made.seed).toBe(7);
  }
});

test("every preset says in a sentence what it is", () => {
  for (const { summary } of [...Object.values(machinePresets), ...Object.values(kernelPresets)]) {
    expect(summary).toMatch(/^[A-Z].*\.$/);
  }
});

test("a machine names its kernel, and another can be put on it", () => {
  expect(specOf("opteron-32g").kernel).toBe("linux-2.6.11");
  const modern = specOf("opteron-32g", "linux-6.1");
  expect([modern.kernel, modern.design.tlbFlush, modern.tunables.maxMapCount]).toEqual([
    "linux-6.1",
    "per-range",
    65_530,
  ]);
});

test("kernels of the time of reverse maps are what they were", () => {
  const of = (kernel: string) => specOf("piii-xeon-64g", kernel);
  expect(of("linux-2.4.22").design).toMatchObject({
    reverseMap: "none",
    reclaim: "linux-2.4",
    nonlinear: "unsupported",
  });
  expect(of("rhel3-hugemem").design).toMatchObject({ reclaim: "rmap15", nonlinear: "locked-only", mlock: "counted" });
  expect(of("linux-2.6.0").design).toMatchObject({ reverseMap: "pte-chain-e", nonlinear: "remap-2.5" });
  expect(of("linux-2.6.11").design).toMatchObject({ reverseMap: "object-anon", nonlinear: "tagged-search" });
});

test("a kernel that is built for another split has it where there is one to make", () => {
  expect(specOf("piii-xeon-64g", "rhel3-hugemem").geometry.split).toBe("4:4");
  expect(specOf("opteron-32g", "rhel3-hugemem").geometry.split).toBeNull();
  expect(specOf("piii-xeon-64g").geometry.split).toBeNull();
  expect(specOf("piii-xeon-64g", "rhel3-hugemem", ["geometry.split=3:1"]).geometry.split).toBe("3:1");
});

test("a kernel has the mem_map that it had on such a machine", () => {
  const of = (machine: string, kernel?: string) => specOf(machine, kernel).design.memMap;
  expect(
    ["linux-2.4.22", "rhel3-hugemem", "linux-2.6.11", "linux-6.1"].map((kernel) => of("piii-xeon-64g", kernel)),
  ).toEqual(["flat", "flat", "flat", "flat"]);
  expect([of("numaq-64g"), of("opteron-32g"), of("opteron-32g", "linux-2.6.0")]).toEqual([
    "discontig",
    "discontig",
    "discontig",
  ]);
  expect([of("numaq-64g", "linux-6.1"), of("icelake-1t"), of("amd64-8g", "linux-6.18")]).toEqual([
    "sparse",
    "sparse",
    "sparse",
  ]);
  expect(specOf("amd64-8g").design.pageHandle).toBe("pointer");
});

test("an unknown preset is refused with the nearest", () => {
  expect(() => machinePreset("icelake1t")).toThrow('did you mean "icelake-1t"');
  expect(() => kernelPreset("linux-6.2")).toThrow('did you mean "linux-6.1"');
  expect(() => machinePreset("constructor")).toThrow(UsageError);
});

describe("settings", () => {
  test("reach geometry, design, tunables and the seed", () => {
    expect(applySetting(spec, "geometry.memory=64G").geometry.memoryBytes).toBe(64 * 2 ** 30);
    expect(applySetting(spec, "reverseMap=none").design.reverseMap).toBe("none");
    expect(applySetting(spec, "design.reverseMap=none").design.reverseMap).toBe("none");
    expect(applySetting(spec, "tunables.overcommitMode=2").tunables.overcommitMode).toBe(2);
    expect(applySetting(spec, "tunables.stackLimitBytes=null").tunables.stackLimitBytes).toBeNull();
    expect(applySetting(spec, 'geometry.largePages=["2M"]').geometry.largePages).toEqual(["2M"]);
    expect(applySetting(spec, "seed=42").seed).toBe(42);
  });

  test("leave everything else, and the record they start from, as it is", () => {
    const before = structuredClone(spec);
    const { design, ...rest } = applySetting(spec, "tlbFlush=per-page");
    expect(rest).toEqual({ geometry: spec.geometry, tunables: spec.tunables, kernel: spec.kernel, seed: spec.seed });
    expect(design).toEqual({ ...spec.design, tlbFlush: "per-page" });
    expect(spec).toEqual(before);
  });

  test("only what several make together must be possible", () => {
    const changed = applySettings(specOf("icelake-1t"), ["geometry.paging=pae", "geometry.memory=16G"]);
    expect([changed.geometry.paging, changed.geometry.memoryBytes]).toEqual(["pae", 2 ** 34]);
    expect(() => applySetting(specOf("icelake-1t"), "geometry.paging=pae")).toThrow(
      "1.00 TiB are more than the 64.0 GiB",
    );
  });

  test("the last of several wins", () => {
    expect(applySettings(spec, ["seed=1", "seed=2"]).seed).toBe(2);
  });

  test.each([
    ["reverseMap", "is not a setting"],
    ["=none", "is not a setting"],
    ["reverseMap=nun", "has no option"],
    ["reversMap=none", 'did you mean "reverseMap"'],
    ["memory=64G", 'did you mean "geometry.memory"'],
    ["maxMapCount=5", 'did you mean "tunables.maxMapCount"'],
    ["geometri.memory=64G", 'did you mean "geometry"'],
    ["geometry.memroy=64G", 'did you mean "memory'],
    ["tunables.overcommit=2", 'did you mean "overcommitMode"'],
    ["tunables.overcommitMode=5", "use 0, 1, 2"],
    ["tunables.faultAroundBytes=5000", "a power of two"],
    ["geometry.largePages=[2M", "not JSON"],
    ["seed=-1", "seed"],
    ["seed=abc", "seed"],
  ])("%s is refused", (setting, why) => {
    expect(() => applySetting(spec, setting)).toThrow(UsageError);
    expect(() => applySetting(spec, setting)).toThrow(why);
  });
});

test("a record from a file is checked as a whole", () => {
  expect(() => parseSpec({ ...spec, kernel: "linux-9" })).toThrow(UsageError);
  expect(() => parseSpec({ ...spec, design: {} })).toThrow(UsageError);
  expect(() => parseSpec({ ...spec, geometry: { ...spec.geometry, memoryBytes: 2 ** 40 } })).toThrow(
    "more than the 64.0 GiB",
  );
});

test("schemas are published for what people may write", () => {
  const schemas = publishedSchemas() as Record<string, { properties: Record<string, unknown>; required?: string[] }>;
  expect(Object.keys(schemas)).toEqual(["geometry", "design", "tunables", "spec"]);
  expect(schemas.geometry.required).toEqual(["memoryBytes", "paging", "tlb"]);
  expect(schemas.design.properties.tlbFlush).toMatchObject({ enum: ["per-page", "per-range", "whole-mm"] });
  expect(schemas.tunables.required).toBeUndefined();
});
