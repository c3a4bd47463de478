/**
 * An anonymous page remembers the address at which it was first mapped. It can only be there, in the address space
 * that made it or in one of its relatives: all that descend by fork from one exec are on a list. Nothing is kept for an
 * area, so areas merge as they like, and a small struct for each address space is all that it costs.
 *
 *     frame -> anonmm -> head: [ mm 1 ] - [ mm 4 ] - [ gone ] - [ mm 7 ]     each at the one page that the frame names
 *
 * The struct outlives its address space while pages name it. A page that mremap moves takes the new address if nobody
 * shares it. If it is shared, it lies at different addresses in different relatives, and one is all it can name: who
 * does not find all entries there reads all areas of the family. Pages of files are found as in `ObjectAnon`.
 *
 * @models Dickins 2004-03 "rmap 5 anonmm", for 2.6.5; merged as anon_vma instead
 * @differs a shared page that is to be moved was copied there first; here it is moved, and searched for afterwards
 */
import { ENOMEM } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import { SparseFloat64, SparseInt32 } from "../../base/sparse-array.ts";
import type { Pfn, PteSlot, Vpn } from "../../base/units.ts";
import type { OpenTable } from "../../hw/pte.ts";
import type { AddressSpace } from "../address-space.ts";
import { PG_ANON } from "../frames.ts";
import type { Slab } from "../slab.ts";
import type { LargeVisit } from "../thp/large-map.ts";
import type { Vma } from "../vma.ts";
import { ObjectAnon } from "./object-anon.ts";
import type { MappedWorld } from "./reverse-map.ts";
import { atMost, isLargeMapped, NO_SLOT, slotIfMapped, type Visit } from "./search.ts";

/** struct anonmm: a count, a lock on SMP, the mm, the head and two list links. */
export const anonMmBytes = (wordBytes: 4 | 8): number => (wordBytes === 4 ? 24 : 40);

interface AnonMm {
  readonly id: number;
  /** null: it is gone. */
  mm: AddressSpace | null;
  readonly family: Set<AnonMm>;
  /** Pages that name it. */
  pages: number;
}

export class AnonMms extends ObjectAnon {
  private readonly slab: Slab;
  /** By the number of its address space. */
  private readonly known = new Map<number, AnonMm>();
  /** By frame: the anonmm of an anonymous page that is mapped (page->mapping). */
  private readonly owners: SparseInt32;
  /** By frame: where it is in that address space (page->index). */
  private readonly places: SparseFloat64;

  constructor(world: MappedWorld, slab: Slab) {
    super(world);
    this.slab = slab;
    this.owners = new SparseInt32(world.frames.count);
    this.places = new SparseFloat64(world.frames.count);
  }

  override get bytes(): number {
    return this.slab.objects * this.slab.objectBytes;
  }

  override spaceBorn(mm: AddressSpace, parent: AddressSpace | null): number {
    if (this.slab.allocate() < 0) return -ENOMEM;
    const family = parent === null ? new Set<AnonMm>() : this.byId(parent.id).family;
    const anonMm = { id: mm.id, mm, family, pages: 0 };
    family.add(anonMm);
    this.known.set(mm.id, anonMm);
    return 0;
  }

  override spaceDied(mm: AddressSpace): void {
    const anonMm = this.byId(mm.id);
    anonMm.mm = null;
    this.dropIfUnused(anonMm);
  }

  override get searchesFiles(): boolean {
    return true;
  }

  override addRun(first: Pfn, end: Pfn, slot: PteSlot, vma: Vma): void {
    this.addEach(first, end, slot, vma);
  }

  override removeRun(first: Pfn, end: Pfn, slot: PteSlot, vma: Vma): void {
    this.removeEach(first, end, slot, vma);
  }

  override add(frame: Pfn, slot: PteSlot, vma: Vma): number {
    const { frames, tables } = this.world;
    const head = frames.head(frame);
    if (this.isNew(head)) this.place(head, vma.mm, tables.pageOf(slot) - frames.partOf(frame));
    this.countAdded(frame);
    return 0;
  }

  private isNew(frame: Pfn): boolean {
    const { frames } = this.world;
    return frames.has(frame, PG_ANON) && frames.mapCount.read(frame) === 0;
  }

  private place(frame: Pfn, mm: AddressSpace, page: Vpn): void {
    this.byId(mm.id).pages++;
    this.owners.write(frame, mm.id);
    this.places.write(frame, page);
  }

  override addLarge(head: Pfn, end: Pfn, mm: AddressSpace, page: Vpn): void {
    for (let frame = head; frame < end; frame++) {
      if (this.isNew(frame)) this.place(frame, mm, page + frame - head);
      this.countAdded(frame);
    }
  }

