import { describe, expect, test } from "vitest";
import { UsageError } from "../../base/errors.ts";
import { workloadSource } from "../workloads/generator.ts";
import { experimentSchema, type Row, runExperiment, runWithTrace, steps } from "./experiment.ts";
import { describeExperiment, experimentCsv, experimentTable } from "./experiment-text.ts";
import { experimentNamed, experiments } from "./experiments.ts";
import { plotSvg } from "./plot.ts";

const run = (name: string, parameters: Record<string, string> = {}) => runExperiment(experimentNamed(name), parameters);

describe("highpte-lowmem", () => {
  const { rows } = run("highpte-lowmem", { processes: "10..20", size: "512M", machines: "piii-4g" });
  const at = (placement: string, processes: number) =>
    rows.find((row) => row.placement === placement && row.processes === processes)!;

  test("has a row for each machine, placement and number of processes", () => {
    expect(rows).toHaveLength(4);
    expect(Object.keys(rows[0]!)).toEqual([
      "machine",
      "placement",
      "areaBytes",
      "processes",
      "pageTablesBytes",
      "lowmemFreeBytes",
      "highmemFreeBytes",
      "outcome",
    ]);
  });

  test("takes the same tables from lowmem or from highmem", () => {
    const grown = (placement: string, key: string) => Number(at(placement, 20)[key]) - Number(at(placement, 10)[key]);
    expect(grown("highmem", "pageTablesBytes")).toBe(grown("lowmem", "pageTablesBytes"));
    const leaves = 10 * 257 * 4096;
    expect(grown("highmem", "lowmemFreeBytes") - grown("lowmem", "lowmemFreeBytes")).toBeGreaterThanOrEqual(leaves);
    expect(grown("lowmem", "highmemFreeBytes") - grown("highmem", "highmemFreeBytes")).toBeGreaterThanOrEqual(leaves);
  });

  test("goes on until memory is gone, and says where", () => {
    const machines = { machines: "piii-4g", size: "1G" };
    const { rows: all } = run("highpte-lowmem", { processes: "200", "until-oom": "yes", ...machines });
    const last = (placement: string) => all.filter((row) => row.placement === placement).at(-1)!;
    expect(last("lowmem")).toMatchObject({ outcome: "oom" });
    expect(last("highmem")).toMatchObject({ outcome: "oom" });
    expect(Number(last("lowmem").highmemFreeBytes)).toBeGreaterThan(2 ** 31);
    expect(Number(last("highmem").processes)).toBeGreaterThan(2 * Number(last("lowmem").processes));
  });
});

describe("kmap-flush-rate", () => {
  const { rows } = run("kmap-flush-rate");
  const rate = (cpus: number, slots: number, held: number) =>
    Number(rows.find((row) => row.cpus === cpus && row.slots === slots && row.held === held)?.flushesPerSecond);

  test.each([
    { cpus: 2, slots: 1024, flushes: 19.5 },
    { cpus: 8, slots: 1024, flushes: 78.1 },
    { cpus: 32, slots: 1024, flushes: 312.5 },
    { cpus: 8, slots: 512, flushes: 156.3 },
    { cpus: 32, slots: 512, flushes: 625 },
  ])("$cpus CPUs on $slots slots flush $flushes times a second, within 2 %", ({ cpus, slots, flushes }) => {
    expect(Math.abs(rate(cpus, slots, 0) / flushes - 1)).toBeLessThan(0.02);
  });

  test("four times the pool flushes ten times less, where slots are held for long", () => {
    expect(rate(8, 1024, 683) / rate(8, 4096, 683)).toBeCloseTo(10, 0);
  });
});

test("a pool for each task spares the other CPUs, and costs lowmem and writes", () => {
  const { rows } = run("kmap-pools", { tasks: "4", "file-pages": "600", rounds: "2" });
  const [one, each] = rows as [(typeof rows)[number], (typeof rows)[number]];
  expect(each.maps).toBe(one.maps);
  expect(Number(one.cpusInterrupted)).toBeGreaterThan(0);
  expect(each.cpusInterrupted).toBe(0);
  expect(Number(each.poolBytes)).toBeGreaterThan(4 * 4096 + Number(one.poolBytes));
  expect(Number(each.entriesWritten)).toBeGreaterThan(Number(one.entriesWritten));
});

test("the kernel's tables do not grow with the processes", () => {
  const { rows } = run("kernel-tables-highmem", { processes: "1,20" });
  expect(rows[1]!.kernelLeafTablesBytes).toBe(rows[0]!.kernelLeafTablesBytes);
  expect(Number(rows[1]!.userLeafTablesBytes)).toBeGreaterThan(15 * Number(rows[0]!.userLeafTablesBytes));
});

test("quicklists hand out zeroed tables, per-CPU lists frames of all kinds", () => {
  const { rows } = run("quicklists", { forks: "100" });
  const [none, quick, pool] = rows as [(typeof rows)[number], (typeof rows)[number], (typeof rows)[number]];
  expect(quick.tablesAllocated).toBe(none.tablesAllocated);
  expect(Number(quick.tablesZeroed)).toBeLessThan(Number(none.tablesZeroed) / 10);
  expect(Number(quick.tablesZeroed) + Number(quick.tablesReused)).toBe(none.tablesZeroed);
  expect(pool.tablesZeroed).toBe(none.tablesZeroed);
  expect(Number(pool.buddyBatches)).toBeLessThan(Number(pool.framesFromLists) / 50);
});

