/** `bigmem trace info|dump|cut|strip`: looking at recordings and making smaller ones. */
import { Command } from "commander";
import { UsageError } from "../../base/errors.ts";
import { type CutRange, checkRange, cutHeader, cutTrace } from "../../lab/trace/cut.ts";
import { dumpTrace } from "../../lab/trace/dump.ts";
import { infoText, traceInfo } from "../../lab/trace/info.ts";
import { strippedHeader, stripTrace } from "../../lab/trace/strip.ts";
import { openTrace, traceArgument, writeTrace } from "../sources.ts";
import { examples, print } from "../text.ts";

export function traceCommand(): Command {
  return new Command("trace")
    .description("look at recordings and make smaller ones")
    .addCommand(info())
    .addCommand(dump())
    .addCommand(cut())
    .addCommand(strip())
    .addHelpText(
      "after",
      examples("bigmem trace info samples/sort.bmt", "bigmem trace dump samples/sort.bmt --events --to 20"),
    );
}

function info(): Command {
  return new Command("info")
    .description("what is in a trace: accesses, pages, processes, calls, and how far its streams are in order")
    .argument("<trace>", traceArgument)
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples("bigmem trace info samples/sort.bmt", "bigmem trace info workload:fork-storm --json"),
    )
    .action(async (name: string, { json }: { json?: true }) => {
      const found = await traceInfo(openTrace(name));
      print(json === true ? JSON.stringify(found, null, 2) : infoText(found));
    });
}

interface RangeOptions {
  from?: string;
  to?: string;
  events?: true;
}

const withRange = (command: Command): Command =>
  command
    .option("--from <N>", "the first record, counted from 0")
    .option("--to <N>", "the record to stop before")
    .option("--events", "count events (calls, forks, ...) instead of records");

function rangeOf({ from, to, events }: RangeOptions): CutRange {
  return checkRange({
    unit: events === true ? "event" : "record",
    from: numberOf(from, 0),
    to: numberOf(to, Number.POSITIVE_INFINITY),
  });
}

function numberOf(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  if (/^\d+$/.test(text)) return Number(text);
  throw new UsageError(`"${text}" is not a whole number`);
}

function dump(): Command {
  return withRange(
    new Command("dump").description("print records and events as text, one a line").argument("<trace>", traceArgument),
  )
    .addHelpText(
      "after",
      examples(
        "bigmem trace dump samples/sort.bmt --to 40",
        "bigmem trace dump samples/sort.bmt --events --from 3 --to 9",
      ),
    )
    .action(async (name: string, options: RangeOptions) => {
      for await (const lines of dumpTrace(openTrace(name), rangeOf(options))) process.stdout.write(lines);
    });
}

function cut(): Command {
  return withRange(
    new Command("cut")
      .description("a part of a trace, with the memory calls before it, so that it replays")
      .argument("<trace>", traceArgument),
  )
    .requiredOption("-o, --output <FILE>", "the part")
    .addHelpText(
      "after",
      examples(
        "bigmem trace cut samples/sort.bmt --to 100000 -o head.bmt",
        "bigmem trace cut big.bmt --events --from 50 --to 90 -o part.bmt",
      ),
    )
    .action(async (name: string, options: RangeOptions & { output: string }) => {
      const range = rangeOf(options);
      const source = openTrace(name);
      const header = cutHeader(await source.header(), range, name);
      process.stderr.write(
        `${await writeTrace(options.output, header, (writer) => cutTrace(source, writer, range))}\n`,
      );
    });
}

function strip(): Command {
  return new Command("strip")
    .description(
      "drop accesses that can change no TLB of at least S sets (exact for the TLBs that the documentation names)",
    )
    .argument("<trace>", traceArgument)
    .requiredOption(
      "--sets <S>",
      "recency slots a stream: a power of two that divides the set count of every first-level TLB",
    )
    .requiredOption("-o, --output <FILE>", "the stripped trace")
    .addHelpText(
      "after",
      examples("bigmem trace strip big.bmt --sets 16 -o small.bmt", "bigmem trace strip big.bmt --sets 8 -o p6.bmt"),
    )
    .action(async (name: string, { sets, output }: { sets: string; output: string }) => {
      const source = openTrace(name);
      const header = strippedHeader(await source.header(), Number(sets), name);
      process.stderr.write(`${await writeTrace(output, header, (writer) => stripTrace(source, writer))}\n`);
    });
}
