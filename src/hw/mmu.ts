/**
 * The memory-management unit: asks the TLB, walks the words of memory where the TLB does not know, judges rights, sets
 * Accessed and Dirty bits, and reports faults in registers. It knows no kernel.
 *
 * The walk ANDs W and U and ORs NX over all levels. It sets A in the entries that it used, and D in the leaf on a store,
 * once the access is known to be allowed. A store that finds a translation whose D bit was clear goes back to memory,
 * as does no other hit: so a kernel that takes rights away must flush.
 *
 * Intel SDM vol. 3A, 4.4 to 4.10.
 *
 * @differs a walk that faults sets no A bit at any level; there are no speculative walks and no PCIDs
 */
import type { Pfn, Vpn } from "../base/units.ts";
import { type Access, FETCH, LOAD, STORE } from "./access.ts";
import { ABSENT, FOUND, LIMIT_NO_EXECUTE, LIMIT_USER, LIMIT_WRITE, LIMITS, PageWalker } from "./page-walker.ts";
import type { PagingFormat } from "./paging-format.ts";
import type { PhysicalMemory } from "./physical-memory.ts";
import { Tlb, type TlbShape } from "./tlb.ts";
import {
  allows,
  RIGHT_GLOBAL,
  RIGHT_SUPERVISOR_WRITE,
  RIGHT_USER_WRITE,
  SUPERVISOR,
  type TlbArray,
} from "./tlb-array.ts";

/** The page fault's error code. */
export const FAULT_PROTECTION = 1 << 0; // the page is present
export const FAULT_WRITE = 1 << 1;
export const FAULT_USER = 1 << 2;
export const FAULT_RESERVED = 1 << 3; // a reserved bit is set
export const FAULT_FETCH = 1 << 4; // only where the format has NX

/** What the kernel sets once, at boot. */
export interface MmuControls {
  /** CR0.WP: whether the supervisor's stores honour W. The 386 could not. */
  readonly writeProtect: boolean;
}

/** In the index of a table of rights, beside the limits: the page's D bit is set. */
const DIRTY = LIMITS;

export class Mmu {
  readonly tlb: Tlb;
  readonly format: PagingFormat;

  /** After a fault: the page, and the error code. */
  faultPage: Vpn = 0;
  faultError = 0;
  /** After a successful `translate`: the frame. */
  lastFrame: Pfn = 0;

  /** First-level misses. Hits are accesses minus misses. */
  missesInstruction = 0;
  missesData = 0;
  secondLevelHits = 0;
  walks = 0;
  /** Stores that went back to memory to set D, although the TLB had the page. */
  dirtyUpdates = 0;
  faults = 0;
  rootLoads = 0;
  pageFlushes = 0;
  userFlushes = 0;
  fullFlushes = 0;

  private readonly walker: PageWalker;
  /** By kind of access: the TLB's first-level array of 4 KiB pages. */
  private readonly small: readonly TlbArray[];
  /** By limits and DIRTY: the rights of a TLB entry. */
  private readonly rightsOf: Int32Array;

  constructor(
    memory: PhysicalMemory,
    format: PagingFormat,
    shape: TlbShape,
    controls: MmuControls = { writeProtect: true },
  ) {
    this.format = format;
    this.tlb = new Tlb(shape, format);
    this.small = this.tlb.small;
    this.walker = new PageWalker(memory, format, shape.walkCache);
    this.rightsOf = rightsTable(controls);
  }

  /** The table of the highest level, as the root register (CR3) says. */
  get root(): Pfn {
    return this.walker.root;
  }

  /** Entries that walks read. */
  get walkSteps(): number {
    return this.walker.steps;
  }

  /** The page tables that walks may start from without asking memory. */
  cachedTables(): Generator<Pfn> {
    return this.walker.cachedTables();
  }

  /** A user-mode access. False: it faulted, and the fault registers say how. */
  touch(page: Vpn, kind: Access): boolean {
    return this.access(page, kind, kind);
  }

  /** An access of the kernel's. */
  supervisorTouch(page: Vpn, kind: Access): boolean {
    return this.access(page, kind, kind + SUPERVISOR);
  }

  /** A user-mode access whose frame the caller wants to know. */
  translate(page: Vpn, kind: Access): boolean {
    if (!this.touch(page, kind)) return false;
    this.lastFrame = this.tlb.frameOf(page, kind);
    return true;
  }

  /** Writes the root register: every translation that is not global is dropped, and PAE's root entries are read. */
  loadRoot(root: Pfn): void {
    this.rootLoads++;
    this.tlb.flushUser();
    this.walker.loadRoot(root);
  }

