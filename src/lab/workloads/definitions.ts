/** The workloads that come with bigmem: plain data, as a person may write their own. */
import { type Workload, workloadSchema } from "./workload.ts";

const definitions: readonly unknown[] = [
  {
    schema: "bigmem.workload/1",
    name: "random-updates",
    does: "One process reads and writes single words all over a large anonymous area, as a hash join or GUPS does: nearly every access misses the TLB.",
    parameters: {
      size: { unit: "bytes", default: "256M", means: "the area" },
      updates: { unit: "count", default: 1_000_000, means: "words read and written" },
    },
    steps: [
      { do: "map", area: "table", bytes: "$size", backing: "anonymous" },
      { do: "touch", area: "table", how: "update", order: "random", pages: "$updates" },
    ],
  },
  {
    schema: "bigmem.workload/1",
    name: "shared-segment",
    does: "Processes share one segment, as database backends share their buffers, and each reads its part of it: the page tables are what grows.",
    parameters: {
      size: { unit: "bytes", default: "64M", means: "the segment" },
      processes: { unit: "count", default: 8, means: "backends" },
      touched: { unit: "share", default: 1, means: "the part of the segment that each backend touches" },
    },
    steps: [
      { do: "map", area: "segment", bytes: "$size", backing: "shared" },
      { do: "touch", area: "segment", how: "store", order: "sequential", pages: "$size / 4K" },
      {
        do: "fork",
        processes: "$processes",
        together: "at once",
        steps: [{ do: "touch", area: "segment", how: "load", order: "sequential", pages: "$size / 4K * $touched" }],
      },
    ],
  },
  {
    schema: "bigmem.workload/1",
    name: "fork-storm",
    does: "A process with much memory forks again and again; each child writes a part of it and exits, as a server that snapshots or a shell that starts programs.",
    parameters: {
      size: { unit: "bytes", default: "32M", means: "the parent's memory" },
      processes: { unit: "count", default: 50, means: "children, one after the other" },
      written: { unit: "share", default: 0.02, means: "the part of the memory that each child writes" },
    },
    steps: [
      { do: "map", area: "heap", bytes: "$size", backing: "anonymous" },
      { do: "touch", area: "heap", how: "store", order: "sequential", pages: "$size / 4K" },
      {
        do: "fork",
        processes: "$processes",
        together: "one by one",
        steps: [{ do: "touch", area: "heap", how: "store", order: "random", pages: "$size / 4K * $written" }],
      },
    ],
  },
  {
    schema: "bigmem.workload/1",
    name: "mmap-churn",
    does: "Areas of many sizes come and go, as an allocator with a threshold makes them: VMAs, page tables and TLB flushes at work.",
    parameters: {
      areas: { unit: "count", default: 64, means: "areas that exist at a time" },
      rounds: { unit: "count", default: 5000, means: "areas unmapped and mapped" },
      least: { unit: "bytes", default: "16K", means: "the smallest area" },
      most: { unit: "bytes", default: "4M", means: "the largest area" },
      touched: { unit: "share", default: 0.25, means: "the part of each area that is written" },
    },
    steps: [
      {
        do: "churn",
        areas: "$areas",
        rounds: "$rounds",
        leastBytes: "$least",
        mostBytes: "$most",
        touched: "$touched",
      },
    ],
  },
  {
    schema: "bigmem.workload/1",
    name: "file-scan",
    does: "A process maps a file and reads it from one end to the other, some times over: page cache, read-ahead, fault-around.",
    parameters: {
      size: { unit: "bytes", default: "128M", means: "the file" },
      scans: { unit: "count", default: 2, means: "times it is read" },
      accesses: { unit: "count", default: 64, means: "accesses to each page" },
    },
    steps: [
      { do: "map", area: "file", bytes: "$size", backing: "file-shared" },
      {
        do: "repeat",
        times: "$scans",
        steps: [
          {
            do: "touch",
            area: "file",
            how: "load",
            order: "sequential",
            pages: "$size / 4K",
            accessesPerPage: "$accesses",
          },
        ],
      },
    ],
  },
  {
    schema: "bigmem.workload/1",
    name: "working-set",
    does: "A process uses a small part of its memory most of the time and the rest now and then: what fits the TLB, and what fits memory.",
    parameters: {
      size: { unit: "bytes", default: "512M", means: "all its memory" },
      hot: { unit: "share", default: 0.05, means: "the part of it that is used most" },
      hotTouches: { unit: "share", default: 0.95, means: "the part of the touches that go there" },
      touches: { unit: "count", default: 1_000_000, means: "pages touched" },
      accesses: { unit: "count", default: 8, means: "accesses at each touch" },
    },
    steps: [
      { do: "map", area: "heap", bytes: "$size", backing: "anonymous" },
      {
        do: "touch",
        area: "heap",
        how: "update",
        order: "hot",
        pages: "$touches",
        accessesPerPage: "$accesses",
        hotShare: "$hot",
        hotTouches: "$hotTouches",
      },
    ],
  },
  {
    schema: "bigmem.workload/1",
    name: "execute-in-place",
    does: "Processes map one image that lies in memory without struct pages, read it, and write to some of their private data: each copy must be told from what it was copied from. Needs geometry.segments.",
    parameters: {
      size: { unit: "bytes", default: "32M", means: "the image" },
      processes: { unit: "count", default: 8, means: "processes that run it" },
      read: { unit: "share", default: 0.5, means: "the part of it that each reads" },
      written: { unit: "share", default: 0.02, means: "the part of it that each writes to" },
    },
    steps: [
      { do: "map", area: "image", bytes: "$size", backing: "xip-private" },
      { do: "touch", area: "image", how: "load", order: "sequential", pages: "$size / 4K * $read" },
      {
        do: "fork",
        processes: "$processes",
        together: "at once",
        steps: [
          { do: "touch", area: "image", how: "load", order: "random", pages: "$size / 4K * $read" },
          { do: "touch", area: "image", how: "store", order: "random", pages: "$size / 4K * $written" },
        ],
      },
    ],
  },
];

/** By name. */
export const workloads: ReadonlyMap<string, Workload> = new Map(
  definitions.map((definition) => {
    const workload = workloadSchema.parse(definition);
    return [workload.name, workload];
  }),
);
