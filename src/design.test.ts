import { describe, expect, test } from "vitest";
import { UsageError } from "./base/errors.ts";
import {
  type AxisName,
  axisNames,
  type Design,
  describeAxis,
  designSchema,
  designSpace,
  optionsOf,
  soundOptionsOf,
  unsound,
} from "./design.ts";
import { designRules, type Rule, rulesWith } from "./design-rules.ts";
import { parseDesign, settleDesign } from "./settle-design.ts";

const base: Design = {
  pageTablePlacement: "lowmem",
  pageTableAccess: "direct",
  pageTableCache: "none",
  pageTableFreeing: "pmd-ranges",
  pageTableDiscard: "none",
  pageTableSharing: "none",
  kmap: "global",
  memMap: "flat",
  pageHandle: "pointer",
  reverseMap: "object-anon",
  reverseMapPlacement: "lowmem",
  tlbFlush: "per-range",
  nonlinear: "emulated",
  mlock: "chained",
  hugePages: "hugetlbfs",
  transparentPages: "never",
  pfnMappings: "special-bit",
  softPageShift: "0",
  softPageStyle: "abi-preserving",
  chainedParts: "each",
  vmemmap: "full",
  reclaim: "linux-2.6",
};

test("every question is one, and every option is a sentence", () => {
  for (const axis of axisNames) {
    expect(designSpace[axis].question).toMatch(/\?$/);
    for (const sentence of Object.values(designSpace[axis].options)) expect(sentence).toMatch(/^[A-Z].*\.$/);
  }
});

test("chosen options replace those of the base", () => {
  expect(parseDesign({ reverseMap: "anonmm" }, base)).toEqual({ ...base, reverseMap: "anonmm" });
  expect(parseDesign({}, base)).toEqual(base);
});

test("an unknown axis or option is refused with the nearest one", () => {
  expect(() => parseDesign({ reversemaps: "none" }, base)).toThrow('did you mean "reverseMap"');
  expect(() => parseDesign({ tlbFlush: "whole-mmm" }, base)).toThrow('did you mean "whole-mm"');
  expect(() => parseDesign({ tlbFlush: 3 }, base)).toThrow(UsageError);
  expect(() => parseDesign({ toString: "x" }, base)).toThrow('there is no axis "toString"');
  expect(() => parseDesign({ tlbFlush: "toString" }, base)).toThrow(UsageError);
});

test("an axis explains itself", () => {
  expect(describeAxis("tlbFlush").split("\n")).toHaveLength(1 + optionsOf("tlbFlush").length);
  expect(describeAxis("tlbFlush")).toContain("per-range  Each page of a short range");
  expect(() => describeAxis("tlb")).toThrow('did you mean "tlbFlush"');
});

test("every design of the table can be built, or a rule says why not", () => {
  for (const rule of designRules)
    expect(settleDesign({ ...base, ...rule.when }, new Set(axisNames))).toHaveProperty("illegal");
  for (const axis of axisNames) {
    for (const option of optionsOf(axis))
      expect(designSchema.safeParse({ ...base, [axis]: option }).success).toBe(true);
  }
  expect(designSchema.safeParse({ ...base, tlbFlush: "never" }).success).toBe(false);
});