  override removeLarge(head: Pfn, end: Pfn): void {
    for (let frame = head; frame < end; frame++) this.forgetIfLast(frame);
  }

  override moveLarge(head: Pfn, end: Pfn, page: Vpn): void {
    this.costs.moves++;
    const { mapCount } = this.world.frames;
    for (let frame = head; frame < end; frame++)
      if (mapCount.read(frame) === 1) this.places.write(frame, page + frame - head);
  }

  override forEachLarge(head: Pfn, visit: LargeVisit): void {
    const { world, costs } = this;
    let left = world.frames.largeMaps.read(head);
    if (left === 0) return;
    const look = (mm: AddressSpace, page: Vpn): boolean => {
      if (!isLargeMapped(world, costs, mm, page, head)) return true;
      left--;
      return visit(mm, page) && left > 0;
    };
    const { family } = this.byId(this.owners.read(head));
    const place = this.places.read(head);
    for (const { mm } of family) {
      costs.linksFollowed++;
      if (mm?.vmas.find(place)?.contains(place) === true && !look(mm, place)) return;
    }
    if (left > 0) this.eachElsewhere(family, place, look);
  }

  /** Shows the aligned places of all areas of a family: where a shared huge page can have been moved to. */
  private eachElsewhere(family: ReadonlySet<AnonMm>, place: Vpn, look: (mm: AddressSpace, page: Vpn) => boolean): void {
    const span = this.world.tables.span(1);
    for (const { mm } of family) {
      for (const vma of mm?.vmas ?? []) {
        for (let page = Math.ceil(vma.start / span) * span; page + span <= vma.end; page += span)
          if (page !== place && !look(mm!, page)) return;
      }
    }
  }

  override remove(frame: Pfn, _slot: PteSlot, _vma: Vma): void {
    this.forgetIfLast(this.world.frames.head(frame));
  }

  private forgetIfLast(frame: Pfn): void {
    if (this.countRemoved(frame) > 0 || !this.world.frames.has(frame, PG_ANON)) return;
    const anonMm = this.byId(this.owners.read(frame));
    anonMm.pages--;
    this.dropIfUnused(anonMm);
  }

  override move(frame: Pfn, _from: PteSlot, to: PteSlot): void {
    const { frames, tables } = this.world;
    this.costs.moves++;
    const head = frames.head(frame);
    if (frames.has(head, PG_ANON) && frames.mapCount.read(head) === 1)
      this.places.write(head, tables.pageOf(to) - frames.partOf(frame));
  }

  protected override visitAnonymous(frame: Pfn, count: number, visit: Visit): void {
    const { world, costs } = this;
    const { family } = this.byId(this.owners.read(frame));
    const place = this.places.read(frame);
    const found = new Set<PteSlot>();
    for (const { mm } of family) {
      costs.linksFollowed++;
      if (mm === null) continue;
      for (let page = place; page < place + world.frames.softFrames; page++) {
        if (mm.vmas.find(page)?.contains(page) !== true) continue;
        if (page === place) costs.areasVisited++;
        const slot = slotIfMapped(world, costs, mm, page, frame + (page - place));
        // Relatives may share the table of the entry.
        if (slot === NO_SLOT || found.has(slot)) continue;
        found.add(slot);
        if (!visit(slot) || found.size === count) return;
      }
    }
    this.visitMoved(frame, family, place, atMost(world, count - found.size, visit));
  }

  /** Visits the entries of a page that are not at its place, but where it was moved to while it was shared. */
  private visitMoved(frame: Pfn, family: ReadonlySet<AnonMm>, place: Vpn, visit: Visit): void {
    const { tables, entries, frames } = this.world;
    const elsewhere = (slot: PteSlot): boolean => {
      const page = tables.pageOf(slot);
      if (entries.frame(entries.tableOf(slot) as OpenTable, entries.indexOf(slot)) === frame + (page - place))
        return true;
      if (frames.softFrames === 1 && frames.mapCount.read(frame) === 1) this.places.write(frame, page);
      return visit(slot);
    };
    for (const { mm } of family) if (mm !== null && !this.search.space(mm, frame, elsewhere)) return;
  }

  private dropIfUnused(anonMm: AnonMm): void {
    if (anonMm.mm !== null || anonMm.pages > 0) return;
    anonMm.family.delete(anonMm);
    this.known.delete(anonMm.id);
    this.slab.free();
  }

  private byId(id: number): AnonMm {
    return this.known.get(id) ?? bug(`address space ${id} has no anonmm`);
  }
}
