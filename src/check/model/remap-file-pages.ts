/**
 * The flat model of remap_file_pages. Kernels differ in which areas they take, in how they round, and in whether pages must
 * exist; where one has moved pages, every kernel shows the same ones.
 */
import { PAGE_SIZE, pageOf, type Vpn } from "../../base/units.ts";
import { type FlatPage, type FlatProcess, isBeyondEnd } from "./flat-memory.ts";
import { expectErrno, type FlatCall, type FlatModel, textOf } from "./flat-model.ts";
import { isUniform, place } from "./mappings.ts";

export const remapFilePages: FlatCall = (model, process, args, result) => {
  const { nonlinear } = model.rules;
  if (nonlinear === "unsupported") return expectErrno(result, "ENOSYS");
  const { userPages } = model.rules;
  const [address, sizeBytes, asked] = args as [number, number, number];
  const index = asked * userPages;
  const round = nonlinear === "remap-2.5" ? Math.ceil : Math.floor;
  const first = round(address / (PAGE_SIZE * userPages)) * userPages;
  const pages = round(sizeBytes / (PAGE_SIZE * userPages)) * userPages;
  const flat = process.pages.get(first);
  if (flat?.file?.segment != null) return expectErrno(result, "EINVAL");
  const touched = pageOf(address + sizeBytes - 1) + 1 - first;
  const mayMark = nonlinear !== "emulated" && flat?.shared === true && flat.linear !== index;
  if (mayMark && isUniform(process, first, touched)) makeUnordered(process, first);
  if (result.kind === "errno") {
    // 2.6 looks for the end of a range that is not aligned in the page after its last.
    const isWhole = address % PAGE_SIZE === 0 && sizeBytes % PAGE_SIZE === 0;
    if (nonlinear === "locked-only" && !isWhole) return expectErrno(result, "EINVAL");
    if (result.errno === "EINVAL" && (nonlinear === "emulated" || touched <= pages))
      return whyRefused(model, process, first, pages, index);
    if (result.errno === "EINVAL") return undefined;
    return result.errno === "ENOMEM" && nonlinear === "emulated" ? undefined : `${result.errno}, expected 0`;
  }
  if (textOf(result) !== "0") return `${textOf(result)}, expected 0`;
  if (flat === undefined || !flat.shared) return "0, and there is no shared mapping";
  // A new area in the old one's place has its rights and its locks, and no advice.
  if (nonlinear === "emulated") place(process, first, pages, { ...flat, forkRule: "copied" }, index);
  else for (let at = 0; at < pages; at++) process.change(first + at, { index: index + at });
  return undefined;
};

/** The area around `page` is nonlinear from now on, also if the call fails. It is taken to reach as far as its pages are alike. */
function makeUnordered(process: FlatProcess, page: Vpn): void {
  let first = page;
  while (process.pages.has(first - 1) && isUniform(process, first - 1, 2)) first--;
  let last = page;
  while (process.pages.has(last + 1) && isUniform(process, last, 2)) last++;
  for (let at = first; at <= last; at++) process.change(at, { unordered: true });
}

/** A refusal is right where the range is no single shared area; which pages are one area only the kernel knows. */
function whyRefused({ rules }: FlatModel, process: FlatProcess, first: Vpn, pages: number, index: number) {
  const flat = process.pages.get(first);
  if (flat === undefined || !flat.shared || pages !== rules.userPages || !isUniform(process, first, pages))
    return undefined;
  if (rules.nonlinear === "locked-only" && !flat.locked) return undefined;
  if (rules.nonlinear !== "emulated" && wouldBeBeyondEnd(flat, index)) return undefined;
  return "EINVAL, expected 0";
}

const wouldBeBeyondEnd = (flat: FlatPage, index: number): boolean => isBeyondEnd({ ...flat, index });