describe("rmap-cost", () => {
  const { rows } = run("rmap-cost", { processes: "100", whole: "none" });
  const perPage = (reverseMap: string, lineBytes: number, linkBytes: number, mlock = "chained") =>
    rows.find(
      (row) =>
        row.reverseMap === reverseMap &&
        row.lineBytes === lineBytes &&
        row.linkBytes === linkBytes &&
        row.mlock === mlock,
    )?.bytesPerPage;

  test.each([
    { line: 32, link: 4, slots: 7 },
    { line: 64, link: 4, slots: 15 },
    { line: 128, link: 4, slots: 31 },
    { line: 32, link: 8, slots: 3 },
    { line: 64, link: 8, slots: 7 },
    { line: 128, link: 8, slots: 15 },
  ])("lines of $line bytes hold $slots links of $link", ({ line, link, slots }) => {
    for (const generation of ["pte-chain-b", "pte-chain-e"])
      expect(perPage(generation, line, link)).toBe(Math.ceil(100 / slots) * line);
  });

  test("the whole segment takes what a few of its pages take, multiplied", () => {
    const small = { processes: "12", size: "4M" };
    const { rows: whole } = run("rmap-cost", { ...small, whole: "pte-chain-b/32/8,pte-chain-e/64/8" });
    const { rows: parts } = run("rmap-cost", { ...small, whole: "none" });
    expect(whole.filter(({ pagesMapped }) => pagesMapped === 1024)).toHaveLength(2);
    expect(whole.map(({ segmentBytes }) => segmentBytes)).toEqual(parts.map(({ segmentBytes }) => segmentBytes));
    expect(() => run("rmap-cost", { ...small, whole: "pte-chain-e/32/4" })).toThrow(UsageError);
  });

  test("links of one entry cost 8 bytes a mapping, searching and counting nothing", () => {
    expect(perPage("pte-chain-a", 32, 4)).toBe(800);
    for (const name of ["object-chain-incremental", "object-anon", "anonmm", "none"])
      expect(perPage(name, 32, 4)).toBe(0);
    expect(perPage("pte-chain-e", 32, 4, "counted")).toBe(0);
  });
});

