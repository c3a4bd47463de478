/** `bigmem import LOG`: logs of other tools become traces. */
import { Command, Option } from "commander";
import { UsageError } from "../../base/errors.ts";
import { LackeyImporter, lackeyHeader } from "../../lab/import/lackey.ts";
import { StraceImporter, straceHeader } from "../../lab/import/strace.ts";
import type { Abi } from "../../lab/trace/format.ts";
import type { TraceWriter } from "../../lab/trace/writer.ts";
import { nameOf, readBytes } from "../files.ts";
import { writeTrace } from "../sources.ts";
import { examples } from "../text.ts";

const formats = ["strace", "lackey"] as const;
type Format = (typeof formats)[number];

interface ImportOptions {
  output: string;
  format?: Format;
  abi: Abi;
}

export function importCommand(): Command {
  return new Command("import")
    .description("turn a log of strace or of valgrind's lackey into a trace")
    .argument("<log>", "the log, or - for standard input")
    .requiredOption("-o, --output <FILE>", "the trace")
    .addOption(new Option("--format <NAME>", "what wrote the log; by default its first line tells").choices(formats))
    .addOption(new Option("--abi <NAME>", "the program's").choices(["x86-64", "i386"]).default("x86-64"))
    .addHelpText(
      "after",
      `
strace:  strace -f -y -e trace=memory,process,desc -o strace.log COMMAND        address spaces only: no accesses
lackey:  valgrind --tool=lackey --trace-mem=yes --trace-syscalls=yes --basic-counts=no --log-file=lackey.log COMMAND
${examples("bigmem import strace.log -o p.bmt", "valgrind --tool=lackey ... 2>&1 | bigmem import - --format lackey -o p.bmt")}`,
    )
    .action(async (log: string, options: ImportOptions) => {
      const { format, bytes } = await withFormat(log, options.format);
      const header =
        format === "strace" ? straceHeader(options.abi, [nameOf(log)]) : lackeyHeader(options.abi, [nameOf(log)]);
      const feed = format === "strace" ? feedStrace : feedLackey;
      process.stderr.write(
        `${await writeTrace(options.output, header, (writer) => feed(writer, log, options.abi, bytes))}\n`,
      );
    });
}

async function feedLackey(writer: TraceWriter, log: string, abi: Abi, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  const importer = new LackeyImporter(writer, { name: nameOf(log), abi });
  for await (const part of bytes) {
    importer.feed(part);
    await writer.settled();
  }
  importer.finish();
}

async function feedStrace(writer: TraceWriter, log: string, abi: Abi, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  const importer = new StraceImporter(writer, nameOf(log), abi);
  for await (const line of linesOf(bytes)) {
    importer.line(line);
    await writer.settled();
  }
  importer.finish();
}

async function* linesOf(bytes: AsyncIterable<Uint8Array>): AsyncIterable<string> {
  const decoder = new TextDecoder("utf-8");
  let rest = "";
  for await (const part of bytes) {
    const lines = (rest + decoder.decode(part, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

/** Lines that only lackey writes: its banner, instructions, data, calls. */
const LACKEY_LINE = /^(==\d+==|I {2}[0-9a-f]+,\d+| [LSM] [0-9a-f]+,\d+|SYSCALL\[)/;
/** Lines that only strace writes: a call or a resumed one, after a pid or not. */
const STRACE_LINE = /^(\[pid\s+\d+\] |\d+\s+)?([a-z_0-9]+\(|<\.\.\. |[+-]{3} )/;

/** The log's format, told from its first part, and all of its bytes. */
async function withFormat(
  log: string,
  wanted: Format | undefined,
): Promise<{ format: Format; bytes: AsyncIterable<Uint8Array> }> {
  const parts = readBytes(log)[Symbol.asyncIterator]();
  const first = await parts.next();
  if (first.done === true)
    throw new UsageError(`${nameOf(log)}: is empty; expected a log of strace or of valgrind's lackey`);
  const bytes = chained(first.value, parts);
  if (wanted !== undefined) return { format: wanted, bytes };
  const line = new TextDecoder().decode(first.value.subarray(0, 4096)).split("\n")[0] ?? "";
  if (LACKEY_LINE.test(line)) return { format: "lackey", bytes };
  if (STRACE_LINE.test(line)) return { format: "strace", bytes };
  throw new UsageError(
    `${nameOf(log)}: line 1: neither strace nor lackey writes ${JSON.stringify(line.slice(0, 60))}; say which with --format`,
  );
}

async function* chained(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncIterable<Uint8Array> {
  yield first;
  for (let part = await rest.next(); part.done !== true; part = await rest.next()) yield part.value;
}
