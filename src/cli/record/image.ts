/**
 * The address space as a program finds it before its first instruction: the images of the program and of its dynamic
 * linker, the stack, and what else the emulator put there.
 *
 * Emulators map images their own way (qemu-user maps code without the execute right, and everything of one file as one
 * mapping); so only the place of each image is taken from /proc/PID/maps, its regions come from the ELF file.
 */
import { statSync } from "node:fs";
import type { Region } from "../../lab/trace/event.ts";
import type { Abi } from "../../lab/trace/format.ts";
import { type ElfFile, programName, readElf, type Segment } from "./elf.ts";

const PAGE_BYTES = 4096;
/** What the kernel maps of a stack below the strings and pointers that exec writes. @models linux-6.1 fs/exec.c setup_arg_pages */
const STACK_SLACK_BYTES = 128 * 1024;

export interface MapsLine {
  readonly start: number;
  readonly end: number;
  readonly rights: string;
  readonly offset: number;
  readonly path: string;
}

/** The lines of a /proc/PID/maps. */
export function parseMaps(text: string): MapsLine[] {
  const lines: MapsLine[] = [];
  for (const line of text.split("\n")) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) ([r-][w-][x-][ps]) ([0-9a-f]+) \S+ \d+ *(.*)$/.exec(line);
    if (match === null) continue;
    const [, start, end, rights, offset, path] = match;
    lines.push({
      start: Number.parseInt(start, 16),
      end: Number.parseInt(end, 16),
      rights,
      offset: Number.parseInt(offset, 16),
      path,
    });
  }
  return lines;
}

export interface Image {
  readonly abi: Abi;
  readonly name: string;
  readonly regions: Region[];
  readonly brk: number;
}

/** `stackAddress` lies on the stack: the address of the program's first data access. */
export function imageOf(maps: readonly MapsLine[], abi: Abi, stackAddress: number): Image {
  const regions: Region[] = [];
  let name = "";
  let brk = 0;
  const files = new Set(maps.map((line) => line.path).filter((path) => path.startsWith("/")));
  for (const path of files) {
    const elf = readElf(path);
    if (elf === undefined) continue;
    const bias = loadBias(elf, path, maps);
    const end = addImage(regions, path, elf, bias);
    // The program itself is the one that names a dynamic linker, or the only one.
    if (elf.interpreter === undefined && files.size > 1 && name !== "") continue;
    if (elf.interpreter !== undefined || name === "") {
      name = programName(path);
      brk = end;
    }
  }
  addStack(regions, maps, stackAddress);
  for (const line of maps) {
    if (line.path.startsWith("/") || line.rights.startsWith("---")) continue;
    if (regions.some((region) => region.start < line.end && line.start < region.end)) continue;
    if (line.start <= stackAddress && stackAddress < line.end) continue;
    if (line.start === brk) continue;
    regions.push(anonymous(line.start, line.end, line.rights, line.rights === "r-xp" ? "vdso" : "anonymous"));
  }
  regions.sort((a, b) => a.start - b.start);
  return { abi, name, regions, brk };
}

const pageFloor = (address: number): number => Math.floor(address / PAGE_BYTES) * PAGE_BYTES;
const pageCeil = (address: number): number => Math.ceil(address / PAGE_BYTES) * PAGE_BYTES;

function loadBias(elf: ElfFile, path: string, maps: readonly MapsLine[]): number {
  const lowest = Math.min(...maps.filter((line) => line.path === path).map((line) => line.start));
  const linked = Math.min(...elf.segments.map((segment) => segment.address));
  return lowest - pageFloor(linked);
}

/** Adds an image's regions; returns where the last one ends. */
function addImage(regions: Region[], path: string, elf: ElfFile, bias: number): number {
  const fileBytes = statSync(path).size;
  let imageEnd = 0;
  for (const segment of elf.segments) {
    const start = pageFloor(segment.address + bias);
    const fileEnd = pageCeil(segment.address + segment.fileBytes + bias);
    const end = pageCeil(segment.address + segment.memoryBytes + bias);
    const rights = rightsOf(segment);
    if (segment.fileBytes > 0) {
      const offset = pageFloor(segment.offset);
      regions.push({ start, end: fileEnd, rights, what: "image", offset, file: path, fileBytes });
    }
    const anonymousStart = segment.fileBytes > 0 ? fileEnd : start;
    if (end > anonymousStart) regions.push(anonymous(anonymousStart, end, rights, "image"));
    imageEnd = Math.max(imageEnd, end);
  }
  return imageEnd;
}

const rightsOf = ({ readable, writable, executable }: Segment): string =>
  `${readable ? "r" : "-"}${writable ? "w" : "-"}${executable ? "x" : "-"}p`;

const anonymous = (start: number, end: number, rights: string, what: string): Region => ({
  start,
  end,
  rights,
  what,
  offset: 0,
});

/** Emulators map the whole stack at once; a kernel maps its upper end and lets it grow. */
function addStack(regions: Region[], maps: readonly MapsLine[], stackAddress: number): void {
  const line = maps.find(({ start, end }) => start <= stackAddress && stackAddress < end);
  if (line === undefined) return;
  const start = Math.max(line.start, pageFloor(stackAddress) - STACK_SLACK_BYTES);
  regions.push(anonymous(start, line.end, "rw-p", "stack"));
}