describe("shared-segment", () => {
  const small = { processes: "40", size: "16M", machine: "piii-4g" };
  const { rows, verdict } = run("shared-segment", small);
  const of = (design: string) => rows.find((row) => row.design === design)!;

  const bigPages = ["magic", "hugetlbfs"];
  const oneSet = ["shared-tables", "one-tree"];
  const smallPages = rows.filter(({ design }) => ![...bigPages, ...oneSet].includes(String(design)));

  test("has a row for each design, which all run where memory is plenty", () => {
    expect(smallPages).toHaveLength(7);
    expect(rows.map(({ design }) => design)).toEqual(expect.arrayContaining([...bigPages, ...oneSet]));
    for (const row of smallPages) {
      expect(row).toMatchObject({ processes: 40, outcome: "all run", pageFaults: 40 * 4096, reads: 40_000 });
      expect(verdict).toContain(`${row.design}: all 40 run`);
    }
  });

  test("has the tables of the published arithmetic, to the byte: a leaf for 2 MiB, three tables above them and a root", () => {
    for (const { leafTablesBytes, secondTablesBytes, thirdTablesBytes } of smallPages) {
      expect(leafTablesBytes).toBe(40 * (16 / 2) * 4096);
      expect([secondTablesBytes, thirdTablesBytes]).toEqual([40 * 3 * 4096, 40 * 4096]);
    }
    const two = { processes: "5", size: "16M", machine: "nonpae-3g", designs: "low-objects" };
    const [twoLevels] = run("shared-segment", two).rows as [Row];
    expect(twoLevels).toMatchObject({ leafTablesBytes: 5 * (16 / 4) * 4096, secondTablesBytes: 5 * 4096 });
  });

  test("has no leaf table with big pages, and fewer misses: an entry of the TLB reaches 2 MiB", () => {
    for (const design of bigPages) {
      expect(of(design)).toMatchObject({ outcome: "all run", leafTablesBytes: 0, tablesBytes: 40 * 4 * 4096 });
      expect(of(design).reads).toBe(40_000);
      expect(Number(of(design).tlbMisses)).toBeLessThan(Number(of("low-objects").tlbMisses) / 100);
    }
  });

  test("has one set of leaf tables where they are shared, and one link for all: no chains", () => {
    const leaves = (16 / 2) * 4096;
    const [shared, tree] = oneSet.map(of) as [Row, Row];
    expect(shared).toMatchObject({ outcome: "all run", leafTablesBytes: leaves, tablesBytes: leaves + 40 * 4 * 4096 });
    // Each of four CPUs may have a block in hand.
    expect(Number(shared.reverseMapBytes)).toBeLessThanOrEqual(4 * 32);
    // The file's own tree has a root, and three tables right below it.
    expect(tree).toMatchObject({ outcome: "all run", leafTablesBytes: leaves, tablesBytes: leaves + 41 * 4 * 4096 });
    expect(tree.reverseMapBytes).toBe(0);
    // A page that one of them has touched is there for all.
    for (const { pageFaults } of [shared, tree]) expect(pageFaults).toBe(4096 + 39 * 8);
  });

  test("has one table for each gigabyte where huge pages are mapped, or one for all", () => {
    const designs = "hugetlbfs,hugetlbfs-shared-pmd";
    const wide = { processes: "8", size: "2G", machine: "skylake-256g", kernel: "linux-6.1", designs };
    const [own, common] = run("shared-segment", wide).rows as [Row, Row];
    expect(Number(own.secondTablesBytes) - Number(common.secondTablesBytes)).toBe(7 * 2 * 4096);
  });

  test("counts the tables that arithmetic says, to the byte, and what huge pages save of struct pages", () => {
    const today = { processes: "6", size: "3G", machine: "epyc-6t", kernel: "linux-6.1" };
    const { rows: wide } = run("shared-segment", today);
    expect(wide.map(({ design }) => design)).toEqual([
      "low-objects",
      "one-tree",
      "hugetlbfs",
      "hugetlbfs-shared-pmd",
      "hugetlbfs-1g",
      "thp",
    ]);
    for (const row of [...rows, ...wide]) expect(row.tablesBytes).toBe(row.arithmeticTablesBytes);
    const [, tree] = wide as [Row, Row];
    expect(tree).toMatchObject({
      leafTablesBytes: 3 * 512 * 4096,
      secondTablesBytes: 3 * 4096,
      thirdTablesBytes: 7 * 4096,
      fourthTablesBytes: 7 * 4096,
      pageFaults: (3 * 2 ** 30) / 4096 + 5 * 3,
    });
    const pages = (3 * 2 ** 30) / 4096;
    const folded = [pages * 64, pages * 64, pages * 64, (pages / 512) * 4096, 3 * 4096, ""];
    expect(wide.map(({ structPagesBytes }) => structPagesBytes)).toEqual(folded);
  });

  test("says what a design is like that has nothing for a segment, and does not run it again", () => {
    const today = { processes: "2", size: "4M", machine: "amd64-8g", kernel: "linux-6.1", designs: "low-objects,thp" };
    const { rows: both, verdict: words } = run("shared-segment", today);
    const [, row] = both as [Row, Row];
    const { design, outcome, ...numbers } = row;
    expect([design, outcome]).toEqual(["thp", "as low-objects: no huge pages"]);
    expect(new Set(Object.values(numbers))).toEqual(new Set([""]));
    expect(Object.keys(row)).toEqual(Object.keys(both[0]!));
    expect(words).toContain("thp: a process has touched what one of the huge pages covers, and was given none");
  });

  test("lets each process after the first touch its own random share", () => {
    const own = { ...small, size: "64M", designs: "low-objects", touch: "1%" };
    const [row] = run("shared-segment", own).rows as [Row];
    const pages = (64 * 2 ** 20) / 4096;
    expect(row).toMatchObject({ processes: 40, outcome: "all run", arithmeticTablesBytes: "" });
    expect(Number(row.pageFaults)).toBeGreaterThan(pages + (39 * pages * 0.9) / 100);
    expect(Number(row.pageFaults)).toBeLessThanOrEqual(pages + 39 * Math.round(pages / 100));
    for (const touch of ["0%", "101%", "some"]) {
      expect(() => run("shared-segment", { ...small, touch })).toThrow(UsageError);
    }
  });

  test("ends where memory ends on a machine of today, where nobody looks for pages that have nowhere to go", () => {
    const crowd = { processes: "4000", size: "1G", machine: "amd64-8g", kernel: "linux-6.1", designs: "low-objects" };
    const [row] = run("shared-segment", crowd).rows as [Row];
    expect(row.outcome).toBe(`process ${Number(row.processes) + 1}: no memory`);
    expect(row.tablesBytes).toBe(row.arithmeticTablesBytes);
    // 8 GiB less 1 for the segment and what the kernel takes, in tables of 2 MiB a process.
    expect(Number(row.processes)).toBeGreaterThan(3200);
    expect(Number(row.processes)).toBeLessThan(3584);
  });

  test("has the chains of the published arithmetic: blocks of 7 links, or of 3 where tables are in highmem", () => {
    const blocks = (slots: number) => 4096 * Math.ceil(40 / slots) * 32;
    const inHand = (design: string, bytes: number) => Number(of(design).reverseMapBytes) - bytes;
    // Each of four CPUs may have a block in hand.
    for (const [design, slots] of [
      ["low-chains", 7],
      ["highpte-low-chains", 3],
      ["highpte-high-chains", 3],
    ] as const) {
      expect(inHand(design, blocks(slots))).toBeGreaterThanOrEqual(0);
      expect(inHand(design, blocks(slots))).toBeLessThanOrEqual(4 * 32);
    }
    for (const design of ["low-objects", "highpte-objects", "when-empty", "discard-age"])
      expect(of(design).reverseMapBytes).toBe(0);
  });

  test("takes from lowmem only what a design has there", () => {
    const tables = 40 * 8 * 4096;
    expect(Number(of("low-objects").lowmemTablesBytes)).toBeGreaterThan(tables);
    expect(Number(of("highpte-objects").lowmemTablesBytes)).toBeLessThan(tables);
    expect(of("highpte-high-chains").lowmemChainsBytes).toBe(0);
    expect(Number(of("highpte-low-chains").lowmemChainsBytes)).toBeGreaterThanOrEqual(4096 * 14 * 32);
    for (const row of rows) {
      const uses = ["Free", "MemMap", "Tables", "Chains", "Other"].map((use) => Number(row[`lowmem${use}Bytes`]));
      expect(uses.reduce((sum, bytes) => sum + bytes, 0)).toBe(896 * 2 ** 20);
    }
  });

  test("says which process found no lowmem, and what had it", () => {
    const crowd = { processes: "1000", size: "512M", designs: "low-chains,low-objects" };
    const { rows: ended, verdict: words } = run("shared-segment", crowd);
    for (const row of ended) {
      const ran = Number(row.processes);
      expect(row).toMatchObject({
        outcome: `process ${ran + 1}: no lowmem`,
        pageFaults: ran * 2 ** 17,
        leafTablesBytes: ran * 256 * 4096,
        lowmemMemMapBytes: 640 * 2 ** 20,
      });
      expect(Number(row.lowmemFreeBytes)).toBeLessThan(8 * 2 ** 20);
      expect(Number(row.lowmemTablesBytes)).toBeGreaterThan(ran * (256 + 4) * 4096);
      expect(words).toContain(`${row.design}: ${row.processes} run; then lowmem is 640 MiB map of all frames, `);
    }
    const [chains, objects] = ended as [Row, Row];
    expect(Number(objects.processes)).toBeGreaterThan(Number(chains.processes));
    expect(Number(chains.lowmemChainsBytes)).toBeGreaterThan(Number(chains.reverseMapBytes));
  });

  test("counts the same misses for the same reads, nearly one for each", () => {
    for (const { tlbMisses } of smallPages) {
      expect(tlbMisses).toBe(rows[0]!.tlbMisses);
      expect(Number(tlbMisses)).toBeGreaterThan(39_000);
    }
  });

  test("leaves out what a machine cannot be built with, and refuses it by name", () => {
    const today = { processes: "2", size: "1M", machine: "opteron-32g" };
    const names = run("shared-segment", today).rows.map(({ design }) => design);
    expect(names).toEqual(["low-objects", "one-tree", "thp"]);
    for (const designs of ["highpte-objects", "low-chians"]) {
      expect(() => run("shared-segment", { ...today, designs })).toThrow(UsageError);
    }
    for (const size of ["100", "0"]) expect(() => run("shared-segment", { ...today, size })).toThrow(UsageError);
  });
});

