/** `bigmem check random`: random programs on machines that are short of memory, over the whole design space. */
import { Command } from "commander";
import { UsageError } from "../../base/errors.ts";
import { type Casualty, campaign, formatCounts, noCounts, titleOf } from "../../check/campaign.ts";
import { type Cell, everyChoice } from "../../check/cells.ts";
import { cellsBy } from "../../check/legal-cells.ts";
import { pressureProfileNames } from "../../check/pressure-profiles.ts";
import { formatProgram } from "../../check/program.ts";
import { Progress } from "../progress.ts";
import { examples, print } from "../text.ts";

interface Options {
  programs: string;
  seed: string;
  audit: string;
  designs: string;
  only?: string;
}

/** Some program went wrong. */
const FOUND = 1;

export function checkRandom(): Command {
  return new Command("random")
    .description(
      "run random programs where memory is short: over the design space (any two choices together somewhere), with swap, and with allocations that are made to fail; contents, errors and signals must be those of the flat model, and every law must hold",
    )
    .option("--programs <N>", "how many programs", "1000")
    .option("--seed <N>", "the number of the first", "1")
    .option("--audit <N>", "audit after every N-th operation", "1")
    .option(
      "--designs <WHICH>",
      "pairs, triples (any two or three choices meet in some), or how many of all legal ones",
      "pairs",
    )
    .option("--only <WORDS>", "only designs with these choices, such as pte-chain-e,linux-2.6.11")
    .addHelpText(
      "after",
      examples(
        "bigmem check random",
        "bigmem check random --programs 10000",
        "bigmem check random --programs 5000 --designs 5000",
        "bigmem check random --only object-anon",
      ),
    )
    .action((options: Options) => {
      process.exitCode = run(options);
    });
}

function run(options: Options): number {
  const cells = chosenCells(options.designs, options.only);
  const programs = number("--programs", options.programs);
  const perCell = Math.max(1, Math.min(pressureProfileNames.length, Math.floor(programs / cells.length)));
  const plan = {
    cells,
    programs,
    perCell,
    seed: number("--seed", options.seed),
    auditEvery: number("--audit", options.audit),
  };
  const counts = noCounts();
  const progress = new Progress("programs", programs, false);
  let wrong = 0;
  for (const casualty of campaign(plan, counts, () => progress.update(counts.programs))) {
    wrong++;
    print(formatCasualty(casualty));
  }
  progress.end();
  print(`${formatCounts(counts)} on ${cells.length} designs: ${wrong === 0 ? "all is well" : `${wrong} went wrong`}`);
  return wrong === 0 ? 0 : FOUND;
}

const formatCasualty = (casualty: Casualty): string =>
  `${titleOf(casualty)}\n${formatProgram(casualty.program)}\n${casualty.failure.state}\n`;

function chosenCells(designs: string, only: string | undefined): readonly Cell[] {
  const words = only?.split(",") ?? [];
  for (const word of words) {
    if (!Object.values(everyChoice).some((options) => options.includes(word)))
      throw new UsageError(
        `--only ${word}: there is no such option, kernel or paging format; see "bigmem design" and "bigmem presets"`,
      );
  }
  const cells = cellsBy("--designs", designs).filter((cell) =>
    words.every((word) => Object.values(cell).includes(word)),
  );
  if (cells.length === 0) throw new UsageError(`--only ${only}: these choices do not meet in any of the designs`);
  return cells;
}

function number(flag: string, text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new UsageError(`${flag} ${text}: expected a whole number above 0`);
}
