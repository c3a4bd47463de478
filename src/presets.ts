/**
 * Real points of the design space: kernels (how it behaves, what it is built of, its constants) and machines (how
 * large it is), and the record that a run starts from, made of one of each and of what a person changed.
 */
import { z } from "zod";
import { UsageError } from "./base/errors.ts";
import { didYouMean } from "./base/nearest.ts";
import { type AxisName, axisNames, type Design, designSchema } from "./design.ts";
import { rulesWith } from "./design-rules.ts";
import { type Geometry, type GeometryInput, geometrySchema, isNarrow, parseGeometry, type Split } from "./geometry.ts";
import { pagingFormats } from "./hw/paging-format.ts";
import { type StructPageName, structPageBytes } from "./mm/memmap/struct-page.ts";
import { type PersonalityName, personalities } from "./mm/personality.ts";
import { parseDesign } from "./settle-design.ts";
import { parseRecord } from "./size-schema.ts";
import { type Tunables, type TunablesInput, tunablesSchema } from "./tunables.ts";

/** Everything that a machine is made from; with a trace it determines a run. */
export interface MachineSpec {
  readonly geometry: Geometry;
  readonly design: Design;
  readonly tunables: Tunables;
  readonly kernel: PersonalityName;
  readonly seed: number;
}

export interface KernelPreset {
  /** What it is, in a sentence. */
  readonly summary: string;
  readonly personality: PersonalityName;
  readonly design: Design;
  readonly tunables: TunablesInput;
  /** How it is built for machines whose address space is 32 bits, if not as others are. */
  readonly split?: Split;
  /** Its struct page there, if it is not its personality's. */
  readonly structPage?: StructPageName;
  /** What is different of its design there. */
  readonly narrow?: Partial<Design>;
  /** What is different of it on machines with several nodes. */
  readonly numa?: Partial<Design>;
}

/** Page tables and struct pages as they are wherever nobody says otherwise. */
const lowTables = {
  pageTablePlacement: "lowmem",
  pageTableAccess: "direct",
  pageTableCache: "none",
  pageTableFreeing: "pmd-ranges",
  pageTableDiscard: "none",
  pageTableSharing: "none",
  kmap: "global",
  reverseMapPlacement: "lowmem",
  memMap: "flat",
  pageHandle: "pointer",
  vmemmap: "full",
} as const;

/** CONFIG_DISCONTIGMEM. */
const nodeMaps = { memMap: "discontig" } as const;

/** CONFIG_HIGHPTE. */
const highTables = { pageTablePlacement: "highmem", pageTableAccess: "kmap-atomic" } as const;

const tunables2611 = {
  watermarks: "linux-2.6",
  dirtyRatio: 40,
  maxMapCount: 65_536,
  faultAroundBytes: "4K",
  lockedLimitBytes: "32K",
  mmapMinAddr: 0,
  adminReserveBytes: 0,
  userReserveBytes: 0,
} as const satisfies TunablesInput;