describe("truncate-nonlinear", () => {
  const parameters = { pages: "64", processes: "3", "reverse-map": "object-anon" };
  const { rows } = run("truncate-nonlinear", parameters);
  const of = (nonlinear: string, busy = "nobody") =>
    rows.find((row) => row.nonlinear === nonlinear && row.busy === busy)!;

  test.each(["remap-2.5", "locked-only"])("%s leaves orphans that nobody finds, and takes valid pages", (nonlinear) => {
    expect(of(nonlinear)).toMatchObject({
      orphans: 96,
      unfindableOrphans: 96,
      validPagesLost: 96,
      wrongAccesses: 192,
      reliable: "no",
    });
  });

  test.each(["tagged-search", "cleanup-pass", "unmap-each", "emulated"])("%s is right whoever is busy", (nonlinear) => {
    for (const busy of ["nobody", "one process"]) {
      expect(of(nonlinear, busy)).toMatchObject({ orphans: 0, validPagesLost: 0, wrongAccesses: 0, reliable: "yes" });
    }
  });

  test("what asks pages tries again where a process is busy, and the tolerant one leaves orphans", () => {
    for (const nonlinear of ["cleanup-pass", "cleanup-tolerant", "unmap-each"]) {
      expect(of(nonlinear).retries).toBe(0);
      expect(Number(of(nonlinear, "one process").retries)).toBeGreaterThan(0);
    }
    expect(of("cleanup-tolerant").reliable).toBe("yes");
    expect(Number(of("cleanup-tolerant", "one process").orphans)).toBeGreaterThan(0);
  });

  test("searching reads whole areas, asking pages their mappings alone", () => {
    expect(Number(of("tagged-search").entriesVisited)).toBeGreaterThan(3 * 64);
    expect(of("unmap-each").entriesVisited).toBe(3 * 32);
  });
});

test("windows are one area or an area each, as many as the kernel allows", () => {
  const { rows } = run("nonlinear-vmas", { windows: "3000", limit: "2000" });
  const [nonlinear, limited, each, today] = rows as [Row, Row, Row, Row];
  expect(nonlinear).toMatchObject({ windowsPlaced: 3000, areas: 1, pageTablesBytes: 3 * 4096, outcome: "ok" });
  expect(limited).toMatchObject({ windowsPlaced: 2000, outcome: "ENOMEM" });
  expect(each).toMatchObject({ windowsPlaced: 3000, objectBytes: Number(each.areas) * 88, outcome: "ok" });
  expect(Number(each.areas)).toBeGreaterThanOrEqual(2999);
  expect(today.outcome).toBe("ENOMEM");
});

test("locks that are counted save all chains if they come first, and pay when they go", () => {
  const { rows } = run("mlock-chains", { processes: "20", size: "64K" });
  const [chained, counted, late] = rows as [(typeof rows)[number], (typeof rows)[number], (typeof rows)[number]];
  expect([counted.chainsBytes, counted.linksBuilt, counted.refused]).toEqual([0, 18 * 16, 18]);
  expect([late.chainsBytes, late.linksBuilt, late.refused]).toEqual([chained.chainsBytes, 0, 0]);
  expect(counted.unlockedChainsBytes).toBe(chained.unlockedChainsBytes);
});

test("a list of areas is scanned more than anything else, and a walk of address spaces asks no reverse map", () => {
  const { rows } = run("rmap-test", { memory: "12M", tasks: "20", areas: "20", alone: "5000", rounds: "3" });
  const loads = [...new Set(rows.map(({ load }) => load))];
  expect(loads).toHaveLength(3);
  for (const load of loads) {
    const of = (who: string) => rows.find((row) => row.load === load && row.who === who)!;
    const looks = (who: string) => Number(of(who).looksAt);
    for (const who of ["chains", "tree of areas", "walk of address spaces"]) {
      expect(looks("list of areas")).toBeGreaterThan(5 * looks(who));
      expect(Number(of(who).pagesFreed)).toBeGreaterThan(0);
      expect(of(who).killed).toBe(0);
    }
    expect(of("walk of address spaces")).toMatchObject({ linksFollowed: 0, areasLookedAt: 0 });
  }
});

