/**
 * The page that says where memory goes: who owns frames, what of that follows from the machine and what was fitted to
 * data, and how the sums compare with those of real kernels. Made by running the comparison.
 */
import { readFileSync } from "node:fs";
import {
  type Comparison,
  compareBoot,
  compareSharedArea,
  errorOf,
  type MeasuredRow,
  parseTable,
  sharedAreaRuns,
} from "../src/lab/memory/measured.ts";
import { type StructPageName, structPageBytes, structPages } from "../src/mm/memmap/struct-page.ts";
import type { OwnerName } from "../src/mm/zone.ts";

/** Why an owner has as much as it has. */
interface Account {
  readonly holds: string;
  readonly derived: string;
  readonly calibrated: string;
}

const accounts: Readonly<Record<OwnerName, Account>> = {
  "kernel-image": {
    holds: "the kernel's text, data and bss",
    derived: "-",
    calibrated: "its size, by build: fitted to MemTotal at boot",
  },
  boot: {
    holds: "what boot keeps for ever, and what startup takes that is no slab and no stack; the zero page",
    derived: "the hash tables of names and inodes (by lowmem), the first MiB",
    calibrated:
      "per-CPU areas and direct-map tables, fitted to MemTotal; modules, vmalloc and frames on per-CPU free lists, fitted to LowFree (MemFree on amd64) of the 8 GiB machine before programs start",
  },
  "bounce-buffers": {
    holds: "swiotlb",
    derived: "only with memory above 4 GiB",
    calibrated: "its 64 MiB are Linux's default",
  },
  "mem-map": {
    holds: "struct pages",
    derived:
      "as memMap lays them out: one for each frame up to the last one, of each node, or of each section with memory, holes as the firmware leaves them; they lie in lowmem, in each node's own memory, or in highmem, and that zone has them",
    calibrated: "-",
  },
  "page-tables": {
    holds: "page tables of all levels",
    derived: "each is a frame with real entries in it; PageTables and VmPTE count levels as each kernel does",
    calibrated: "-",
  },
  stacks: {
    holds: "kernel stacks",
    derived: "one for each thread: 8 KiB on i386, 16 KiB in long mode since 3.15 (8 KiB before)",
    calibrated: "how many threads of its own a kernel has (43 and 44)",
  },
  slab: {
    holds: "all other objects of the kernel",
    derived:
      "mm_structs, anon_vmas and their links, nodes of the page cache, tasks and what each process has: as many as there are, packed into slabs as SLAB or SLUB packs them",
    calibrated:
      "the slabs in use before programs start; object sizes: those of amd64 are near what /proc/slabinfo of a current kernel shows, those of i386 are estimates, and `other`, what is left of a process's share, was fitted to the slope of SUnreclaim over 500 processes",
  },
  vmas: { holds: "vm_area_structs", derived: "one for each area", calibrated: "the size of one, by build" },
  "reverse-map": {
    holds: "pte_chains, where the reverse map has any",
    derived: "one link for each entry, in blocks of a cache line",
    calibrated: "-",
  },
  user: { holds: "anonymous pages", derived: "each is a frame that some entry holds", calibrated: "-" },
  "page-cache": { holds: "pages of files", derived: "each is a frame that some file's tree holds", calibrated: "-" },
  kmap: {
    holds: "the tables of windows into highmem, and the pools and indexes of tasks",
    derived:
      "one table for kmap, one or more for kmap_atomic, by CPUs; with per-task pools four pages a task that reads; with per-task windows onto struct pages seven a task (1024 slots, PAE)",
    calibrated: "-",
  },
  "huge-pages": {
    holds: "the pools of huge pages, in use or free",
    derived: "vm.nr_hugepages of them, of 2 or 4 MiB, and those of 1 GiB",
    calibrated: "-",
  },
  "shadow-bits": {
    holds: "bits beside page tables that say what is a copy",
    derived: "128 bytes for a table of 1024 entries, 64 for one of 512, or a page, packed into whole pages",
    calibrated: "-",
  },
  quicklists: { holds: "page tables that lie idle", derived: "at most 50 a CPU", calibrated: "-" },
};

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [
    `| ${head.join(" | ")} |`,
    `|${head.map(() => "---").join("|")}|`,
    ...rows.map((row) => `| ${row.join(" | ")} |`),
  ].join("\n");

const number = (value: number): string => value.toLocaleString("en-US");

function percent(comparison: Comparison): string {
  const error = errorOf(comparison);
  if (error === undefined) return "-";
  return `${error < 0 ? "-" : "+"}${(Math.abs(error) * 100).toFixed(2)} %`;
}

const cells = (comparison: Comparison): string[] => [
  comparison.key,
  number(comparison.real),
  number(comparison.here),
  percent(comparison),
];

const tableOf = (name: string): MeasuredRow[] => parseTable(readFileSync(`test/oracle/${name}.csv`, "utf8"));

function bootTable(): string {
  const rows = tableOf("layout").flatMap((row) => compareBoot(row).map((each) => [row.run ?? "", ...cells(each)]));
  return table(["run", "key", "real, kB", "bigmem, kB", "error"], rows);
}

/** One page of each window of fault-around: more reads would not change a number. */
const STRIDE = 16;