export const kernelPresets = {
  "linux-2.5.5-highpte": {
    summary:
      "February 2002: the simpler highpte design, page tables in highmem through kmap_atomic; no reverse map yet.",
    personality: "linux-2.6.11",
    design: {
      ...lowTables,
      ...highTables,
      pageTableFreeing: "spans",
      reverseMap: "none",
      tlbFlush: "whole-mm",
      nonlinear: "unsupported",
      mlock: "chained",
      hugePages: "none",
      transparentPages: "never",
      pfnMappings: "refuse-cow",
      softPageShift: "0",
      softPageStyle: "abi-preserving",
      chainedParts: "each",
      reclaim: "linux-2.4",
    },
    structPage: "2.5.5",
    numa: nodeMaps,
    tunables: { ...tunables2611, watermarks: "linux-2.4", buddyOrders: 10, maxMapCount: 65_536 },
  },
  "linux-2.4.22": {
    summary:
      "August 2003: no reverse map, address spaces are walked for pages to free, quicklists of page tables; calls as 2.6.11.",
    personality: "linux-2.6.11",
    design: {
      ...lowTables,
      pageTableCache: "quicklists",
      pageTableFreeing: "spans",
      reverseMap: "none",
      tlbFlush: "whole-mm",
      nonlinear: "unsupported",
      mlock: "chained",
      hugePages: "none",
      transparentPages: "never",
      pfnMappings: "refuse-cow",
      softPageShift: "0",
      softPageStyle: "abi-preserving",
      chainedParts: "each",
      reclaim: "linux-2.4",
    },
    structPage: "2.4.22",
    numa: nodeMaps,
    tunables: { ...tunables2611, watermarks: "linux-2.4", buddyOrders: 10 },
  },
  "rhel3-hugemem": {
    summary:
      "October 2003: 2.4.21 with rmap15, page tables in highmem, remap_file_pages for locked memory and, on 32 bits, 4 GiB for programs and 4 for the kernel; calls as 2.6.11.",
    personality: "linux-2.6.11",
    design: {
      ...lowTables,
      ...highTables,
      pageTableFreeing: "spans",
      reverseMap: "pte-chain-b",
      tlbFlush: "whole-mm",
      nonlinear: "locked-only",
      mlock: "counted",
      hugePages: "hugetlbfs",
      transparentPages: "never",
      pfnMappings: "refuse-cow",
      softPageShift: "0",
      softPageStyle: "abi-preserving",
      chainedParts: "each",
      reclaim: "rmap15",
    },
    structPage: "rhel3-highpte-64g",
    numa: nodeMaps,
    tunables: { ...tunables2611, watermarks: "linux-2.4", kmapInvalidates: "when-changed" },
    split: "4:4",
  },
  "linux-2.6.0": {
    summary:
      "December 2003: chains of entries for every page, remap_file_pages with the truncation bug of its day; calls as 2.6.11.",
    personality: "linux-2.6.11",
    design: {
      ...lowTables,
      reverseMap: "pte-chain-e",
      tlbFlush: "whole-mm",
      nonlinear: "remap-2.5",
      mlock: "chained",
      hugePages: "hugetlbfs",
      transparentPages: "never",
      pfnMappings: "refuse-cow",
      softPageShift: "0",
      softPageStyle: "abi-preserving",
      chainedParts: "each",
      reclaim: "linux-2.6",
    },
    structPage: "2.5.46",
    numa: nodeMaps,
    tunables: tunables2611,
  },
  "linux-2.6.11": {
    summary: "March 2005: anon_vmas, areas placed bottom-up, whole address spaces flushed; the end of the 32-bit era.",
    personality: "linux-2.6.11",
    design: {
      ...lowTables,
      reverseMap: "object-anon",
      tlbFlush: "whole-mm",
      nonlinear: "tagged-search",
      mlock: "chained",
      hugePages: "hugetlbfs",
      transparentPages: "never",
      pfnMappings: "refuse-cow",
      softPageShift: "0",
      softPageStyle: "abi-preserving",
      chainedParts: "each",
      reclaim: "linux-2.6",
    },
    numa: nodeMaps,
    tunables: tunables2611,
  },
  "linux-2.6.11-highpte": {
    summary: "The same with CONFIG_HIGHPTE.",
    personality: "linux-2.6.11",
    design: {
      ...lowTables,
      ...highTables,
      reverseMap: "object-anon",
      tlbFlush: "whole-mm",
      nonlinear: "tagged-search",
      mlock: "chained",
      hugePages: "hugetlbfs",
      transparentPages: "never",
      pfnMappings: "refuse-cow",
      softPageShift: "0",
      softPageStyle: "abi-preserving",
      chainedParts: "each",
      reclaim: "linux-2.6",
    },
    numa: nodeMaps,
    tunables: tunables2611,
  },
  "linux-6.1": {
    summary: 'December 2022, in wide use: what "today" means here; page tables in highmem where there is any.',
    personality: "linux-6.1",
    design: {
      ...lowTables,
      memMap: "sparse",
      ...highTables,
      reverseMap: "object-anon",
      tlbFlush: "per-range",
      nonlinear: "emulated",
      mlock: "chained",
      hugePages: "hugetlbfs-shared-pmd",
      transparentPages: "madvise",
      pfnMappings: "special-bit",
      softPageShift: "0",
      softPageStyle: "abi-preserving",
      chainedParts: "each",
      reclaim: "linux-2.6",
    },
    narrow: { memMap: "flat" },
    tunables: {},
  },
  "linux-6.18": {
    summary: "November 2025: areas merge more, mremap moves several at once, large memory is aligned.",
    personality: "linux-6.18",
    design: {
      ...lowTables,
      memMap: "sparse",
      reverseMap: "object-anon",
      tlbFlush: "per-range",
      nonlinear: "emulated",
      mlock: "chained",
      hugePages: "hugetlbfs-shared-pmd",
      transparentPages: "madvise",
      pfnMappings: "special-bit",
      softPageShift: "0",
      softPageStyle: "abi-preserving",
      chainedParts: "each",
      reclaim: "linux-2.6",
    },
    narrow: { memMap: "flat" },
    tunables: {},
  },
} as const satisfies Readonly<Record<string, KernelPreset>>;