test("a walk of address spaces meets every mapping before it frees what many share", () => {
  const { rows } = run("virtual-scan", { sharers: "1,40", pages: "400", need: "16", memory: "32M" });
  const of = (reclaim: string, reverseMap: string, sharers: number) =>
    rows.find((row) => row.reclaim === reclaim && row.reverseMap === reverseMap && row.sharers === sharers)!;
  for (const row of rows) expect(row.pagesHad).toBe(16);
  const walked = Number(of("linux-2.4", "none", 40).entriesVisited);
  expect(walked).toBeGreaterThan(0.9 * 40 * 400);
  for (const reverseMap of ["pte-chain-e", "object-anon"])
    expect(walked).toBeGreaterThan(3 * Number(of("linux-2.6", reverseMap, 40).entriesVisited));
});

test("each of the three steps does its part, and all three leave no chains and no orphans", () => {
  const { rows } = run("three-steps", { processes: "12", segment: "128K", windows: "64K" });
  const [before, a, ac, ab, abc] = rows as [Row, Row, Row, Row, Row];
  expect(Number(before.orphans)).toBeGreaterThan(0);
  for (const row of [a, ac, ab, abc]) expect(row.orphans).toBe(0);
  expect(a.reverseMapBytes).toBe(before.reverseMapBytes);
  expect(Number(ac.reverseMapBytes)).toBeLessThan(Number(a.reverseMapBytes));
  expect([ab.reverseMapBytes, abc.reverseMapBytes]).toEqual([0, 0]);
  expect(Number(abc.lowmemUsedBytes)).toBeLessThan(Number(before.lowmemUsedBytes));
});

describe("big-tlb", () => {
  const { rows } = run("big-tlb", { tlbs: "p6", reads: "20000" });
  const misses = (size: number, pages: string, sharing = "program alone") =>
    Number(
      rows.find((row) => row.areaBytes === size && row.pages === pages && row.sharing === sharing)!.missesPerThousand,
    );

  test("64 entries of 4 KiB reach 256 KiB, 8 of 2 MiB reach 16 MiB, and beyond that misses begin", () => {
    expect(misses(2 ** 18, "4K")).toBeLessThan(5);
    expect(misses(2 ** 22, "4K")).toBeGreaterThan(900);
    expect(misses(2 ** 24, "2M")).toBeLessThan(5);
    expect(misses(2 ** 26, "2M")).toBeGreaterThan(700);
  });

  test("the kernel's map takes entries from big pages, and none from small ones", () => {
    expect(misses(2 ** 24, "2M", "kernel too")).toBeGreaterThan(100);
    expect(misses(2 ** 18, "4K", "kernel too")).toBeLessThan(5);
  });
});

test("a pool of huge pages gets what it asks for at boot, and little of memory in pieces", () => {
  const { rows } = run("hugetlb-pool", { memory: "1200M", kept: "64,4096" });
  const of = (when: string, keptOneOf: number) => rows.find((row) => row.when === when && row.keptOneOf === keptOneOf)!;
  expect(of("at boot", 64).hugePages).toBe(of("at boot", 64).asked);
  expect(Number(of("after use", 64).hugePages)).toBeLessThan(Number(of("at boot", 64).hugePages) / 2);
  expect(Number(of("after use", 4096).hugePages)).toBeGreaterThan(Number(of("after use", 64).hugePages));
  expect(Number(of("after use", 64).freeBytes)).toBeGreaterThan(1000 * 2 ** 20);
});

test("huge pages take a fault for each, waste what is not touched, and must be made room for", () => {
  const policies = "never:never,always:never,always:always";
  const { rows } = run("thp", { memory: "96M", size: "16M", reads: "5000", policies });
  const of = (load: string, state: string, policy: string, defrag: string) =>
    rows.find((row) => row.load === load && row.state === state && row.policy === policy && row.defrag === defrag)!;
  expect(of("dense", "fresh", "never", "never")).toMatchObject({ faults: 4096, coveragePercent: 0, bloatBytes: 0 });
  const dense = of("dense", "fresh", "always", "never");
  expect(dense).toMatchObject({ faults: 8, hugeFaults: 8, coveragePercent: 100, bloatBytes: 0 });
  // The tables are in reserve: as many as without huge pages.
  expect(dense.pageTablesBytes).toBe(of("dense", "fresh", "never", "never").pageTablesBytes);
  expect(Number(dense.missesPerThousand)).toBeLessThan(100);
  expect(Number(of("dense", "fresh", "never", "never").missesPerThousand)).toBeGreaterThan(500);
  // One page in 16 is touched.
  expect(of("sparse", "fresh", "always", "never").bloatBytes).toBe((16 - 1) * 2 ** 20);
  expect(of("sparse", "fresh", "never", "never").bloatBytes).toBe(0);
  // What is measured is what the program knows: resident less written.
  for (const row of rows) {
    const written = (16 * 2 ** 20) / (row.load === "sparse" ? 16 : 1);
    expect(row.bloatBytes).toBe(Number(row.residentBytes) - written);
  }
  const [fresh, pieces] = ["fresh", "fragmented"].map((state) => of("dense", state, "never", "never"));
  expect(Number(fresh!.freeContiguityPercent)).toBeGreaterThan(75);
  expect(Number(pieces!.freeContiguityPercent)).toBeLessThan(20);
  const given = of("dense", "fragmented", "always", "never");
  expect(Number(given.fallbacks)).toBeGreaterThan(0);
  expect(of("dense", "fragmented", "always", "always")).toMatchObject({ coveragePercent: 100, fallbacks: 0 });
  expect(Number(of("dense", "fragmented", "always", "always").pagesMoved)).toBeGreaterThan(500);
  // With the kernel's frames among the others nothing can be moved out of the way.
  const mixed = run("thp", { memory: "96M", size: "16M", reads: "100", policies: "always:always", mobility: "mixed" });
  const fragmented = mixed.rows.find(({ load, state }) => load === "dense" && state === "fragmented")!;
  expect(Number(fragmented.compactionsFailed)).toBeGreaterThan(0);
});

