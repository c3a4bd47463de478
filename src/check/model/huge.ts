/**
 * The flat model of huge pages. What is in them is as in any page; what is their own is that areas of them begin and end
 * between them, and that an access may end in SIGBUS where the pool has no page left and none was promised. How many the
 * pool has the model does not count: that a promise is kept it does know, and whether the pool was short the judge looks up.
 */
import type { Vpn } from "../../base/units.ts";
import type { FlatPage, FlatProcess } from "./flat-memory.ts";
import type { FlatModel } from "./flat-model.ts";

export const MAP_HUGETLB = 0x4_0000;
export const MAP_NORESERVE = 0x4000;

/** Of a huge page's part: what its area knows of it. */
export interface FlatHuge {
  /** The area that it is in: areas of huge pages never become one, so this is one as long as nothing has cut it. */
  readonly area: object;
  /** Whether a page is certain to be there, whoever else wants one: it was promised, and has not been given back. */
  readonly isCertain: boolean;
}

/** Pages of 4 KiB in a huge page. */
export const hugeUnit = (model: FlatModel): number => model.rules.hugePages;

/** Whether a boundary there would cut a huge page. */
export const cutsHuge = (model: FlatModel, process: FlatProcess, page: Vpn): boolean =>
  process.pages.get(page)?.huge !== undefined && page % hugeUnit(model) !== 0;

/** The pages of the area around `page`, as `[first, end)`. */
export function hugeArea(process: FlatProcess, page: Vpn): { readonly first: Vpn; readonly end: Vpn } {
  const { area } = process.pages.get(page)!.huge!;
  const isOf = (at: Vpn) => process.pages.get(at)?.huge?.area === area;
  let first = page;
  while (isOf(first - 1)) first--;
  let end = page + 1;
  while (isOf(end)) end++;
  return { first, end };
}

/** `[first, end)` becomes an area of its own, where it is a part of one. */
export function isolateHuge(process: FlatProcess, first: Vpn, end: Vpn): void {
  for (const at of [first, end]) {
    const huge = process.pages.get(at)?.huge;
    if (huge === undefined || process.pages.get(at - 1)?.huge?.area !== huge.area) continue;
    const area = {};
    for (let page = at; process.pages.get(page)?.huge?.area === huge.area; page++) changeHuge(process, page, { area });
  }
}

export function changeHuge(process: FlatProcess, page: Vpn, change: Partial<FlatHuge>): void {
  const flat = process.pages.get(page);
  if (flat?.huge !== undefined) process.change(page, { huge: { ...flat.huge, ...change } });
}

/** The page is given back: nothing is certain any more, for whoever shares its memory neither. */
export function giveBackHuge(model: FlatModel, process: FlatProcess, page: Vpn, flat: FlatPage): void {
  changeHuge(process, page, { isCertain: false });
  if (!flat.shared) return;
  for (const other of model.processes) {
    if (other === undefined) continue;
    for (const [at, its] of other.pages) {
      if (its.huge !== undefined && its.file === flat.file && its.index === flat.index)
        changeHuge(other, at, { isCertain: false });
    }
  }
}

/** What a child has of a page: private ones are no longer promised to anybody but the parent. */
export const inheritedHuge = (flat: FlatPage): FlatHuge | undefined =>
  flat.huge === undefined ? undefined : { area: flat.huge.area, isCertain: flat.huge.isCertain && flat.shared };

/** Whether an access may find no page. */
export const mayLackPage = ({ huge }: FlatPage): boolean => huge !== undefined && !huge.isCertain;
