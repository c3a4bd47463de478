/**
 * Areas as letters, one a page, for tests: what lies in a stretch of an address space, and how to lay it out.
 *
 *     "AA.BBB"   an area of two pages, a hole, an area of three
 */
import { bug } from "../base/errors.ts";
import { addressOf, type Vpn } from "../base/units.ts";
import type { AddressSpace } from "./address-space.ts";
import { MAP_PRIVATE, type TestKernel } from "./test-kernel.ts";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** Each area gets the next letter, from the lowest up; `.` is a hole. */
export function areaPicture(mm: AddressSpace, first: Vpn, pages: number): string {
  let picture = "";
  let areas = 0;
  for (let vma = mm.vmas.find(first); vma !== null && vma.start < first + pages; vma = mm.vmas.next(vma)) {
    picture = picture.padEnd(vma.start - first, ".");
    picture = picture.padEnd(Math.min(vma.end, first + pages) - first, LETTERS[areas++] ?? "?");
  }
  return picture.padEnd(pages, ".");
}

/** Maps private memory as the picture says, each letter with its own PROT_* bits, in the order of the alphabet. */
export function layOut(
  machine: TestKernel,
  first: Vpn,
  picture: string,
  rights: Readonly<Record<string, number>>,
): void {
  for (const [letter, prot] of Object.entries(rights)) {
    for (const { index } of picture.matchAll(new RegExp(`(?<!${letter})${letter}`, "g"))) {
      let end = index;
      while (picture[end] === letter) end++;
      machine.map(first + index, end - index, prot, MAP_PRIVATE);
    }
  }
  if (areaPicture(machine.thread.mm, first, picture.length).replace(/[^.]/g, "x") !== picture.replace(/[^.]/g, "x")) {
    bug(`cannot lay out ${picture}`);
  }
}

/** mprotect of whole pages. */
export const protect = (machine: TestKernel, first: Vpn, pages: number, prot: number): number =>
  machine.call("mprotect", [addressOf(first), addressOf(pages), prot]);
