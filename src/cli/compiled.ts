/** C programs that come with bigmem: compiled on demand, once for each version of their source, into a cache folder. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findTool } from "./record/elf.ts";

/** The path of a C compiler; undefined where there is none. */
export const findCompiler = (): string | undefined =>
  [process.env.CC, "cc", "gcc", "clang"].map((name) => name && findTool(name)).find(Boolean) || undefined;

export interface CompiledProgram {
  /** What a message calls it. */
  readonly what: string;
  /** The name of the result, without its version. */
  readonly name: string;
  readonly suffix: string;
  readonly flags: readonly string[];
  /** The folder of its sources and headers. */
  readonly folder: URL;
}

/** Compiles every C file of the folder into one result, unless that was done before; returns its path. */
export function compiled(compiler: string, { what, name, suffix, flags, folder }: CompiledProgram): string {
  const files = readdirSync(folder)
    .filter((file) => /\.[ch]$/.test(file))
    .sort()
    .map((file) => join(fileURLToPath(folder), file));
  const hash = createHash("sha256").update(flags.join());
  for (const file of files) hash.update(readFileSync(file));
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "bigmem");
  const path = join(cache, `${name}-${hash.digest("hex").slice(0, 16)}${suffix}`);
  if (existsSync(path)) return path;
  mkdirSync(cache, { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  const sources = files.filter((file) => file.endsWith(".c"));
  try {
    execFileSync(compiler, [...flags, "-o", unfinished, ...sources], { stdio: "pipe" });
  } catch (error) {
    const said = (error as { stderr?: Buffer }).stderr?.toString().trim() ?? String(error);
    throw new Error(`${compiler} cannot compile ${what}\n${said}`);
  }
  renameSync(unfinished, path);
  return path;
}
