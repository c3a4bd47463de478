/**
 * Nonlinear mappings without nonlinear areas: each call maps its piece anew, as an area of its own. Programs keep
 * working; what they pay is an area for every piece that is out of order, and the limit on areas.
 *
 *     before   [ file 0 1 2 3 4 5 6 7 ]         remap_file_pages(page 2, 2 pages, index 6)
 *     after    [ 0 1 ][ 6 7 ][ 4 5 6 7 ]        three areas where there was one
 *
 * @models linux-6.1 mm/mmap.c remap_file_pages
 */
import { EINVAL } from "../../base/errno.ts";
import { addressOf, PAGE_SIZE, pageOf, type Vpn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { OpenFile } from "../file.ts";
import { holdFile, releaseFile } from "../file-lifetime.ts";
import type { Kernel } from "../kernel.ts";
import { type MapRequest, mapHuge, mapLocked } from "../map.ts";
import { populate } from "../populate.ts";
import type { Thread } from "../process.ts";
import { VM_ACCESS, VM_LOCKED, VM_SHARED, type Vma } from "../vma.ts";
import { MAP_FIXED, MAP_LOCKED, MAP_NONBLOCK, MAP_POPULATE, MAP_SHARED } from "../vma-flags.ts";
import { alignDown, wordLimit } from "../words.ts";
import { linearOnly } from "./linear-only.ts";
import type { Nonlinear, RemapRequest } from "./nonlinear.ts";

export const emulated: Nonlinear = {
  ...linearOnly,
  *remapFilePages(kernel: Kernel, thread: Thread, request: RemapRequest): Path<number> {
    if (request.prot !== 0) return -EINVAL;
    const start = alignDown(kernel.layout, request.start);
    const lengthBytes = alignDown(kernel.layout, request.sizeBytes);
    const limit = wordLimit(kernel.layout);
    if (lengthBytes === 0 || start + lengthBytes >= limit) return -EINVAL;
    // The place in the file is told in pages as programs know them.
    const index = request.index * kernel.layout.userPages;
    if (index + pageOf(lengthBytes) >= limit) return -EINVAL;
    return yield* remap(kernel, thread, { ...request, start, sizeBytes: lengthBytes, index });
  },
};

function* remap(kernel: Kernel, thread: Thread, request: RemapRequest): Path<number> {
  const { mm } = thread;
  const first = pageOf(request.start);
  const pages = pageOf(request.sizeBytes);
  if (!mm.mmapSem.tryRead(thread)) yield* mm.mmapSem.read(thread);
  const seen = mm.vmas.containing(first);
  const flags = seen === null ? 0 : seen.flags;
  const opened = seen === null ? null : seen.opened;
  mm.mmapSem.releaseRead(thread);
  if (opened === null || (flags & VM_SHARED) === 0 || opened.file.raw !== null) return -EINVAL;

  // The old area may be the last that keeps the file.
  holdFile(opened.file);
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const vma = mm.vmas.containing(first);
  const unchanged = vma !== null && vma.flags === flags && vma.opened === opened && spans(vma, first + pages);
  const asked = mapRequest(request, flags, opened);
  const address = unchanged ? yield* mapAgain(kernel, thread, asked) : -EINVAL;
  const wanted = wantsPages(asked.flags, mm.defaultFlags);
  mm.mmapSem.releaseWrite(thread);
  releaseFile(kernel, opened.file);
  if (address < 0) return address;
  if (wanted) yield* populate(kernel, thread, first, first + pages);
  return 0;
}

/** The mmap that stands for the call. */
function mapRequest(request: RemapRequest, areaFlags: number, file: OpenFile): MapRequest {
  const locked = (areaFlags & VM_LOCKED) !== 0 ? MAP_LOCKED : 0;
  return {
    address: addressOf(pageOf(request.start)),
    lengthBytes: request.sizeBytes,
    prot: areaFlags & VM_ACCESS,
    flags: (request.flags & MAP_NONBLOCK) | MAP_SHARED | MAP_FIXED | MAP_POPULATE | locked,
    file,
    offsetBytes: request.index * PAGE_SIZE,
  };
}

/** MAP_NONBLOCK takes back what MAP_POPULATE asks for, but not what a locked area needs. */
const wantsPages = (flags: number, defaultFlags: number): boolean =>
  ((flags & MAP_LOCKED) | (defaultFlags & VM_LOCKED)) !== 0 || (flags & MAP_NONBLOCK) === 0;

/** Whether `vma` and areas of the same kind right above it reach up to `end`. */
function spans(vma: Vma, end: Vpn): boolean {
  let last = vma;
  while (last.end < end) {
    const { above } = last;
    if (above === null || above.start !== last.end) return false;
    if (above.opened !== vma.opened || above.flags !== vma.flags) return false;
    last = above;
  }
  return true;
}

const mapAgain = (kernel: Kernel, thread: Thread, asked: MapRequest): Path<number> =>
  asked.file?.file.huge == null ? mapLocked(kernel, thread, asked) : mapHuge(kernel, thread, asked);
