/**
 * A program as Linux loads it without randomisation, from how a recorder found it loaded: the image at its fixed base,
 * the break behind it, the dynamic linker as the first mapping from above, vvar and vdso below it, the stack at the top.
 *
 * What exec touches before the first instruction is known too: the pages with arguments, environment and auxiliary
 * vector, and in each image the page where initialised data end and zeroes begin.
 *
 * @models linux-6.1 fs/binfmt_elf.c load_elf_binary, create_elf_tables, padzero; arch/x86/entry/vdso/vma.c map_vdso
 * @differs the last page of every writable segment counts as touched, even if its data end just there
 */
import { UsageError } from "../../base/errors.ts";
import { PAGE_SIZE, type Vaddr } from "../../base/units.ts";
import type { EventOf, Region } from "../trace/event.ts";

/** Regions of the recording that move as one. */
export interface ImageGroup {
  readonly regions: readonly Region[];
  readonly start: Vaddr;
  readonly end: Vaddr;
}

/** A recorded program's parts. */
export interface RecordedImage {
  readonly program: ImageGroup;
  /** Null for a static program. */
  readonly linker: ImageGroup | null;
  readonly stack: Region;
  /** Whether the kernel chooses where the program goes. */
  readonly isRelocatable: boolean;
}

/** What the kernel maps of a stack below the strings and pointers that exec writes. */
const STACK_SLACK_BYTES = 128 * 1024;
/** Where recorders put a program that could lie anywhere: qemu-user, valgrind. Others lie where they were linked for. */
const recorderBases: readonly Vaddr[] = [0x40_0000_0000, 0x10_8000];

export type Loading = Pick<EventOf<"start">, "abi" | "regions" | "brk" | "name">;

/** Throws UsageError for what no native layout is known of. */
export function recordedImage({ abi, regions, brk, name }: Loading): RecordedImage {
  const what = name ?? "the program";
  if (abi !== "x86-64") throw new UsageError(`${what}: native layouts are known of 64-bit programs only`);
  const groups = imageGroups(regions);
  const stack = regions.find((region) => region.what === "stack" || region.what === "[stack]");
  const program =
    groups.find((group) => fileName(group) === name) ?? groups.find((group) => group.end === brk) ?? groups[0];
  if (program === undefined || stack === undefined)
    throw new UsageError(`${what}: the recording does not say where its image and its stack lie`);
  const linker = groups.find((group) => group !== program) ?? null;
  const isRelocatable = recorderBases.some((base) => base === program.start);
  return { program, linker, stack, isRelocatable };
}

/** A program's name is that of its file. */
const fileName = ({ regions }: ImageGroup): string | undefined => regions[0]?.file?.split("/").at(-1);

/** The images, each with all that follows it without a gap. */
function imageGroups(regions: readonly Region[]): ImageGroup[] {
  const groups: { regions: Region[]; start: Vaddr; end: Vaddr; file: string | undefined }[] = [];
  for (const region of regions) {
    if (region.what !== "image") continue;
    const last = groups.at(-1);
    const belongs = last !== undefined && (region.file === last.file || region.file === undefined);
    if (belongs) {
      last.regions.push(region);
      last.end = region.end;
    } else {
      groups.push({ regions: [region], start: region.start, end: region.end, file: region.file });
    }
  }
  return groups;
}

/** Recorded pages that exec has stored to when the first instruction runs, as ranges in bytes. */
export function execStores(image: RecordedImage): { readonly address: Vaddr; readonly lengthBytes: number }[] {
  const { stack, program, linker } = image;
  const used = Math.min(stack.start + STACK_SLACK_BYTES, stack.end - PAGE_SIZE);
  const stores = [{ address: used, lengthBytes: stack.end - used }];
  for (const group of [program, linker]) {
    for (const { file, rights, end } of group?.regions ?? []) {
      if (file !== undefined && rights[1] === "w") stores.push({ address: end - PAGE_SIZE, lengthBytes: PAGE_SIZE });
    }
  }
  return stores;
}
