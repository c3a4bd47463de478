/**
 * Very many processes map one segment and populate it: how much simulated memory goes to page tables and to chains, and
 * what that takes of the host. A machine that is too small ends the run where its memory ends.
 *
 *     node bench/shared-segment.ts PROCESSES SIZE MACHINE [KERNEL] [SETTING ...] [--touch=SHARE] [--exit]
 */
import { Rng } from "../src/base/rng.ts";
import { formatSize, parseSize } from "../src/base/size-text.ts";
import { addressOf, PAGE_SIZE, pageOf, type Vpn } from "../src/base/units.ts";
import { LOAD } from "../src/hw/access.ts";
import { MAP_SHARED, PROT_READ, PROT_WRITE } from "../src/lab/import/calls.ts";
import { DONE, Machine } from "../src/machine.ts";
import { OpenFile } from "../src/mm/file.ts";
import { populate } from "../src/mm/populate.ts";
import { OWNER_PAGE_TABLES, OWNER_REVERSE_MAP } from "../src/mm/zone.ts";
import { type KernelName, kernelPresets, specOf } from "../src/presets.ts";

const words = process.argv.slice(2);
const flags = new Map(
  words.filter((word) => word.startsWith("--")).map((word) => word.slice(2).split("=") as [string, string]),
);
const [count, size, machineName, ...rest] = words.filter((word) => !word.startsWith("--"));
const kernel = rest[0] !== undefined && rest[0] in kernelPresets ? (rest.shift() as KernelName) : undefined;
const processes = Number(count);
if (size === undefined || machineName === undefined || !(processes >= 1)) {
  console.error(
    "usage: node bench/shared-segment.ts PROCESSES SIZE MACHINE [KERNEL] [SETTING ...] [--touch=SHARE] [--exit]",
  );
  process.exit(2);
}
const sizeBytes = parseSize(size);
const share = flags.has("touch") ? Number(flags.get("touch")) : 1;

const start = performance.now();
const machine = new Machine(specOf(machineName, kernel, rest));
const file = new OpenFile(machine.kernel.files.create({ name: "segment", kind: "shmem", sizeBytes }), "read-write");
const rng = new Rng(1);
const pages = sizeBytes / PAGE_SIZE;
const seconds = () => ((performance.now() - start) / 1000).toFixed(1);
let done = 0;
let ended = "";
for (; done < processes; done++) {
  const result = startProcess(done) || killed();
  if (result !== "") {
    ended = result;
    break;
  }
  if (done === 0 || (done + 1) % Math.ceil(processes / 5) === 0) report();
}
if (ended !== "") {
  console.log(`process ${done + 1}: ${ended}`);
  report();
}
if (flags.has("exit")) {
  for (const each of machine.processes) if (each.state === "alive") machine.exit(each, 0);
  console.log(`all have ended after ${seconds()} s`);
}

/** What a process could not have, or nothing. */
function startProcess(number: number): string {
  const each = machine.spawn(`backend ${number + 1}`);
  const thread = each.threads[0]!;
  const at = machine.call(thread, "mmap", [0, sizeBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0]);
  if (at < 0) return `mmap fails: ${at}`;
  const first: Vpn = pageOf(at);
  if (share === 1 || number === 0) {
    const result = machine.run(thread, populate(machine.kernel, thread, first, first + pages));
    return result < 0 ? `no memory after ${each.mm.tablesByLevel[1]} leaf tables` : "";
  }
  for (let touched = 0; touched < pages * share; touched++) {
    if (machine.access(thread, addressOf(first + rng.below(pages)), LOAD) !== DONE) return "no memory";
  }
  return "";
}

/** Whom the kernel has killed for want of memory, if anybody. */
function killed(): string {
  const victim = machine.processes.find(({ state }) => state === "killed");
  return victim === undefined ? "" : `out of memory: ${victim.name} is killed`;
}

function report(): void {
  const { allocator, reverseMap, memory, frames, counters } = machine.kernel;
  const leaves = machine.processes.reduce((sum, { mm }) => sum + mm.tablesByLevel[1]!, 0);
  const { heapUsed, rss } = process.memoryUsage();
  console.log(
    [
      `${done + (ended === "" ? 1 : 0)} processes: ${seconds()} s`,
      `leaf tables ${formatSize(addressOf(leaves))}`,
      `all tables ${formatSize(addressOf(allocator.ownedBy(OWNER_PAGE_TABLES)))}`,
      `chains ${reverseMap.bytes} bytes (${formatSize(reverseMap.bytes)}, in ${formatSize(addressOf(allocator.ownedBy(OWNER_REVERSE_MAP)))} of slabs)`,
      `faults ${counters.minorFaults}`,
      `free ${formatSize(addressOf(allocator.freePages))}`,
      `host: ${formatSize(rss)} resident, heap ${formatSize(heapUsed)}, contents ${formatSize(memory.hostBytes)}, frames ${formatSize(frames.hostBytes)}`,
    ].join(", "),
  );
}