test("of the struct pages of huge pages one page in 8 is left, or one in 4096", () => {
  const { rows, published } = run("struct-pages", { pools: "2G,256G" });
  const of = (poolGib: number, pageSize: string, vmemmap: string) =>
    rows.find((row) => row.poolBytes === poolGib * 2 ** 30 && row.pageSize === pageSize && row.vmemmap === vmemmap)!;
  const mib = (bytes: unknown) => Number(bytes) / 2 ** 20;
  const folded = of(2, "2M", "hugetlb-optimised");
  const measured = [
    mib(folded.structPagesBytes),
    mib(folded.givenBackBytes),
    mib(of(256, "2M", "hugetlb-optimised").leftBytes),
    mib(of(256, "1G", "hugetlb-optimised").leftBytes),
  ];
  expect(measured).toEqual(published.map(({ value }) => value));
  expect(mib(of(256, "2M", "full").leftBytes)).toBe(4096);
  // All of it is free memory.
  for (const pageSize of ["2M", "1G"]) {
    const [full, less] = [of(256, pageSize, "full"), of(256, pageSize, "hugetlb-optimised")];
    expect(Number(less.freeBytes) - Number(full.freeBytes)).toBe(less.givenBackBytes);
    expect(Number(full.memMapBytes) - Number(less.memMapBytes)).toBe(less.givenBackBytes);
  }
});

test("a page of a gigabyte keeps 512 tables where whole spans are freed, with PAE", () => {
  const { rows } = run("hoard");
  const left = rows.map((row) => [row.machine, row.pageTableFreeing, row.leafTables, row.leafTablesLeft]);
  expect(left).toEqual([
    ["nonpae-3g", "spans", 256, 1],
    ["nonpae-3g", "pmd-ranges", 256, 1],
    ["nonpae-3g", "when-empty", 256, 1],
    ["piii-4g", "spans", 512, 512],
    ["piii-4g", "pmd-ranges", 512, 1],
    ["piii-4g", "when-empty", 512, 1],
  ]);
  for (const row of rows) expect(row).toMatchObject({ pagesLeft: 1, leafTablesAtLast: 0 });
});

test("one touched page in each span makes a page table of each page, whoever frees tables", () => {
  const { rows } = run("pagetable-exploit", { processes: "2" });
  const MIB = 2 ** 20;
  for (const [machine, tables] of [
    ["nonpae-3g", 768],
    ["piii-4g", 1536],
  ] as const) {
    const own = rows.filter((row) => row.machine === machine);
    expect(own).toHaveLength(8);
    for (const row of own)
      expect(row).toMatchObject({ dataPages: tables, leafTables: tables, leafTablesBytes: (2 * tables * MIB) / 256 });
    const of = (contents: string, freeing: string, discard: string) =>
      own.find(
        (row) => row.contents === contents && row.pageTableFreeing === freeing && row.pageTableDiscard === discard,
      )!;
    expect(of("anonymous", "spans", "none").leafTablesAfterDontneed).toBe(tables);
    expect(of("anonymous", "when-empty", "none").leafTablesAfterDontneed).toBe(0);
    for (const discard of ["age", "scan"]) {
      expect(of("anonymous", "pmd-ranges", discard).afterShortageBytes).toBe((2 * tables * MIB) / 256);
      expect(of("file", "pmd-ranges", discard)).toMatchObject({ afterShortageBytes: 0, refaults: 2 * tables });
    }
  }
});

describe("pte-count", () => {
  const { rows } = run("pte-count", { processes: "6", segment: "4M", spans: "32", memory: "11M", "at-most": "40" });
  const of = (load: string, freeing: string, discard = "none") =>
    rows.find((row) => row.load === load && row.pageTableFreeing === freeing && row.pageTableDiscard === discard)!;

  test("a count frees nothing where every entry is live, and costs a look for each write", () => {
    expect(of("shared", "when-empty")).toMatchObject({ leafTables: 12, leafTablesLeft: 12, tablesFreedEmpty: 0 });
    expect(Number(of("shared", "when-empty").entriesLookedAt)).toBeGreaterThanOrEqual(6 * 1024);
    expect(of("shared", "pmd-ranges").entriesLookedAt).toBe(0);
  });

  test("discarding takes the central case's tables, for a fault an entry", () => {
    for (const discard of ["age", "scan"])
      expect(of("shared", "pmd-ranges", discard)).toMatchObject({ afterShortage: 0, faultsAgain: 6 * 1024 });
  });

  test.each(["dontneed", "truncate", "reclaim"])("%s leaves empty tables, unless they are counted", (load) => {
    expect(of(load, "spans").leafTablesLeft).toBe(192);
    expect(of(load, "pmd-ranges").leafTablesLeft).toBe(192);
    expect(of(load, "when-empty")).toMatchObject({ leafTablesLeft: 0, tablesFreedEmpty: 192 });
    expect(Number(of(load, "when-empty").processesThatFit)).toBeGreaterThan(
      Number(of(load, "pmd-ranges").processesThatFit),
    );
  });
});

