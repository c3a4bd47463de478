/**
 * khugepaged: a thread of the kernel that walks the address spaces that may have huge pages, and makes them of small pages
 * where a fault could not: because small ones were there first, or no block was free. There is no clock here; it has a turn
 * after each so many faults, in which it looks at so many pages and goes on where it stopped.
 *
 *     spaces  mm 1 -> mm 4 -> mm 5 -> mm 1 ...        a turn: 4096 pages, or once around
 *                      ^ page 0x40000
 *
 * @models linux-6.1 mm/khugepaged.c khugepaged_do_scan, khugepaged_scan_mm_slot, __khugepaged_enter
 * @differs its turns are told by faults, not by time (scan_sleep_millisecs); shmem and files are not looked at
 */
import type { Vpn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import type { Process } from "../process.ts";
import { collapse } from "./collapse.ts";

export class Khugepaged {
  /** Address spaces that have had an area that may have huge pages, in the order in which it came. */
  private readonly spaces = new Set<AddressSpace>();
  /** Where it goes on. */
  private mm: AddressSpace | null = null;
  private page: Vpn = 0;
  /** Faults there had been at its last turn. */
  private faultsBefore = 0;
  /** Turns so far, and whole rounds over all address spaces (full_scans). */
  turns = 0;
  rounds = 0;

  /** The address space has an area that may have huge pages. */
  enter(mm: AddressSpace): void {
    this.spaces.add(mm);
  }

  /**
   * The address space is about to end: whatever is made huge there now is done first, and nothing is begun any more once its
   * areas are gone.
   *
   * @models linux-6.1 mm/khugepaged.c __khugepaged_exit, hpage_collapse_test_exit
   */
  *leave({ current }: Kernel, mm: AddressSpace): Path<void> {
    if (!this.spaces.delete(mm)) return;
    if (!mm.mmapSem.tryWrite(current.task)) yield* mm.mmapSem.write(current.task);
    mm.mmapSem.releaseWrite(current.task);
  }

  /** Whether its turn has come. */
  isDue({ counters, tunables }: Kernel): boolean {
    return this.spaces.size > 0 && counters.minorFaults - this.faultsBefore >= tunables.khugepagedFaults;
  }

  /** Looks at the next pages, at `khugepagedPages` of them at most. Requires: no lock is held. */
  *turn(kernel: Kernel): Path<void> {
    this.faultsBefore = kernel.counters.minorFaults;
    this.turns++;
    let left = kernel.tunables.khugepagedPages;
    for (let spaces = 0; left > 0 && spaces <= this.spaces.size; spaces++) {
      const mm = this.current(kernel);
      if (mm === null) return;
      left = yield* this.scan(kernel, mm, left);
      if (left > 0) this.advance();
    }
    this.faultsBefore = kernel.counters.minorFaults;
  }

  /** The address space to be looked at, once those that are gone are forgotten. */
  private current({ spaces }: Kernel): AddressSpace | null {
    for (const mm of this.spaces) if (!spaces.has(mm)) this.spaces.delete(mm);
    if (this.mm === null || !this.spaces.has(this.mm)) {
      this.mm = this.spaces.values().next().value ?? null;
      this.page = 0;
    }
    return this.mm;
  }

  private advance(): void {
    const list = [...this.spaces];
    const at = list.indexOf(this.mm!) + 1;
    if (at === list.length) this.rounds++;
    this.mm = list[at % list.length] ?? null;
    this.page = 0;
  }

  /** Looks at huge pages' places from where it stopped to the end of the address space, until `pages` are looked at; how many are left of them. */
  private *scan(kernel: Kernel, mm: AddressSpace, pages: number): Path<number> {
    const { transparent, tunables, processes } = kernel;
    const { pages: span } = transparent.pages;
    const payer = processes.find((process: Process) => process.mm === mm);
    if (payer === undefined) return pages;
    const rules = {
      wantsUse: true,
      mostNone: tunables.khugepagedMostNone ?? span - 1,
      mostSwapped: tunables.khugepagedMostSwapped ?? span / 8,
      mostShared: tunables.khugepagedMostShared ?? span / 2,
    };
    let left = pages;
    while (left > 0) {
      const vma = mm.vmas.find(this.page);
      if (vma === null) return left;
      const first = Math.max(this.page, Math.ceil(vma.start / span) * span);
      if (first + span > vma.end || !transparent.admits(vma, first)) {
        this.page = vma.end;
        left--;
        continue;
      }
      this.page = first + span;
      left -= span;
      // With no block there will be none for the next either.
      if ((yield* collapse(kernel, { mm, page: first, payer }, rules)) === "no-block") return 0;
    }
    return left;
  }
}
