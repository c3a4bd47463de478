import { expect, test } from "vitest";
import { chosenSpec, type MachineOptions, nameOfChosen } from "./machines.ts";

const nameOf = (options: MachineOptions): string => nameOfChosen(options, chosenSpec(options));

test("a report is called after the machine and the kernel that were named", () => {
  expect(nameOf({})).toBe("icelake-1t");
  expect(nameOf({ machine: "piii-4g" })).toBe("piii-4g");
  expect(nameOf({ machine: "piii-4g", kernel: "linux-2.6.0" })).toBe("piii-4g, linux-2.6.0");
});

test("and after the options that moved because of what was asked for, but not after that", () => {
  const machine = "piii-4g";
  expect(nameOf({ machine, set: ["reverseMap=none"] })).toBe("piii-4g, reclaim=linux-2.4 (coupled)");
  expect(nameOf({ machine, set: ["reverseMap=none", "design.reclaim=linux-2.4"] })).toBe("piii-4g");
  expect(nameOf({ machine, set: ["reverseMap=pte-chain-e", "geometry.memory=2G"] })).toBe("piii-4g");
});
