/**
 * An array for each NUMA node, of all that the node spans, in the node's own memory: who works on a page finds its struct
 * page near. On a 32-bit machine that memory is highmem; each such array is mapped, by large pages, where lowmem would
 * end, so that lowmem ends earlier, and the frames that lost their addresses are highmem.
 *
 *     page offset                             highstart
 *     | lowmem of node 0, and its map | 7 | .. | 1 | windows     <- addresses
 *     node 1:  ............................. | map |             <- its frames, the map at the end
 *
 * @models linux-2.5.65 arch/i386/mm/discontig.c calculate_numa_remap_pages, setup_memory, remap_numa_kva
 * @models linux-2.6.11 include/asm-i386/mmzone.h physnode_map, pfn_to_page
 * @differs a node whose memory is always mapped has its map there, and nothing is remapped for it
 */
import { bug } from "../../base/errors.ts";
import { PAGE_SIZE, type Pfn, type Vaddr } from "../../base/units.ts";
import {
  type FrameRange,
  type Home,
  type MapPart,
  type MapPlan,
  type MemoryShape,
  mapFrames,
  type PlacedPart,
} from "./map-plan.ts";
import { MemMap } from "./mem-map.ts";

/** Frames of an element of the table that says which node a frame is in: 256 MiB. */
export const ELEMENT_FRAMES = 2 ** 28 / PAGE_SIZE;

const NO_NODE = -1;

const isRemapped = (node: FrameRange, { lowmemEnd }: MemoryShape): boolean => node.first >= lowmemEnd;

/** The map of a node, and a struct page more, rounded up to large pages. */
function remappedFrames(node: FrameRange, shape: MemoryShape): number {
  const frames = mapFrames(shape, { first: node.first, end: node.end + 2 ** shape.softPageShift });
  return Math.ceil(frames / shape.largePageFrames) * shape.largePageFrames;
}

/** A node's own memory that stays mapped, if all of the node's is; otherwise any that is. */
const mappedHome = (node: FrameRange, lowmemEnd: Pfn): Home => (node.end <= lowmemEnd ? node : "lowmem");

export function planDiscontig(shape: MemoryShape): MapPlan {
  const remapped = shape.nodes
    .filter((node) => isRemapped(node, shape))
    .reduce((sum, node) => sum + remappedFrames(node, shape), 0);
  const parts = shape.nodes.map((node): MapPart => {
    if (isRemapped(node, shape)) return { ...node, frames: remappedFrames(node, shape), home: node, pieces: "one" };
    const home = mappedHome(node, shape.lowmemEnd - remapped);
    return { ...node, frames: mapFrames(shape, node), home, pieces: "one" };
  });
  return { parts, remapped };
}

/** A node's array (NODE_MEM_MAP). */
interface NodeMap extends FrameRange {
  readonly base: Vaddr;
  readonly bytes: number;
}

export class DiscontigMap extends MemMap {
  private readonly nodes: readonly NodeMap[];
  /** By 256 MiB: the node that has them (physnode_map). */
  private readonly nodeOf: Int8Array;

  constructor(shape: MemoryShape, parts: readonly PlacedPart[]) {
    super(shape, parts);
    let below = shape.lowmemEnd;
    this.nodes = parts.map((part) => {
      const held = part.ranges[0];
      if (isRemapped(part, shape)) below -= held.end - held.first;
      const at = isRemapped(part, shape) ? below : held.first;
      return { ...part, base: shape.directMap + at * PAGE_SIZE, bytes: (held.end - held.first) * PAGE_SIZE };
    });
    const end = parts[parts.length - 1].end;
    this.nodeOf = new Int8Array(Math.ceil(end / ELEMENT_FRAMES)).fill(NO_NODE);
    for (const [node, { first, end: last }] of parts.entries()) {
      this.nodeOf.fill(node, Math.floor(first / ELEMENT_FRAMES), Math.ceil(last / ELEMENT_FRAMES));
    }
  }

  pageOf(frame: Pfn): Vaddr | null {
    const node = this.nodes[this.nodeOf[Math.floor(frame / ELEMENT_FRAMES)] ?? NO_NODE];
    if (node === undefined || frame >= node.end) return null;
    return node.base + this.indexIn(node, frame) * this.structBytes;
  }

  /** A struct page's flags say its node. */
  pfnOf(page: Vaddr): Pfn {
    const node = this.nodes.find(({ base, bytes }) => page >= base && page < base + bytes);
    if (node === undefined) bug(`${page.toString(16)} is in no node's mem_map`);
    return node.first + ((page - node.base) / this.structBytes) * 2 ** this.softPageShift;
  }
}