describe("clustering", () => {
  const { rows } = run("clustering", { processes: "24", size: "1M" });
  const of = (parts: string) => rows.filter(({ chainedParts }) => chainedParts === parts);
  const [each, radius] = [of("each"), of("blast-radius")];

  test("has the struct pages of 64 GiB at 44 bytes", () => {
    expect(each.map((row) => Number(row.structPagesBytes) / 2 ** 20)).toEqual([704, 352, 176, 88, 44]);
  });

  test("a blast radius divides the chains by the parts of a page, to the byte", () => {
    expect(radius.map(({ chainsBytes }) => chainsBytes)).toEqual([0, 1, 2, 3, 4].map((k) => (4 * 32 * 256) >> k));
    for (const row of each) expect(Number(row.chainsBytes)).toBeGreaterThan(27 * 1024);
    expect(each.map((row) => Math.round((Number(row.centralChainsBytes) * 10) / 2 ** 30) / 10)).toEqual([
      11.2, 11.2, 11.2, 11.2, 11.2,
    ]);
    expect(radius.map((row) => Math.round((Number(row.centralChainsBytes) * 100) / 2 ** 30) / 100)).toEqual([
      11.17, 5.59, 2.79, 1.4, 0.7,
    ]);
  });

  test("a file leaves half of a page unused at its end, less half of 4 KiB", () => {
    for (const [k, row] of each.entries()) {
      const expected = ((1 << k) - 1) * 2048;
      expect(Math.abs(Number(row.fileTailBytes) - expected)).toBeLessThanOrEqual(expected * 0.15);
    }
  });

  test("memory is wasted within pages, and less of it between them", () => {
    const rises = (key: string) => each.slice(1).every((row, at) => Number(row[key]) > Number(each[at]![key]));
    for (const key of ["unusedInFilesPercent", "unusedInAreasPercent", "freeInSoftBlocksPercent"])
      expect(rises(key), key).toBe(true);
    expect(each[0]).toMatchObject({ unusedInFilesPercent: 0, unusedInAreasPercent: 0 });
    // The largest of them cannot leave less together.
    expect(each[4]!.freeInSoftBlocksPercent).toBe(100);
    for (const row of each) expect(Number(row.freeInHugeBlocksPercent)).toBeLessThan(50);
  });

  test("faults fall with the size, and memory is wasted", () => {
    const falls = (key: string) => each.slice(1).every((row, at) => Number(row[key]) < Number(each[at]![key]));
    expect(falls("areaFaults")).toBe(true);
    expect(falls("segmentFaults")).toBe(true);
    expect(Number(each[4]!.areaFrames)).toBeGreaterThan(4 * Number(each[0]!.areaFrames));
  });

  test("replays a program on each kernel: larger pages spare it faults, and leave more in its file's cache", async () => {
    const name = "workload:fork-storm?processes=3";
    const given = { processes: "2", size: "64K", files: "1", areas: "1", trace: name };
    const open = (trace: string) => ({ name: trace, open: () => workloadSource(trace) });
    const replayed = await runWithTrace(experimentNamed("clustering"), given, open);
    const faults = replayed.rows.filter(({ chainedParts }) => chainedParts === "each").map((row) => row.programFaults);
    expect(faults).toHaveLength(5);
    expect(faults).toEqual(faults.toSorted((one, other) => Number(other) - Number(one)));
    expect(new Set(faults).size).toBe(5);
    for (const row of replayed.rows)
      expect(Number(row.programCacheBytes)).toBeGreaterThanOrEqual(Number(row.softPageBytes));
  });
});

test("soft pages of 2 MiB save struct pages, waste memory on small things, and miss as often as 4 KiB", () => {
  const { rows } = run("soft-2m", { reads: "4000" });
  const [small, , soft, big] = rows as [(typeof rows)[number], unknown, (typeof rows)[number], (typeof rows)[number]];
  expect([small.structPagesBytes, soft.structPagesBytes]).toEqual([704 * 2 ** 20, 1.375 * 2 ** 20]);
  expect(soft.fileFrames).toBe(40 * 512);
  expect(soft.missesAlone).toBe(small.missesAlone);
  expect(Number(big.missesAlone)).toBeLessThan(5);
  expect(Number(big.missesWithKernel)).toBeGreaterThan(100);
  expect(Number(soft.areaFaults)).toBeLessThan(Number(small.areaFaults) / 5);
});

describe("memmap", () => {
  const { rows, published } = run("memmap", { gigabytes: "4,64", kernels: "2.4.0,rhel3,2.4.22,2.5.27,2.5.46,2.6.7" });

  test("has the struct pages that were published, in lowmem or in highmem", () => {
    for (const row of rows) {
      const { value } = published.find(
        ({ what }) => what === `struct pages of ${row.structBytes} bytes, ${row.gigabytes} GiB, MiB`,
      )!;
      expect(row.structPagesBytes).toBe(Number(value) * 2 ** 20);
      const inLowmem = row.memMap === "flat" ? row.structPagesBytes : 0;
      expect(row.memMapInLowmemBytes).toBe(inLowmem);
    }
  });

  test("says which machines do not start for their struct pages", () => {
    const stuck = rows.filter(({ starts }) => starts === "no").map((row) => `${row.structPage} ${row.memMap}`);
    expect(stuck).toEqual(["2.4.0 flat", "rhel3 flat"]);
  });
});

test("numaq comes out as it was logged", () => {
  const { rows, verdict } = run("numaq");
  const real = [
    [23_040, 160_768, 268, 64_632, 229_376],
    [3_072, 21_504, 750, 64_694, 213_504],
  ];
  expect(
    rows.map((row) => [
      row.mapOfAnotherNodeFrames,
      row.remappedFrames,
      Number(row.lowmemBytes) / 2 ** 20,
      Number(row.highmemBytes) / 2 ** 20,
      row.highStart,
    ]),
  ).toEqual(real);
  expect(Math.round(Number(rows[1]!.fixmapBytes) / 2 ** 20)).toBe(61);
  expect(verdict).toContain("90 MiB of struct pages for each other node, 628 MiB for all, lowmem 268 MiB");
});

