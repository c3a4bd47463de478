import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { TraceEvent } from "../../lab/trace/event.ts";
import { type Abi, LOAD, STORE } from "../../lab/trace/format.ts";
import { TraceReader } from "../../lab/trace/reader.ts";
import { walk } from "../../lab/trace/walk.ts";
import { zstdCodec } from "../codec.ts";
import { readBytes } from "../files.ts";
import { shapeOf } from "./calls.ts";
import { findTool } from "./elf.ts";
import { findQemu } from "./qemu-tools.ts";
import { findValgrind } from "./valgrind.ts";

const folder = mkdtempSync(join(tmpdir(), "bigmem-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const compiler = findTool("cc");
const known = new URL("./testing/known.c", import.meta.url).pathname;
const input = join(folder, "input");
writeFileSync(input, new Uint8Array(5 * 4096 + 100));

/** Compiles a program for an ABI; undefined where this machine cannot. */
function compiled(source: string, name: string, abi: Abi): string | undefined {
  const path = join(folder, `${name}-${abi}`);
  if (existsSync(path)) return path;
  if (compiler === undefined) return undefined;
  const flags = ["-O1", "-pthread", abi === "i386" ? "-m32" : "-m64", "-o", path, source];
  return spawnSync(compiler, flags).status === 0 ? path : undefined;
}

/** Runs the verb in a process of its own, as a person does. */
function record(recorder: string, command: readonly string[], output: string) {
  const module = new URL("./record.ts", import.meta.url).href;
  const code = `const { recordCommand } = await import(${JSON.stringify(module)});
    process.exitCode = await recordCommand(${JSON.stringify(command)}, ${JSON.stringify({ recorder, output })});`;
  return spawnSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8", input: "given\n" });
}

const AREA = 0x60000;
const AREA_PAGES = 68;

/** What a trace says of the program's own area: who touched which of its pages, and which calls were made on it. */
async function readArea(path: string) {
  const touched = new Map<string, Set<number>>();
  const touch = (who: string, page: number): void => {
    if (page < AREA || page >= AREA + AREA_PAGES) return;
    if (!touched.has(who)) touched.set(who, new Set());
    touched.get(who)?.add(page - AREA);
  };
  const calls: string[] = [];
  const events: TraceEvent[] = [];
  let thread = 0;
  await walk(new TraceReader(readBytes(path), zstdCodec(), path), {
    run(kind, page) {
      if (kind === LOAD) touch(`${thread} loads`, page);
      if (kind === STORE) touch(`${thread} stores`, page);
    },
    event(event) {
      events.push(event);
      if (event.op === "start" || event.op === "switch") thread = event.thread;
      if (event.op === "kernel-access" && event.lengthBytes > 0) {
        const last = Math.floor((event.address + event.lengthBytes - 1) / 4096);
        for (let page = Math.floor(event.address / 4096); page <= last; page++) touch(`kernel ${event.kind}s`, page);
      }
      if (
        event.op === "call" &&
        Math.floor(event.args[0] / 4096) >= AREA &&
        event.args[0] < (AREA + AREA_PAGES) * 4096
      ) {
        calls.push(
          `${event.name} ${event.args[0] / 4096 - AREA} ${event.args[1] / 4096}${event.file ? ` ${event.file.path} ${event.file.sizeBytes}` : ""} = ${event.result === 0 ? 0 : event.result / 4096 - AREA}`,
        );
      }
    },
  });
  const pages = Object.fromEntries([...touched].map(([who, set]) => [who, ranges([...set].sort((a, b) => a - b))]));
  return { pages, calls, events };
}

/** 0, 1, 2, 5 as "0-2 5". */
function ranges(sorted: readonly number[]): string {
  const parts: [number, number][] = [];
  for (const page of sorted) {
    const last = parts.at(-1);
    if (last !== undefined && last[1] === page - 1) last[1] = page;
    else parts.push([page, page]);
  }
  return parts.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(" ");
}

interface Case {
  readonly recorder: "qemu" | "valgrind";
  readonly abi: Abi;
}
const cases: Case[] = (["qemu", "valgrind"] as const).flatMap((recorder) =>
  (["x86-64", "i386"] as const).map((abi) => ({ recorder, abi })),
);

/** What a case lacks on this machine. */
function missing({ recorder, abi }: Case): string | undefined {
  if (compiled(known, "known", abi) === undefined) return abi === "i386" ? "a C compiler with -m32" : "a C compiler";
  const tools = recorder === "qemu" ? findQemu(abi) : findValgrind();
  return "missing" in tools ? tools.missing : undefined;
}

describe("record", () => {
  for (const each of cases) {
    const { recorder, abi } = each;
    const lacks = missing(each);
    const title = `${recorder} sees every page, call, fork and kernel access of a known ${abi} program`;
    test.skipIf(lacks !== undefined)(lacks === undefined ? title : `${title} (skipped: needs ${lacks})`, async () => {
      const output = join(folder, `${recorder}-${abi}.bmt`);
      const program = compiled(known, "known", abi) ?? "";
      const run = record(recorder, [program, input], output);
      expect(run.stdout).toBe("done\n");
      expect(run.status).toBe(3);

      const { pages, calls, events } = await readArea(output);
      // Threads are counted as they appear: 1 the program, 2 its child, 3 its second thread.
      expect(pages).toEqual({
        "1 stores": "0-31",
        "1 loads": "8-15 32-35 65",
        "2 stores": "0-9",
        "3 stores": "50-53",
        "kernel stores": recorder === "qemu" ? "40-41 43 45" : "40-41",
      });
      expect(calls).toEqual([
        "mmap 0 64 = 0",
        "mprotect 32 4 = 0",
        `mmap 64 4 ${input} ${5 * 4096 + 100} = 64`,
        "madvise 0 4 = 0",
        "munmap 60 4 = 0",
      ]);
      const structure = events.filter(({ op }) => op === "start" || op === "fork" || op === "exit");
      expect(structure).toMatchObject([
        { op: "start", thread: 1, process: 1, abi },
        { op: "fork", child: 2, process: 2, shares: "nothing" },
        { op: "exit", thread: 2, status: 7, scope: "process" },
        { op: "fork", child: 3, process: 1, shares: "memory" },
        { op: "exit", thread: 3, scope: "thread" },
        { op: "exit", thread: 1, status: 3, scope: "process" },
      ]);
      expect(events.some((event) => event.op === "open" && event.path === input)).toBe(true);
    });

    test.skipIf(lacks !== undefined)(`${recorder} knows the maps before the first instruction (${abi})`, async () => {
      const program = compiled(known, "known", abi) ?? "";
      const output = join(folder, `${recorder}-${abi}-start.bmt`);
      record(recorder, [program, input], output);
      const { events } = await readArea(output);
      const [start] = events;
      if (start.op !== "start") throw new Error(`the first event is ${start.op}`);
      const images = start.regions.filter(({ what, file }) => what === "image" && file === program);
      expect(images.map(({ rights }) => rights)).toEqual(["r--p", "r-xp", "r--p", "rw-p"]);
      expect(start.regions.filter(({ what }) => what === "stack")).toHaveLength(1);
      const ends = start.regions.map(({ end }) => end);
      start.regions.slice(1).forEach(({ start: from }, i) => {
        expect(from).toBeGreaterThanOrEqual(ends[i]);
      });
      const firstBreak = events.find((event) => event.op === "call" && event.name === "brk");
      expect(firstBreak).toMatchObject({ result: start.brk });
    });

    test.skipIf(lacks !== undefined)(`${recorder} follows what a shell runs (${abi})`, async () => {
      const program = compiled(known, "known", abi) ?? "";
      const output = join(folder, `${recorder}-${abi}-exec.bmt`);
      const run = record(recorder, ["/bin/sh", "-c", `cat; ${program} ${input}; exit 9`], output);
      expect(run.stdout).toBe("given\ndone\n");
      expect(run.status).toBe(9);
      const { pages, events } = await readArea(output);
      expect(events.flatMap((event) => (event.op === "exec" ? [event.name] : []))).toEqual(["cat", `known-${abi}`]);
      expect(pages).toMatchObject({ "3 stores": "0-31", "4 stores": "0-9", "5 stores": "50-53" });
    });
  }

  const qemuLacks = missing({ recorder: "qemu", abi: "x86-64" });
  test.skipIf(qemuLacks !== undefined)("keeps what a killed process did, and its signal", async () => {
    const source = join(folder, "killed.c");
    writeFileSync(
      source,
      `#include <sys/mman.h>
       #include <signal.h>
       int main(void) {
         volatile char *area = mmap((void *)0x60000000, 16 * 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
         for (int page = 0; page < 16; page++) area[page * 4096] = 1;
         raise(SIGKILL);
       }`,
    );
    const output = join(folder, "killed.bmt");
    const run = record("qemu", [compiled(source, "killed", "x86-64") ?? ""], output);
    expect(run.status).toBe(128 + 9);
    const { pages, events } = await readArea(output);
    expect(pages["1 stores"]).toBe("0-15");
    expect(events.at(-1)).toMatchObject({ op: "exit", thread: 1, status: 128 });
  });

  test("fails with 125 and leaves nothing when it cannot record", () => {
    const output = join(folder, "none.bmt");
    const absent = record("auto", [join(folder, "no-such-program")], output);
    expect(absent.status).toBe(125);
    expect(absent.stderr).toContain("no such program");
    const text = record("auto", [input], output);
    expect(text.status).toBe(125);
    const unknown = record("perf", ["/bin/true"], output);
    expect(unknown.status).toBe(125);
    expect(unknown.stderr).toContain("auto, qemu, valgrind");
    expect(readdirSync(folder).filter((name) => name.includes("none.bmt"))).toEqual([]);
  });

  test.skipIf(qemuLacks !== undefined).each(["SIGINT", "SIGTERM"] as const)(
    "leaves nothing after %s",
    async (signal) => {
      const output = join(folder, "stopped.bmt");
      const bigmem = new URL("../../../bin/bigmem.js", import.meta.url).pathname;
      const temporary = join(folder, "temporary");
      mkdirSync(temporary, { recursive: true });
      const command = ["record", "--recorder", "qemu", "-o", output, "--", "/bin/sh", "-c", "echo runs; exec sleep 60"];
      const child = spawn(process.execPath, [bigmem, ...command], {
        env: { ...process.env, TMPDIR: temporary, NODE_DISABLE_COMPILE_CACHE: "1" },
      });
      await new Promise((resolve) => child.stdout.once("data", resolve));
      child.kill(signal);
      const [status] = await once(child, "close");
      expect(status).toBe(signal === "SIGINT" ? 130 : 143);
      expect(readdirSync(temporary)).toEqual([]);
      expect(readdirSync(folder).filter((name) => name.includes("stopped"))).toEqual([]);
    },
  );

  test("says what to install where no recorder is there", () => {
    const module = new URL("./record.ts", import.meta.url).href;
    const code = `const { recordCommand } = await import(${JSON.stringify(module)});
      process.exitCode = await recordCommand(["/bin/true"], { recorder: "auto", output: "x.bmt" });`;
    const run = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
      encoding: "utf8",
      env: { PATH: folder },
      cwd: folder,
    });
    expect(run.status).toBe(125);
    expect(run.stderr).toContain("apt install qemu-user gcc, or apt install valgrind");
  });
});

for (const abi of ["x86-64", "i386"] as const) {
  const headers = kernelNumbers(abi);
  const lacks = headers === undefined ? ` (skipped: needs a C compiler for ${abi})` : "";
  test.skipIf(headers === undefined)(`calls have the kernel's own numbers on ${abi}${lacks}`, () => {
    const wrong = [...(headers ?? [])].filter(([number, name]) => {
      const known = shapeOf(abi, number)?.name;
      return known !== undefined && known !== name && !(known === "old_mmap" && name === "mmap");
    });
    expect(wrong).toEqual([]);
    expect(headers?.size).toBeGreaterThan(300);
  });
}

/** Every system call's name by its number, from the C library's headers. */
function kernelNumbers(abi: Abi): Map<number, string> | undefined {
  if (compiler === undefined) return undefined;
  const flags = [abi === "i386" ? "-m32" : "-m64", "-E", "-dM", "-include", "asm/unistd.h", "-x", "c", "/dev/null"];
  const { status, stdout } = spawnSync(compiler, flags, { encoding: "utf8" });
  if (status !== 0) return undefined;
  return new Map(
    [...stdout.matchAll(/^#define __NR_(\w+) (\d+)$/gm)].map(([, name, number]) => [Number(number), name]),
  );
}
