/**
 * Caches of small kernel objects: how many pages vmas, mm_structs or tree nodes take. Only counting: an object has no
 * place and no contents, so `allocate` and `free` name none. A cache draws a slab of pages when the slabs that it has
 * are full, and gives its newest one back when nothing is left in it.
 *
 * @models linux-2.6.11 mm/slab.c kmem_cache_create, cache_estimate
 * @models linux-6.1 mm/slub.c calculate_order, calc_slab_order
 * @differs objects are always packed: the holes that frees leave in real slabs are not modelled; no empty slabs are
 *          kept; the descriptor of an off-slab slab is not counted
 */
import { ENOMEM } from "../base/errno.ts";
import { bug } from "../base/errors.ts";
import { PAGE_SIZE, type Pfn } from "../base/units.ts";
import { type Allocator, WANT_KERNEL, WANT_USER, type Want } from "./allocator.ts";
import { NO_FRAME, PG_SLAB } from "./frames.ts";
import { OWNER_SLAB, OWNER_VMAS, type Owner } from "./zone.ts";

/** How a kernel cuts pages into objects. */
export interface SlabPacking {
  /** The order of a cache's slabs. */
  orderFor(objectBytes: number): number;
  /** Objects that fit a slab of that order. */
  objectsIn(order: number, objectBytes: number): number;
  /** The object's size with its alignment. */
  align(objectBytes: number): number;
}

const slabBytes = (order: number): number => PAGE_SIZE << order;

/**
 * The slabs of 2.6: a descriptor of 24 bytes and two bytes an object lie in the slab itself, unless objects have 512
 * bytes or more. Slabs of two pages are the most, and only where one page would waste more than an eighth.
 */
export function slabPacking(wordBytes: 4 | 8): SlabPacking {
  const descriptorBytes = wordBytes === 4 ? 24 : 48;
  const offSlabFrom = PAGE_SIZE / 8;
  const largestUsualOrder = 1;
  const align = (bytes: number): number => Math.ceil(bytes / wordBytes) * wordBytes;
  const objectsIn = (order: number, objectBytes: number): number => {
    const each = align(objectBytes);
    if (each >= offSlabFrom) return Math.floor(slabBytes(order) / each);
    let objects = Math.floor((slabBytes(order) - descriptorBytes) / (each + 2));
    while (objects * each + align(descriptorBytes + objects * 2) > slabBytes(order)) objects--;
    return objects;
  };
  /** Bytes of a slab that are neither objects nor what describes them. */
  const wastedIn = (order: number, objectBytes: number, objects: number): number => {
    const each = align(objectBytes);
    const described = each >= offSlabFrom ? 0 : align(descriptorBytes + objects * 2);
    return slabBytes(order) - objects * each - described;
  };
  const orderFor = (objectBytes: number): number => {
    let order = 0;
    for (;;) {
      const objects = objectsIn(order, objectBytes);
      const wasted = wastedIn(order, objectBytes, objects);
      if (objects > 0 && (order >= largestUsualOrder || wasted * 8 <= slabBytes(order))) return order;
      order++;
    }
  };
  return { orderFor, objectsIn, align };
}

/**
 * The slabs of SLUB: nothing but objects. The order is the least, up to 3, that holds enough objects for the CPUs and
 * wastes a sixteenth at most; then an eighth, then a quarter, then with fewer objects.
 */
export function slubPacking(cpus: number, wordBytes: 4 | 8): SlabPacking {
  const largestUsualOrder = 3;
  const align = (bytes: number): number => Math.ceil(bytes / wordBytes) * wordBytes;
  const objectsIn = (order: number, objectBytes: number): number => Math.floor(slabBytes(order) / align(objectBytes));
  const leastOrder = (bytes: number): number => Math.max(0, Math.ceil(Math.log2(bytes / PAGE_SIZE)));
  const orderFor = (objectBytes: number): number => {
    const each = align(objectBytes);
    const enough = Math.min(4 * (Math.floor(Math.log2(cpus)) + 2), objectsIn(largestUsualOrder, each));
    for (let objects = enough; objects > 1; objects--) {
      for (let fraction = 16; fraction >= 4; fraction /= 2) {
        for (let order = leastOrder(objects * each); order <= largestUsualOrder; order++) {
          if (slabBytes(order) % each <= slabBytes(order) / fraction) return order;
        }
      }
    }
    return leastOrder(each);
  };
  return { orderFor, objectsIn, align };
}

