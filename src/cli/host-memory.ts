/**
 * A run that would exceed the host's memory stops with a sentence, not with the runtime's abort: what the process takes is
 * looked at between chunks, against what the host has and what the runtime allows.
 */
import { totalmem } from "node:os";
import { getHeapStatistics } from "node:v8";
import { UsageError } from "../base/errors.ts";
import { formatSize, parseSize } from "../base/size-text.ts";

/** What is left to the rest of the host, and to growth between two looks. */
const USABLE_SHARE = 0.85;

/** Throws UsageError once the process takes more than it may. */
export type MemoryGuard = () => void;

/** `limit` as a person wrote it (--host-memory); by default most of what the host has. */
export function memoryGuard(limit: string | undefined): MemoryGuard {
  const limitBytes = limit === undefined ? Math.floor(hostBytes() * USABLE_SHARE) : parseSize(limit);
  const heapBytes = getHeapStatistics().heap_size_limit * USABLE_SHARE;
  return () => {
    const { rss, heapUsed } = process.memoryUsage();
    if (rss > limitBytes) {
      throw new UsageError(
        `the run takes ${formatSize(rss)} of the host's memory and goes on growing; the limit is ${formatSize(limitBytes)}. ` +
          "Touch less memory (a smaller workload, a part of the trace: bigmem trace cut), or allow more with --host-memory",
      );
    }
    if (heapUsed > heapBytes) {
      throw new UsageError(
        `the run takes ${formatSize(heapUsed)} of objects, and the runtime's limit is ${formatSize(heapBytes / USABLE_SHARE)}. ` +
          "Use fewer processes or areas, or set NODE_OPTIONS=--max-old-space-size=MEGABYTES",
      );
    }
  };
}

/** What the host has for this process: a container may have less than the machine. */
function hostBytes(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