function sharedAreaTable(): string {
  const rows = tableOf("pagetables");
  const most = Math.max(...rows.map((row) => Number(row.nproc)));
  const compared = sharedAreaRuns.flatMap((run) => compareSharedArea(run, rows, { processes: most, stride: STRIDE }));
  return table(
    ["run", "processes", "key", "real, kB", "bigmem, kB", "error"],
    compared.flatMap(({ run, processes, compared: each }) =>
      each.map((one) => [run, String(processes), ...cells(one)]),
    ),
  );
}

/** How large a struct page was, and where they are. */
const structPageSection = [
  "## Struct pages",
  "",
  "Each frame has one, at a place in memory that boot reserves: `kernel.structPages.map` says which frame holds it, at which byte, and at",
  "which address the kernel has it. The kernel presets of 32-bit machines have their own sizes:",
  "",
  "| struct page | bytes | of |",
  "|---|---|---|",
  ...(Object.keys(structPages) as StructPageName[]).map(
    (name) => `| ${name} | ${structPageBytes(name)} | ${structPages[name].of} |`,
  ),
  "",
  "On a 32-bit machine with nodes (`memMap=discontig`) the maps of nodes beyond lowmem lie at the end of each node and are mapped, by",
  "large pages, where lowmem would end: lowmem loses their addresses, and the frames that had them are highmem. With",
  "`memMap=per-task-window` all struct pages are at the top of highmem, and lowmem pays for windows instead.",
].join("\n");

const programs = `## How a process is modelled

The measured program is statically linked. It fills a 256 MiB file of shared memory through a window of 4 MiB, then forks; each
child maps the whole file and reads it. \`src/lab/memory/static-program.ts\` loads such a program area by area, and
\`src/lab/memory/shared-area.ts\` lets it run:

- **Image**: headers, text, constants, relocated data (made read-only after it was written), data, bss. The 64-bit areas are those of
  the program as it is linked today; they add up to the VmSize and the Committed_AS that were measured, to the page. Of the 32-bit image
  only the sums are known, and the areas were chosen to meet them. Text and constants are mapped from the program's file in the RAM file system, and faults bring
  in what lies around.
- **Heap and stack**: 34 and 33 pages, of which the program wrote 3 and 2 before it forks.
- **vvar and vdso**: two areas, beside the stack in long mode, on top of the mappings on i386.
- **After the fork** five pages of each child are written by it or by its parent (stack, thread data, data, two of bss) and so are copied: the slope
  of AnonPages is five pages a process.
- **Addresses** are randomised by Linux, and page tables depend on it. The model takes one draw, chosen so that VmPTE is what was
  measured. On amd64: 129 leaf tables for the area, one each for image, heap and stack; 4 tables above them, since the area crosses a boundary of
  1 GiB; 2 above these. That is 138 pages, 552 kB. On PAE: 129 and 3 leaf tables, and the three that every process is born with: 540 kB. Other
  draws give 544 to 560 kB on amd64, and 536 kB now and then on PAE; without randomisation it would be 540 and 536 kB.
- **Kernel memory**: a stack, a task_struct and what a process has beside it, an mm_struct, areas, anon_vmas with their links, and
  two names and two inodes of /proc, since each child opens its own oom_score_adj.

The system around it: a RAM file system of 5,336 kB, a shell that is init, and the program.`;

const differences = `## What differs, and why

- PageTables, AnonPages and Mapped of a real kernel lag: each CPU adds to them what it has counted once that exceeds 14 pages (56 kB) on these
  machines. With few processes that is most of the number. bigmem's counts are exact.
- MemFree of a real kernel leaves out frames on per-CPU free lists, up to some megabytes that come and go; bigmem holds a constant for them.
- PAE's top table has 32 bytes and lies in a slab; here it takes a frame. That is 4 kB a process of lowmem too much.
- Slab grows a little with memory (about 30 kB a GiB on amd64); the constant is that of the 8 GiB machine.
- Runs called \`510pae\` are of Linux 5.10, which is not modelled: they are compared with 6.1 on the same machine.
- 2.6.11 has no measurements: its startup takes nothing, and its sizes are typical or counted from the source.
- A machine with less than 256 MiB that its kernel can use gets its share of what startup takes: measurements begin at 512 MiB.
- Runs with page tables in highmem and with hugetlb are not compared.`;

/** The parts of the page, after its lead. */
export function memoryAccountingParts(): string[] {
  const owners = Object.entries(accounts).map(([owner, { holds, derived, calibrated }]) => [
    `\`${owner}\``,
    holds,
    derived,
    calibrated,
  ]);
  return [
    `## Owners\n\n${table(["owner", "holds", "derived", "calibrated"], owners)}`,
    structPageSection,
    programs,
    `## After boot\n\n/proc/meminfo of Debian's kernels in an emulated PC, and of the same machines here with the same system on them.\n\n${bootTable()}`,
    `## Processes that share an area\n\nFitted to these rows, and so no test of the model: the levels of MemFree, LowFree, KernelStack, Slab and SUnreclaim without processes and the slope of
SUnreclaim with them; VmSize, Committed_AS and Shmem, which gave the sizes of programs and files; the five pages of AnonPages; on amd64 the fourth middle table and so
8 kB of VmPTE. What follows from the model alone: all other page tables, and the slopes of PageTables, LowFree, HighFree, MemFree, KernelStack and Mapped.\n\n${sharedAreaTable()}`,
    differences,
  ];
}