/** Whether a kernel that is short of memory can drop the objects (SLAB_RECLAIM_ACCOUNT), as those of file systems. */
export type SlabKind = "reclaimable" | "unreclaimable";

/** One cache of objects of one size. */
export class Slab {
  /** As in /proc/slabinfo. */
  readonly name: string;
  readonly objectBytes: number;
  readonly owner: Owner;
  readonly kind: SlabKind;
  /** The highest zone that its slabs may come from. */
  private readonly want: Want;
  private readonly allocator: Allocator;
  private readonly packing: SlabPacking;
  private readonly order: number;
  /** The slabs, oldest first: first frame and order of each. */
  private readonly slabFrames: Pfn[] = [];
  private readonly slabOrders: number[] = [];
  private inUse = 0;
  private capacity = 0;
  private pageCount = 0;

  constructor(
    allocator: Allocator,
    name: string,
    objectBytes: number,
    owner: Owner,
    packing: SlabPacking,
    kind: SlabKind = "unreclaimable",
    want: Want = WANT_KERNEL,
  ) {
    this.allocator = allocator;
    this.name = name;
    this.objectBytes = objectBytes;
    this.owner = owner;
    this.kind = kind;
    this.want = want;
    this.packing = packing;
    this.order = Math.max(packing.orderFor(objectBytes), allocator.frames.softOrder);
  }

  /** Objects in use. */
  get objects(): number {
    return this.inUse;
  }

  /** Objects for which there is room. */
  get room(): number {
    return this.capacity;
  }

  /** Pages that the cache holds. */
  get pages(): number {
    return this.pageCount;
  }

  /** Bytes of the objects in use, with their alignment. */
  get bytes(): number {
    return this.inUse * this.packing.align(this.objectBytes);
  }

  /** Whether its objects may lie where the kernel has no address for them. */
  get mayBeHigh(): boolean {
    return this.want === WANT_USER;
  }

  /** The frame of an object, for caches whose owner numbers them: they lie in the slabs in the order of their numbers. */
  frameOf(object: number): Pfn {
    const held = this.packing.objectsIn(this.order, this.objectBytes);
    const place = object % this.capacity;
    const at = Math.min(Math.floor(place / held), this.slabFrames.length - 1);
    const page = Math.floor(((place % held) * this.objectBytes) / PAGE_SIZE);
    return this.slabFrames[at]! + Math.min(page, (1 << this.slabOrders[at]!) - 1);
  }

  /** One object more: 0, or -ENOMEM with nothing changed. */
  allocate(): number {
    if (this.allocator.refusesObject() || (this.inUse === this.capacity && !this.grow())) return -ENOMEM;
    this.inUse++;
    return 0;
  }

  /** The same as `allocate` for so many: 0, or -ENOMEM with nothing changed. */
  allocateAll(objects: number): number {
    if (objects === 1) return this.allocate();
    for (let left = objects; left > 0; ) {
      if (this.inUse < this.capacity) {
        const some = Math.min(left, this.capacity - this.inUse);
        this.inUse += some;
        left -= some;
      } else if (!this.grow()) {
        for (; left < objects; left++) this.free();
        return -ENOMEM;
      }
    }
    return 0;
  }

  /** One object less. */
  free(): void {
    if (this.inUse === 0) bug(`the cache ${this.name} frees an object, and has none`);
    this.inUse--;
    const newest = this.slabFrames.length - 1;
    const held = this.packing.objectsIn(this.slabOrders[newest], this.objectBytes);
    if (this.capacity - this.inUse >= held) this.shrink(held);
  }

