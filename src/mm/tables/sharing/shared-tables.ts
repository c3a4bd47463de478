/**
 * Leaf tables that hang in more than one place: in several address spaces, or twice in one. Each knows its places and what
 * its entries map, so that a change of an entry is told to all who have it.
 *
 *     A's level 2 --\
 *     B's level 2 ----> table 712, references 3: [ A 0x40000 ] [ B 0x40000 ] [ C 0x80000 ]     file 3, swap 1
 *     C's level 2 --/
 *
 * The table's frame counts its places in its references and names the first of them, as that of any leaf table names its
 * only one. Each place is an object of the slab, as soon as there are two. Where private areas may be written the entries
 * above are read-only in all places: whoever writes leaves first, with a copy.
 *
 * The lock of a shared table lies inside page_table_lock. It protects the entries, which several page_table_locks do not, and
 * the list of places: whoever leaves stays on it until no CPU of his can reach the table any more, so that an entry that is
 * cleared meanwhile is flushed there too.
 *
 * A hosted table is its file's own: it hangs in an address space that nobody runs in, which alone counts its pages, and all
 * other places are guests. They may have it by the table above it, of a whole gigabyte, which they share in the same way.
 *
 * @models McCracken 2002-10 shpte-2.5.43, for 2.5.43: struct mm_chain, pte_page_lock; never merged
 * @differs places may have different addresses; the lock is an object of its own, not a bit of the struct page
 */
import { bug } from "../../../base/errors.ts";
import type { Pfn, Vpn } from "../../../base/units.ts";
import { SpinLock } from "../../../sync/lock.ts";
import { type AddressSpace, MEMORY, type Resident } from "../../address-space.ts";
import type { Frames } from "../../frames.ts";

/** What a table is, for all who share it. */
export interface TableKind {
  /** Whether a private area that may be written lies in it: then the entries above are read-only. */
  readonly readOnly: boolean;
  /** Whether one area covers it whole, in each place the same: then a fault may fill an entry for all. */
  readonly uniform: boolean;
}

/** Of a hosted table: whose it is, the lock of that whole tree, and the table above, if it may have guests. */
export interface Hosting {
  readonly host: AddressSpace;
  readonly lock: SpinLock;
  readonly above: SharedTable | null;
}

/** One leaf table, and where it hangs. */
export class SharedTable implements TableKind {
  readonly frame: Pfn;
  readonly readOnly: boolean;
  readonly uniform: boolean;
  readonly lock: SpinLock;
  /** By place: the address space, and the first page that the table covers there. */
  readonly mms: AddressSpace[] = [];
  readonly firsts: Vpn[] = [];
  /** What its entries map, or name in swap: part of each place's own count. */
  readonly resident: Resident;
  /** The address space of the file that a hosted table belongs to, which is its first place; null: all places are alike. */
  readonly host: AddressSpace | null;
  /** The table above, where that has guests of its own. */
  readonly above: SharedTable | null;

  constructor(frame: Pfn, kind: TableKind, resident: Resident, hosting?: Hosting) {
    this.frame = frame;
    this.host = hosting?.host ?? null;
    this.above = hosting?.above ?? null;
    this.readOnly = kind.readOnly;
    this.uniform = kind.uniform;
    this.resident = resident;
    this.lock = hosting?.lock ?? new SpinLock(`pte_page_lock of ${frame}`, MEMORY);
  }

  get places(): number {
    return this.mms.length + (this.above === null ? 0 : this.above.places - 1);
  }

  /** Visits each place, those by the table above included. */
  forEachPlace(visit: (mm: AddressSpace, first: Vpn) => void): void {
    const { mms, firsts, above } = this;
    for (let at = 0; at < mms.length; at++) visit(mms[at]!, firsts[at]!);
    if (above === null) return;
    const offset = firsts[0]! - above.firsts[0]!;
    for (let at = 1; at < above.mms.length; at++) visit(above.mms[at]!, above.firsts[at]! + offset);
  }

  /** Whether the table is shared as far as this address space goes: a host has its own as anybody has. */
  isSharedFor(mm: AddressSpace): boolean {
    return this.host !== mm;
  }