export type KernelName = keyof typeof kernelPresets;

export interface MachinePreset {
  readonly summary: string;
  /** The kernel that it runs when nobody names one. */
  readonly kernel: KernelName;
  readonly geometry: GeometryInput;
}

/** A geometry that is first of all a size. */
const sized = (memory: string, geometry: Omit<GeometryInput, "memoryBytes">) => ({ memoryBytes: memory, ...geometry });

export const machinePresets = {
  "piii-4g": {
    summary: "A four-way Pentium III server with 4 GiB, of 2002.",
    kernel: "linux-2.6.11",
    geometry: sized("4G", { paging: "pae", cpus: 4, tlb: "p6", cost: "p6", disk: "scsi-10k", cacheLineBytes: 32 }),
  },
  "piii-xeon-64g": {
    summary:
      "An eight-way Pentium III Xeon with all the memory that PAE can address: the machine that lowmem was too small for.",
    kernel: "linux-2.6.11",
    geometry: sized("64G", { paging: "pae", cpus: 8, tlb: "p6", cost: "p6", disk: "scsi-10k", cacheLineBytes: 32 }),
  },
  "numaq-64g": {
    summary: "The 32-way NUMA-Q with 64 GiB on which highmem was tried out: 8 nodes, the last one 8 MiB short.",
    kernel: "linux-2.6.11",
    geometry: sized("65528M", {
      paging: "pae",
      cpus: 32,
      nodes: 8,
      tlb: "p6",
      cost: "p6",
      disk: "scsi-10k",
      cacheLineBytes: 32,
    }),
  },
  "opteron-32g": {
    summary: "A four-way Opteron with 32 GiB, of 2005: long mode, no highmem, a small TLB, memory at each CPU.",
    kernel: "linux-2.6.11",
    geometry: sized("32G", {
      paging: "x86-64",
      cpus: 4,
      nodes: 4,
      tlb: "k8",
      cost: "k8",
      disk: "scsi-10k",
      largePages: ["2M"],
    }),
  },
  "skylake-256g": {
    summary: "A two-socket Skylake-SP server with 256 GiB, of 2018.",
    kernel: "linux-6.1",
    geometry: sized("256G", { paging: "x86-64", cpus: 80, tlb: "skylake-sp", firmware: "pc" }),
  },
  "icelake-1t": {
    summary: "A two-socket Ice Lake server with 1 TiB, of 2021.",
    kernel: "linux-6.1",
    geometry: sized("1T", { paging: "x86-64", cpus: 128, tlb: "icelake", firmware: "pc" }),
  },
  "epyc-6t": {
    summary: "A two-socket EPYC server of the Zen 4 generation with 6 TiB, of 2023.",
    kernel: "linux-6.1",
    geometry: sized("6T", { paging: "x86-64", cpus: 192, tlb: "zen4", firmware: "pc" }),
  },
  "nonpae-3g": {
    summary: "An emulated PC with 3 GiB and two-level page tables, as Debian's 686 kernel of 2022 runs on.",
    kernel: "linux-6.1",
    geometry: sized("3G", {
      paging: "i386",
      tlb: "p4",
      cost: "p4",
      disk: "sata-7200",
      cacheLineBytes: 128,
      firmware: "pc",
    }),
  },
  "pae-8g": {
    summary: "An emulated PC with 8 GiB and PAE, as Debian's 686-pae kernel of 2022 runs on.",
    kernel: "linux-6.1",
    geometry: sized("8G", {
      paging: "pae",
      tlb: "p4",
      cost: "p4",
      disk: "sata-7200",
      cacheLineBytes: 128,
      firmware: "pc",
    }),
  },
  "pae-64g": {
    summary: "The same with 64 GiB, of which PAE can reach 63 around the hole for devices.",
    kernel: "linux-6.1",
    geometry: sized("64G", {
      paging: "pae",
      tlb: "p4",
      cost: "p4",
      disk: "sata-7200",
      cacheLineBytes: 128,
      firmware: "pc",
    }),
  },
  "amd64-8g": {
    summary: "An emulated PC with 8 GiB in long mode, as Debian's amd64 kernel of 2022 runs on.",
    kernel: "linux-6.1",
    geometry: sized("8G", { paging: "x86-64", tlb: "skylake-sp", firmware: "pc" }),
  },
} as const satisfies Readonly<Record<string, MachinePreset>>;