  /** Draws a slab of the usual order, or of the least that holds an object. */
  private grow(): boolean {
    let order = this.order;
    let frame = this.draw(order);
    const least = this.allocator.frames.softOrder;
    while (frame === NO_FRAME && order > least && this.packing.objectsIn(order - 1, this.objectBytes) > 0) {
      order--;
      frame = this.draw(order);
    }
    if (frame === NO_FRAME) return false;
    this.allocator.frames.setFlag(frame, PG_SLAB);
    this.slabFrames.push(frame);
    this.slabOrders.push(order);
    this.capacity += this.packing.objectsIn(order, this.objectBytes);
    this.pageCount += 1 << order;
    return true;
  }

  private draw(order: number): Pfn {
    return this.allocator.tryAllocate(order, this.want, this.owner);
  }

  private shrink(held: number): void {
    const frame = this.slabFrames.pop() ?? bug(`the cache ${this.name} has no slab to give back`);
    const order = this.slabOrders.pop() ?? 0;
    this.capacity -= held;
    this.pageCount -= 1 << order;
    this.allocator.free(frame, order);
  }
}

/** Bytes of the kernel's objects; they differ by kernel and by word size. */
export interface ObjectSizes {
  readonly vma: number;
  readonly mm: number;
  readonly anonVma: number;
  /** A link of a vma to an anon_vma, where links are objects. */
  readonly anonVmaChain: number;
  /** A task_struct with its pid: every thread has one. */
  readonly task: number;
  /** What each process has one of, by the name of its cache: signal handlers, open files, credentials, ... */
  readonly process: Readonly<Record<string, number>>;
  /** A node of the page cache's tree: 64 slots. */
  readonly treeNode: number;
  /** What is kept of each block of a page of a file that was written; 0: nothing is modelled. */
  readonly bufferHead: number;
}

/** Every cache of one machine. */
export class Slabs {
  readonly vmas: Slab;
  readonly mms: Slab;
  readonly anonVmas: Slab;
  readonly anonVmaChains: Slab;
  readonly tasks: Slab;
  /** What each process has one of. */
  readonly processParts: readonly Slab[];
  readonly treeNodes: Slab;
  /** None where buffer heads are not modelled. */
  readonly bufferHeads: Slab | null;
  private readonly allocator: Allocator;
  private readonly packing: SlabPacking;
  private readonly caches: Slab[] = [];

  constructor(allocator: Allocator, sizes: ObjectSizes, packing: SlabPacking) {
    this.allocator = allocator;
    this.packing = packing;
    this.vmas = this.create("vm_area_struct", sizes.vma, OWNER_VMAS);
    this.mms = this.create("mm_struct", sizes.mm, OWNER_SLAB);
    this.anonVmas = this.create("anon_vma", sizes.anonVma, OWNER_SLAB);
    this.anonVmaChains = this.create("anon_vma_chain", sizes.anonVmaChain, OWNER_SLAB);
    this.tasks = this.create("task_struct", sizes.task, OWNER_SLAB);
    this.processParts = Object.entries(sizes.process).map(([name, bytes]) => this.create(name, bytes, OWNER_SLAB));
    this.treeNodes = this.create("radix_tree_node", sizes.treeNode, OWNER_SLAB, "reclaimable");
    const { bufferHead } = sizes;
    this.bufferHeads = bufferHead === 0 ? null : this.create("buffer_head", bufferHead, OWNER_SLAB, "reclaimable");
  }

  /** A cache of its own, for a mechanism that not every machine has. */
  create(name: string, objectBytes: number, owner: Owner, kind?: SlabKind, want?: Want): Slab {
    const cache = new Slab(this.allocator, name, objectBytes, owner, this.packing, kind, want);
    this.caches.push(cache);
    return cache;
  }

  /** Every cache, in the order of creation. */
  get all(): readonly Slab[] {
    return this.caches;
  }

  /** Pages of all caches (Slab in /proc/meminfo). */
  get pages(): number {
    return this.caches.reduce((sum, cache) => sum + cache.pages, 0);
  }

  /** Pages of the caches of one kind (SReclaimable, SUnreclaim). */
  pagesOf(kind: SlabKind): number {
    return this.caches.reduce((sum, cache) => sum + (cache.kind === kind ? cache.pages : 0), 0);
  }
}