  /** Drops one page, global or not. */
  flushPage(page: Vpn): void {
    this.pageFlushes++;
    this.tlb.flushPage(page);
    this.walker.forgetTables();
  }

  flushRange(first: Vpn, end: Vpn): void {
    this.pageFlushes += end - first;
    this.tlb.flushRange(first, end);
    this.walker.forgetTables();
  }

  /** Drops everything that is not global, as loading the same root again does. */
  flushUser(): void {
    this.userFlushes++;
    this.tlb.flushUser();
    this.walker.forgetTables();
  }

  /** Drops everything, as toggling CR4.PGE does. */
  flushAll(): void {
    this.fullFlushes++;
    this.tlb.flushAll();
    this.walker.forgetTables();
  }

  private access(page: Vpn, kind: Access, right: number): boolean {
    const array = this.small[kind]!;
    const slot = array.find(page);
    if (slot < 0) return this.accessSlowly(page, kind, right);
    const rights = array.rightsAt(slot);
    return allows(rights, right) || this.refused(page, kind, right, rights);
  }

  /** The first level's entries of 4 KiB pages do not have the page. */
  private accessSlowly(page: Vpn, kind: Access, right: number): boolean {
    const { tlb } = this;
    if (tlb.findLarge(page, kind)) {
      return allows(tlb.foundRights, right) || this.refused(page, kind, right, tlb.foundRights);
    }
    if (kind === FETCH) this.missesInstruction++;
    else this.missesData++;
    if (!tlb.findSecond(page, kind)) return this.walk(page, kind, right);
    this.secondLevelHits++;
    if (!allows(tlb.foundRights, right)) return this.refused(page, kind, right, tlb.foundRights);
    tlb.promote(page, kind);
    return true;
  }

  /** The TLB has the page, and the access does not go through: a fault, or a store that must set D first. */
  private refused(page: Vpn, kind: Access, right: number, rights: number): boolean {
    const mayWrite = right < SUPERVISOR ? RIGHT_USER_WRITE : RIGHT_SUPERVISOR_WRITE;
    if (kind !== STORE || (rights & mayWrite) === 0) return this.fault(page, kind, right, FAULT_PROTECTION);
    this.dirtyUpdates++;
    this.tlb.forget(page, kind);
    return this.walk(page, kind, right);
  }

  /** Translates `page` by the words of memory; the TLB must not hold it for this kind. */
  private walk(page: Vpn, kind: Access, right: number): boolean {
    const { walker } = this;
    this.walks++;
    const outcome = walker.find(page);
    if (outcome !== FOUND) {
      return this.fault(page, kind, right, outcome === ABSENT ? 0 : FAULT_PROTECTION | FAULT_RESERVED);
    }
    const dirty = kind === STORE || walker.isDirty ? DIRTY : 0;
    const rights = this.rightsOf[walker.limits + dirty]!;
    if (!allows(rights, right)) return this.fault(page, kind, right, FAULT_PROTECTION);
    if (kind === STORE) walker.markDirty(page);
    else walker.markAccessed(page);
    this.tlb.fill(page, kind, walker.level - 1, walker.frame, walker.isGlobal ? rights | RIGHT_GLOBAL : rights);
    return true;
  }

  /** Sets the fault registers; silicon drops what it knew of the page. */
  private fault(page: Vpn, kind: Access, right: number, cause: number): false {
    this.faults++;
    this.faultPage = page;
    this.faultError =
      cause |
      (kind === STORE ? FAULT_WRITE : 0) |
      (right < SUPERVISOR ? FAULT_USER : 0) |
      (kind === FETCH && this.format.hasNoExecute ? FAULT_FETCH : 0);
    this.tlb.flushPage(page);
    this.walker.forgetTables();
    return false;
  }
}

/** What an entry lets through, by what the levels together allow and by the page's D bit. */
function rightsTable(controls: MmuControls): Int32Array {
  return Int32Array.from({ length: 2 * LIMITS }, (_, index) => {
    const fetch = (index & LIMIT_NO_EXECUTE) === 0 ? 1 << FETCH : 0;
    const store = (index & DIRTY) !== 0 ? 1 << STORE : 0;
    const write = (index & LIMIT_WRITE) !== 0;
    const user = fetch | (1 << LOAD) | (write ? store | RIGHT_USER_WRITE : 0);
    const supervisorWrite = write || !controls.writeProtect;
    const supervisor = fetch | (1 << LOAD) | (supervisorWrite ? store : 0);
    return (
      ((index & LIMIT_USER) !== 0 ? user : 0) |
      (supervisor << SUPERVISOR) |
      (supervisorWrite ? RIGHT_SUPERVISOR_WRITE : 0)
    );
  });
}
