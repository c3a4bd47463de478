/** The contents that a dump shows, page by page, against those of the flat model. */
import { PAGE_SIZE } from "../../base/units.ts";
import { WINDOW } from "../executor.ts";
import type { FlatModel } from "./flat-model.ts";

/** Every page of which dump and model disagree, a sentence each; an area that the model lacks, too. */
export function compareContents(model: FlatModel, dump: readonly string[]): string[] {
  const wrong: string[] = [];
  dump.forEach((line, at) => {
    const area = /^P(\d) vma ([WB])\+([0-9a-f]+) [WB]\+[0-9a-f]+ /.exec(line);
    if (area === null) return;
    const [, process, base, offset] = area;
    const start = (base === "W" ? WINDOW : model.breakStart) + Number.parseInt(offset!, 16);
    pagesOf(dump[at + 2]!).forEach((byte, page) => {
      const expected = model.contentOf(Number(process), start / PAGE_SIZE + page);
      const at = start / PAGE_SIZE + page;
      const mayDiffer =
        (byte === "00" && model.mayBeFreed(Number(process), at)) ||
        (byte === "--" && (model.mayLackPage(Number(process), at) || model.isDevice(Number(process), at)));
      if (byte !== expected && !mayDiffer)
        wrong.push(`P${process} ${base}+${offset} page ${page}: ${byte}, expected ${expected}`);
    });
  });
  return wrong;
}

/** `00x3 51` of a line of contents, one element a page. */
function pagesOf(line: string): string[] {
  const runs = line.split(" ").slice(2);
  return runs
    .filter((run) => run !== "")
    .flatMap((run) => {
      const [byte, count = "1"] = run.split("x");
      return new Array<string>(Number(count)).fill(byte!);
    });
}
