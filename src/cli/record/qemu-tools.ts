/**
 * What the QEMU back end needs on a machine: an emulator, a C compiler, the plugin compiled for them, and the folder in
 * which the plugin finds everything.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UsageError } from "../../base/errors.ts";
import { type Abi, abiNames } from "../../lab/trace/format.ts";
import { compiled, findCompiler } from "../compiled.ts";
import { ruleTable } from "./calls.ts";
import { findTool } from "./elf.ts";

const emulators: Record<Abi, string> = { "x86-64": "qemu-x86_64", i386: "qemu-i386" };
/** Where 32-bit programs lie in the emulator's memory. 64-bit ones lie at their own addresses. */
export const I386_BASE = "0x100000000000";
const pluginFolder = new URL("./plugin/", import.meta.url);

export interface QemuTools {
  readonly compiler: string;
  /** By ABI; at least the one asked for. */
  readonly emulators: ReadonlyMap<Abi, string>;
  /** As `qemu-x86_64 --version` says it. */
  readonly version: string;
}

/** What this back end needs on this machine for a program; or the name of what is missing. */
export function findQemu(abi: Abi): QemuTools | { missing: string } {
  const compiler = findCompiler();
  const found = new Map<Abi, string>();
  for (const each of abiNames) {
    const path = findTool(emulators[each]);
    if (path !== undefined) found.set(each, path);
  }
  const emulator = found.get(abi);
  if (emulator === undefined) return { missing: `${emulators[abi]} (package qemu-user)` };
  if (compiler === undefined) return { missing: "a C compiler (package gcc)" };
  if (!execFileSync(emulator, ["--help"], { encoding: "utf8" }).includes("-plugin")) {
    return { missing: `a ${emulators[abi]} that was built with plugins` };
  }
  const version = /version (\d+\.\d+\S*)/.exec(execFileSync(emulator, ["--version"], { encoding: "utf8" }))?.[1];
  if (version === undefined) return { missing: `a ${emulators[abi]} that says its version` };
  return { compiler, emulators: found, version };
}

/** The plugin interface's number: QEMU 9.0 stopped taking 1, and later ones take 2. */
function pluginInterface(version: string): number {
  const major = Number.parseInt(version, 10);
  if (major >= 9) return 2;
  if (major >= 6) return 1;
  throw new UsageError(`QEMU ${version} is too old for bigmem's plugin (6.0 and later work); try --recorder valgrind`);
}

/** Compiles the plugin, unless that was done before; returns its path. */
export function compiledPlugin(tools: QemuTools): string {
  const defines = [`-DPLUGIN_API=${pluginInterface(tools.version)}`, `-DI386_BASE="${I386_BASE}"`];
  return compiled(tools.compiler, {
    what: "bigmem's plugin for QEMU; try --recorder valgrind",
    name: "plugin",
    suffix: ".so",
    flags: ["-std=gnu11", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread", ...defines],
    folder: pluginFolder,
  });
}

/** The folder that the plugin finds everything in. Programs that change their user must reach it too. */
export function prepareFolder(tools: QemuTools, plugin: string): string {
  const folder = mkdtempSync(join(tmpdir(), "bigmem-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  if (folder.includes(",")) throw new UsageError(`${tmpdir()}: TMPDIR must have no comma in its name`);
  chmodSync(folder, 0o733);
  copyFileSync(plugin, join(folder, "plugin.so"));
  for (const [abi, emulator] of tools.emulators) {
    writeFileSync(join(folder, `calls.${abi}`), ruleTable(abi));
    symlinkSync(emulator, join(folder, `qemu.${abi}`));
  }
  const shared = new Uint8Array(4096);
  shared[8] = 1; // one thread lives
  writeFileSync(join(folder, "shared"), shared);
  for (const name of ["shared", "plugin.so"]) chmodSync(join(folder, name), name === "shared" ? 0o666 : 0o755);
  return folder;
}
