/**
 * The calls on open files under the names that programs call them by. Where a program passes a buffer, a number stands
 * for that many bytes whose values nobody knows.
 */
import { OpenFile } from "./file.ts";
import { fadvise, fallocate, fsync, ftruncate, writeFile } from "./file-io.ts";
import { readFile } from "./file-read.ts";
import type { Argument, SystemCall, SystemCalls } from "./syscalls.ts";
import { unsigned } from "./words.ts";

const openOf = (argument: Argument | undefined): OpenFile | null => (argument instanceof OpenFile ? argument : null);
const numberOf = (argument: Argument | undefined): number => (typeof argument === "number" ? argument : 0);
const bytesOf = (argument: Argument | undefined): Uint8Array | number =>
  argument instanceof Uint8Array ? argument : numberOf(argument);

/** A file offset (loff_t), which programs may pass as an unsigned number. */
const offsetOf = (argument: Argument | undefined): number => {
  const value = numberOf(argument);
  return value >= 2 ** 63 ? value - 2 ** 64 : value;
};

const call = (names: string, path: SystemCall["path"]): SystemCall => ({ arguments: names.split(" "), path });

export const fileCalls = {
  pread: call("file bytes offset", (kernel, _thread, [file, bytes, offset]) =>
    readFile(kernel, openOf(file), bytesOf(bytes), offsetOf(offset)),
  ),
  pwrite: call("file bytes offset", (kernel, thread, [file, bytes, offset]) =>
    writeFile(kernel, thread, openOf(file), bytesOf(bytes), offsetOf(offset)),
  ),
  ftruncate: call("file size", (kernel, thread, [file, size]) =>
    ftruncate(kernel, thread, openOf(file), offsetOf(size)),
  ),
  fallocate: call("file mode offset length", (kernel, thread, [file, mode, offset, length]) =>
    fallocate(kernel, thread, openOf(file), numberOf(mode), offsetOf(offset), offsetOf(length)),
  ),
  fadvise: call("file offset length advice", (kernel, _thread, [file, offset, length, advice]) =>
    fadvise(kernel, openOf(file), offsetOf(offset), offsetOf(length), numberOf(advice)),
  ),
  fsync: call("file", (kernel, _thread, [file]) => fsync(kernel, openOf(file))),
  remap_file_pages: call("start size prot index flags", (kernel, thread, [start, size, prot, index, flags]) =>
    kernel.nonlinear.remapFilePages(kernel, thread, {
      start: unsigned(kernel.layout, numberOf(start)),
      sizeBytes: unsigned(kernel.layout, numberOf(size)),
      prot: numberOf(prot),
      index: unsigned(kernel.layout, numberOf(index)),
      flags: numberOf(flags),
    }),
  ),
  map_large_page: call("address size index", (kernel, thread, [address, size, index]) =>
    kernel.bigPages.mapLargePage(
      kernel,
      thread,
      unsigned(kernel.layout, numberOf(address)),
      unsigned(kernel.layout, numberOf(size)),
      numberOf(index),
    ),
  ),
  alloc_hugepages: call("key address length prot flag", (kernel, thread, [key, address, length, prot, flag]) =>
    kernel.bigPages.allocHugepages(kernel, thread, {
      key: numberOf(key),
      address: unsigned(kernel.layout, numberOf(address)),
      bytes: unsigned(kernel.layout, numberOf(length)),
      prot: numberOf(prot),
      flag: numberOf(flag),
    }),
  ),
  free_hugepages: call("address", (kernel, thread, [address]) =>
    kernel.bigPages.freeHugepages(kernel, thread, unsigned(kernel.layout, numberOf(address))),
  ),
} as const satisfies SystemCalls;