export type MachineName = keyof typeof machinePresets;

/** The kernel preset of that name. */
export function kernelPreset(name: string): KernelPreset {
  return presetOf("kernel", kernelPresets, name);
}

/** The machine preset of that name. */
export function machinePreset(name: string): MachinePreset {
  return presetOf("machine", machinePresets, name);
}

function presetOf<T>(kind: string, presets: Readonly<Record<string, T>>, name: string): T {
  if (Object.hasOwn(presets, name)) return presets[name];
  const names = Object.keys(presets);
  throw new UsageError(`there is no ${kind} "${name}"${didYouMean(name, names)}; there are ${names.join(", ")}`);
}

/** The record of a preset machine under its own kernel or another, with a person's settings. */
export function specOf(machine: string, kernel?: string, settings: readonly string[] = [], seed = 0): MachineSpec {
  const preset = machinePreset(machine);
  const { personality, narrow, numa, tunables, ...built } = kernelPreset(kernel ?? preset.kernel);
  const given = parseGeometry(preset.geometry);
  const is32Bit = isNarrow(pagingFormats[given.paging]);
  const design = { ...built.design, ...(given.nodes > 1 ? numa : is32Bit ? narrow : {}) };
  const geometry = is32Bit ? parseGeometry(builtFor(given, built)) : given;
  const spec: MachineSpec = {
    geometry,
    design: parseDesign({}, design, rulesWith(geometry)),
    tunables: parseRecord(tunablesSchema, "tunables", tunables),
    kernel: personality,
    seed,
  };
  return settings.length === 0 ? spec : applySettings(spec, settings);
}

/** The sizes of a 32-bit machine whose kernel is built so, where the machine says nothing else. */
const builtFor = (given: Geometry, { split, structPage }: Pick<KernelPreset, "split" | "structPage">): Geometry => ({
  ...given,
  split: given.split ?? split ?? null,
  pageStructBytes: given.pageStructBytes ?? (structPage === undefined ? null : structPageBytes(structPage)),
});

/** One setting: `geometry.memory=64G`, `reverseMap=none`, `tunables.overcommitMode=2`, `seed=7`. */
export const applySetting = (spec: MachineSpec, setting: string): MachineSpec => applySettings(spec, [setting]);

/** Several settings at once: only what they make together must be possible. Later ones win. */
export function applySettings(spec: MachineSpec, settings: readonly string[]): MachineSpec {
  const geometry: Record<string, unknown> = {};
  const tunables: Record<string, unknown> = {};
  const design: Record<string, unknown> = {};
  let { seed } = spec;
  for (const setting of settings) {
    const { record, key, value } = splitSetting(setting);
    if (record === "geometry") geometry[key === "memory" ? "memoryBytes" : key] = value;
    else if (record === "tunables") tunables[key] = value;
    else if (record === "" && key === "seed") seed = parseRecord(seedSchema, "setting", { seed: value }).seed;
    else design[key] = value;
  }
  const sizes = parseGeometry({ ...spec.geometry, ...geometry });
  return {
    geometry: sizes,
    design: parseDesign(design, spec.design, rulesWith(sizes)),
    tunables: parseRecord(tunablesSchema, "tunables", { ...spec.tunables, ...tunables }),
    kernel: spec.kernel,
    seed,
  };
}

