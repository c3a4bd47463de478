/** A set of page numbers: bits in sections of 32,768 pages, so that it grows with what is touched and not with time. */
import type { Vpn } from "../../base/units.ts";

const SECTION_PAGES = 32_768;

export class PageSet {
  size = 0;
  private readonly sections = new Map<number, Uint8Array>();
  // The section of the last page: neighbours follow each other.
  private lastNumber = -1;
  private lastSection: Uint8Array = new Uint8Array(0);

  add(page: Vpn): void {
    const number = Math.floor(page / SECTION_PAGES);
    if (number !== this.lastNumber) this.turnTo(number);
    const bit = page - number * SECTION_PAGES;
    const mask = 1 << (bit & 7);
    const byte = this.lastSection[bit >>> 3];
    if ((byte & mask) !== 0) return;
    this.lastSection[bit >>> 3] = byte | mask;
    this.size++;
  }

  has(page: Vpn): boolean {
    const number = Math.floor(page / SECTION_PAGES);
    const bit = page - number * SECTION_PAGES;
    const section = this.sections.get(number);
    return section !== undefined && (section[bit >>> 3] & (1 << (bit & 7))) !== 0;
  }

  private turnTo(number: number): void {
    let section = this.sections.get(number);
    if (section === undefined) {
      section = new Uint8Array(SECTION_PAGES / 8);
      this.sections.set(number, section);
    }
    this.lastNumber = number;
    this.lastSection = section;
  }
}