describe("rules", () => {
  const rules: Rule[] = [
    {
      when: { reverseMap: "none", nonlinear: "emulated" },
      reason: "pieces are found through the reverse map",
      instead: { nonlinear: "unsupported" },
    },
    { when: { reverseMap: "none", tlbFlush: "per-page" }, reason: "nobody knows the pages" },
  ];

  test("a legal design stays as it is", () => {
    expect(settleDesign(base, new Set(), rules)).toEqual({ design: base, moves: [] });
  });

  test("a coupled axis that nobody asked for follows, and the move says why", () => {
    const wanted: Design = { ...base, reverseMap: "none" };
    expect(settleDesign(wanted, new Set(["reverseMap"] as const), rules)).toEqual({
      design: { ...wanted, nonlinear: "unsupported" },
      moves: [
        { axis: "nonlinear", from: "emulated", to: "unsupported", reason: "pieces are found through the reverse map" },
      ],
    });
  });

  test("an axis that was asked for never moves: the cell is illegal, with its reason", () => {
    const wanted: Design = { ...base, reverseMap: "none" };
    expect(settleDesign(wanted, new Set(["reverseMap", "nonlinear"] as const), rules)).toEqual({
      illegal: "reverseMap=none with nonlinear=emulated: pieces are found through the reverse map",
    });
  });

  test("where the coupled axis was asked for, the other one follows, if the rule says so", () => {
    const wanted: Design = { ...base, mlock: "counted" };
    const settled = settleDesign(wanted, new Set(["mlock"] as const));
    expect(settled).toMatchObject({ design: { mlock: "counted", reverseMap: "pte-chain-e" } });
    expect(settleDesign(wanted, new Set(["reverseMap"] as const))).toMatchObject({ design: base });
    expect(settleDesign(wanted, new Set(["reverseMap", "mlock"] as const))).toHaveProperty("illegal");
  });

  test("chains of pointers and page tables in highmem exclude each other; later chains name physical places", () => {
    const high: Design = { ...base, pageTablePlacement: "highmem", pageTableAccess: "kmap-atomic" };
    const links: Design = { ...high, reverseMap: "pte-chain-a" };
    expect(settleDesign(links, new Set(["reverseMap"] as const))).toMatchObject({
      design: { ...base, reverseMap: "pte-chain-a" },
      moves: [{ axis: "pageTablePlacement" }, { axis: "pageTableAccess" }],
    });
    expect(settleDesign(links, new Set(["pageTablePlacement"] as const))).toMatchObject({
      design: { ...high, reverseMap: "pte-chain-b" },
    });
    expect(settleDesign(links, new Set(["pageTablePlacement", "reverseMap"] as const))).toHaveProperty("illegal");
    for (const reverseMap of ["pte-chain-b", "pte-chain-e", "object-chain-incremental"] as const)
      expect(settleDesign({ ...high, reverseMap }, new Set(axisNames))).toMatchObject({ design: { reverseMap } });
  });

  test("chains may lie in highmem where there are chains and highmem", () => {
    const high: Design = { ...base, reverseMapPlacement: "highmem" };
    expect(settleDesign(high, new Set(["reverseMapPlacement"] as const))).toMatchObject({
      design: { reverseMap: "pte-chain-e", reverseMapPlacement: "highmem" },
    });
    for (const reverseMap of ["none", "object-anon", "anonmm"] as const)
      expect(settleDesign({ ...high, reverseMap }, new Set(["reverseMap"] as const))).toMatchObject({
        design: { reverseMap, reverseMapPlacement: "lowmem" },
      });
    const chained: Design = { ...high, reverseMap: "object-chain-convert" };
    expect(settleDesign(chained, new Set(axisNames))).toMatchObject({ design: chained });
    expect(settleDesign(chained, new Set(["reverseMapPlacement"] as const), rulesWith("x86-64"))).toHaveProperty(
      "illegal",
    );
  });

  test("a rule without a way out makes the cell illegal", () => {
    const wanted: Design = { ...base, reverseMap: "none", tlbFlush: "per-page", nonlinear: "unsupported" };
    expect(settleDesign(wanted, new Set(), rules)).toEqual({
      illegal: "reverseMap=none with tlbFlush=per-page: nobody knows the pages",
    });
  });

  test("rules that push one axis to and fro end as illegal, not in a loop", () => {
    const circle: Rule[] = [
      { when: { tlbFlush: "per-range" }, reason: "a", instead: { tlbFlush: "per-page" } },
      { when: { tlbFlush: "per-page" }, reason: "b", instead: { tlbFlush: "per-range" } },
    ];
    expect(settleDesign(base, new Set(), circle)).toEqual({ illegal: "tlbFlush=per-page: b" });
  });
});

test("unsound options exist, say what catches them, and are left out of what is sound", () => {
  for (const [axis, options] of Object.entries(unsound)) {
    for (const [option, { caughtBy }] of Object.entries(options)) {
      expect(optionsOf(axis as AxisName)).toContain(option);
      expect(soundOptionsOf(axis as AxisName)).not.toContain(option);
      expect(caughtBy).not.toBe("");
    }
  }
  expect(soundOptionsOf("tlbFlush")).toEqual(optionsOf("tlbFlush"));
});