const seedSchema = z.strictObject({ seed: z.int().min(0) });

interface Setting {
  /** `geometry`, `tunables`, or empty. */
  readonly record: string;
  readonly key: string;
  readonly value: unknown;
}

const records = ["geometry", "tunables", "design"];

function splitSetting(setting: string): Setting {
  const [, path, text] = /^([^=]+)=(.*)$/s.exec(setting) ?? [];
  if (path === undefined) {
    throw new UsageError(`"${setting}" is not a setting; write axis=option, geometry.key=value or tunables.key=value`);
  }
  const dot = path.indexOf(".");
  const record = dot < 0 ? "" : path.slice(0, dot);
  const key = path.slice(dot + 1);
  if (dot >= 0 && !records.includes(record)) {
    throw new UsageError(
      `"${setting}": there is no record "${record}"${didYouMean(record, records)}; use ${records.join(", ")}`,
    );
  }
  if (dot < 0 && key !== "seed" && !(axisNames as readonly string[]).includes(key)) refuseKey(key);
  return { record, key, value: parseValue(setting, text) };
}

/** A word without a record names an axis; perhaps the record was forgotten. */
function refuseKey(key: string): never {
  const inRecords = [
    ...["memory", ...Object.keys(geometrySchema.shape)].map((name) => `geometry.${name}`),
    ...Object.keys(tunablesSchema.shape).map((name) => `tunables.${name}`),
  ];
  const meant = inRecords.find((name) => name.endsWith(`.${key}`));
  const hint = meant === undefined ? didYouMean(key, axisNames) : ` (did you mean "${meant}"?)`;
  throw new UsageError(`there is no axis "${key}"${hint}; the axes are ${axisNames.join(", ")}`);
}

/** Numbers, null and JSON lists or records as such; everything else is text. */
function parseValue(setting: string, text: string): unknown {
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  if (text === "null") return null;
  if (!/^[[{]/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError(`"${setting}": the value is not JSON`);
  }
}

const specSchema = z.strictObject({
  geometry: geometrySchema,
  design: designSchema,
  tunables: tunablesSchema,
  kernel: z.enum(Object.keys(personalities) as [PersonalityName]).describe("how calls and faults behave"),
  seed: z.int().min(0),
});

/** A record from a file, such as a report carries. */
export function parseSpec(input: unknown): MachineSpec {
  const spec = parseRecord(specSchema, "spec", input);
  const geometry = parseGeometry(spec.geometry);
  const asked = spec.design as Record<AxisName, string>;
  return { ...spec, geometry, design: parseDesign(asked, asked as unknown as Design) };
}

const kernelSchema = z.strictObject({
  summary: z.string().exactOptional(),
  personality: z.enum(Object.keys(personalities) as [PersonalityName]),
  design: designSchema.partial(),
  tunables: tunablesSchema,
});

/** A kernel from a file, in the form of a preset; axes that it leaves out are those of the personality's own preset. */
export function parseKernel(input: unknown): Pick<MachineSpec, "kernel" | "design" | "tunables"> {
  const { personality, design, tunables } = parseRecord(kernelSchema, "kernel", input);
  return { kernel: personality, design: parseDesign(design, kernelPresets[personality].design), tunables };
}

/** The JSON Schemas of the three records and of the whole, by name: what people may write. */
export function publishedSchemas(): Readonly<Record<string, unknown>> {
  const schemas = { geometry: geometrySchema, design: designSchema, tunables: tunablesSchema, spec: specSchema };
  return Object.fromEntries(
    Object.entries(schemas).map(([name, schema]) => [name, z.toJSONSchema(schema, { io: "input" })]),
  );
}