  /** Which place it is, or -1. */
  placeOf(mm: AddressSpace, first: Vpn): number {
    const { mms, firsts } = this;
    let at = mms.indexOf(mm);
    while (at >= 0 && firsts[at] !== first) at = mms.indexOf(mm, at + 1);
    return at;
  }

  /** So many more entries (or, negative, fewer) map pages of that kind: for everybody. */
  count(kind: keyof Resident, change: number): void {
    if (this.host !== null) {
      this.host.resident[kind] += change;
      return;
    }
    this.resident[kind] += change;
    for (const mm of this.mms) mm.resident[kind] += change;
  }
}

export class SharedTables {
  private readonly frames: Frames;
  private readonly known = new Map<Pfn, SharedTable>();
  /** Whether there is any: what each fault asks. */
  private some = false;
  /** Places beyond the first, of all tables. */
  private extra = 0;

  constructor(frames: Frames) {
    this.frames = frames;
  }

  /** Every table that has several places. */
  get all(): Iterable<SharedTable> {
    return this.known.values();
  }

  /** How often tables hang in one more place than the first. */
  get inCommon(): number {
    return this.extra;
  }

  /** Whether there is any. */
  get exist(): boolean {
    return this.some;
  }

  /** What is shared of that table; undefined: it hangs in one place only. */
  find(table: Pfn): SharedTable | undefined {
    return this.some ? this.known.get(table) : undefined;
  }

  /** A table that hangs in one place, `first` of `mm`, will hang in more. `resident`: what its entries map. */
  begin(table: Pfn, mm: AddressSpace, first: Vpn, kind: TableKind, resident: Resident): SharedTable {
    if (this.known.has(table)) bug(`table ${table} is shared already`);
    const shared = new SharedTable(table, kind, resident);
    shared.mms.push(mm);
    shared.firsts.push(first);
    this.keep(shared);
    return shared;
  }

  /** A table of a file's own address space, `first` of it, may have guests from now on. */
  beginHosted(table: Pfn, first: Vpn, hosting: Hosting): SharedTable {
    const kind = { readOnly: false, uniform: true };
    const shared = new SharedTable(table, kind, { anon: 0, file: 0, shmem: 0, swap: 0 }, hosting);
    shared.mms.push(hosting.host);
    shared.firsts.push(first);
    this.keep(shared);
    return shared;
  }

  /** A hosted table is that of its host alone, which dies. Requires: it has no guest. */
  endHosted({ frame, mms }: SharedTable): void {
    if (mms.length > 1) bug(`hosted table ${frame} still has ${mms.length - 1} guests`);
    this.drop(frame);
  }

  /** One more place has the table: its pages count there too, unless they are the host's. */
  add(shared: SharedTable, mm: AddressSpace, first: Vpn): void {
    shared.mms.push(mm);
    shared.firsts.push(first);
    this.frames.refs.add(shared.frame, 1);
    if (shared.host !== null) return;
    this.extra++;
    addResident(mm, shared.resident, 1);
  }

  /** A place has the table no longer; whether only one is left, whose own the table is from then on. */
  remove(shared: SharedTable, mm: AddressSpace, first: Vpn): boolean {
    const { mms, firsts, frame } = shared;
    const at = shared.placeOf(mm, first);
    if (at < 0) bug(`address space ${mm.id} does not share table ${frame}`);
    mms.splice(at, 1);
    firsts.splice(at, 1);
    this.frames.refs.add(frame, -1);
    if (shared.host !== null) return false;
    this.extra--;
    addResident(mm, shared.resident, -1);
    this.frames.mapping.write(frame, mms[0]!.id);
    this.frames.index.write(frame, firsts[0]!);
    if (mms.length > 1) return false;
    this.drop(frame);
    return true;
  }

  private keep(shared: SharedTable): void {
    this.known.set(shared.frame, shared);
    this.some = true;
  }

  private drop(table: Pfn): void {
    this.known.delete(table);
    this.some = this.known.size > 0;
  }
}

function addResident({ resident }: AddressSpace, part: Resident, sign: 1 | -1): void {
  resident.anon += sign * part.anon;
  resident.file += sign * part.file;
  resident.shmem += sign * part.shmem;
  resident.swap += sign * part.swap;
}