describe("kva-window", () => {
  const { rows } = run("kva-window", { size: "256M", reads: "2000", tasks: "2", slots: "64,1024" });
  const [flat, narrow, wide, cookie] = rows as [Row, Row, Row, Row];

  test("has the numbers of the window that was proposed", () => {
    expect(wide).toMatchObject({ mapFrames: 180_224, structPagesShown: 95_325 });
    expect(Number(wide.memoryShownBytes) / 2 ** 30).toBeCloseTo(0.36, 2);
    expect((Number(narrow.lowmemFreeBytes) - Number(flat.lowmemFreeBytes)) / 2 ** 20).toBeCloseTo(704, 0);
  });

  test("misses less with a wider window, and flushes nothing that it does not recycle", () => {
    expect(Number(narrow.misses)).toBeGreaterThan(Number(wide.misses));
    expect(Number(narrow.flushes)).toBeGreaterThan(0);
    expect(wide.flushes).toBe(0);
    expect(flat).toMatchObject({ lookups: 0, misses: 0, faults: wide.faults });
  });

  test("with a number nothing is dereferenced blindly, with a cookie something is", () => {
    for (const row of [narrow, wide]) expect(row).toMatchObject({ strays: 0, followed: 0 });
    expect(Number(cookie.strays)).toBeGreaterThan(0);
  });
});

test("splits: 4:4 has room for struct pages and for the area, and its entries cost more", () => {
  const { rows } = run("splits", { memory: "64G", calls: "100" });
  const [usual, even, both] = rows as [Row, Row, Row];
  expect(usual.starts).toBe("no");
  expect(even).toMatchObject({ starts: "yes", areaFits: "no", rootLoads: 0 });
  expect(both).toMatchObject({
    starts: "yes",
    areaFits: "yes",
    lowmemBytes: 3936 * 2 ** 20,
    structPagesBytes: 896 * 2 ** 20,
  });
  expect(both.entries).toBe(even.entries);
  expect(both.rootLoads).toBe(2 * Number(both.entries));
  expect(Number(both.entryCycles)).toBeGreaterThan(3 * Number(even.entryCycles));
});

describe.each(experiments.map((experiment) => [experiment.name, experiment] as const))("%s", (name, experiment) => {
  test("says what it claims, who says so, and what can be changed", () => {
    const text = describeExperiment(experiment);
    expect(text).toContain(experiment.claim);
    expect(text).toContain(experiment.source);
    for (const parameter of Object.keys(experiment.parameters)) expect(text).toContain(`--${parameter} `);
  });

  test("refuses a parameter that it does not have", () => {
    expect(() => run(name, { proceses: "1" })).toThrow(UsageError);
  });
});

test("a result follows its schema, as a table, as CSV and as a plot", () => {
  const result = run("quicklists", { forks: "3" });
  expect(experimentSchema.parse(result)).toEqual(result);
  expect(experimentTable(result, "short")).toContain("Verdict: ");
  expect(experimentCsv(result).trim().split("\n")).toHaveLength(4);
  const svg = plotSvg("quicklists", result.rows, experimentNamed("quicklists").plot);
  expect(svg).toContain(">page tables zeroed<");
  expect(svg.match(/<polyline/g)).toHaveLength(3);
});

test("steps are ranges or lists", () => {
  expect(steps("n", "100..400")).toEqual([100, 200, 300, 400]);
  expect(steps("n", "100..200:50")).toEqual([100, 150, 200]);
  expect(steps("n", "1,10")).toEqual([1, 10]);
  for (const bad of ["", "5..1", "0..9", "2,1", "1..1000000", "x"]) expect(() => steps("n", bad)).toThrow(UsageError);
});

test("a fork that shares tables copies no entry, makes no table and chains nothing; a writer copies the tables that it writes in", () => {
  const { rows } = run("fork-shared-tables", { size: "32M", children: "3", written: "1,100" });
  const MIB = 2 ** 20;
  const of = (memory: string, sharing: string, pattern: string, percent: number) =>
    rows.find(
      (row) =>
        row.memory === memory &&
        row.pageTableSharing === sharing &&
        row.pattern === pattern &&
        row.writtenPercent === percent,
    )!;
  for (const memory of ["segment", "private"]) {
    // 8,192 pages, 16 tables; four entries a page are one block of 32 bytes.
    const own = { entriesCopiedPerFork: 8192, leafBytesPerFork: MIB / 16, leafBytes: MIB / 4, chainBytes: 8192 * 32 };
    expect(of(memory, "none", "in a row", 0)).toMatchObject({ ...own, placeBytes: 0 });
    const shared = { entriesCopiedPerFork: 0, leafBytesPerFork: 0, leafBytes: MIB / 16, chainBytes: 0 };
    expect(of(memory, "fork-shared", "in a row", 0)).toMatchObject({ ...shared, placeBytes: 16 * 4 * 12 });
    expect(of(memory, "none", "in a row", 100)).toMatchObject({ tablesUnshared: 0, entriesCopiedLater: 0 });
  }
  expect(of("segment", "fork-shared", "in a row", 100)).toMatchObject({ faults: 0, tablesUnshared: 0 });
  expect(of("private", "fork-shared", "in a row", 1)).toMatchObject({ writtenPages: 82, tablesUnshared: 1 });
  // One page in 99 lies in every table.
  expect(of("private", "fork-shared", "scattered", 1)).toMatchObject({ faults: 83, tablesUnshared: 16 });
  expect(of("private", "fork-shared", "in a row", 100)).toMatchObject({ entriesCopiedLater: 8192, pagesCopied: 8192 });
});
