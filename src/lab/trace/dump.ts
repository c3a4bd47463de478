/**
 * A trace as text, one line a record, and back:
 *
 *     # {"schema":"bigmem.trace/1",...}      the header
 *     fetch 0x401 12                         kind, page, accesses
 *     event {"op":"call","name":"brk",...}
 */
import { UsageError } from "../../base/errors.ts";
import type { ChunkSource } from "./chunk.ts";
import type { CutRange } from "./cut.ts";
import type { TraceEventInput } from "./event.ts";
import { type AccessKind, FETCH, LOAD, MAX_RUN, STORE, type TraceHeader } from "./format.ts";
import { walkChunk } from "./walk.ts";
import type { TraceWriter } from "./writer.ts";

const kindNames = ["fetch", "load", "store"] as const;
const kinds: ReadonlyMap<string, AccessKind> = new Map([
  ["fetch", FETCH],
  ["load", LOAD],
  ["store", STORE],
]);

/** The trace's lines, a chunk's worth at a time; of `range` only, if one is given. */
export async function* dumpTrace(source: ChunkSource, range?: CutRange): AsyncGenerator<string, void, undefined> {
  yield `# ${JSON.stringify(await source.header())}\n`;
  const { unit, from, to } = range ?? { unit: "record", from: 0, to: Number.POSITIVE_INFINITY };
  let number = 0;
  for await (const chunk of source.chunks()) {
    const lines: string[] = [];
    const line = (text: string): void => {
      if (number >= from && number < to) lines.push(text);
    };
    walkChunk(chunk, {
      run(kind, page, count) {
        line(`${kindNames[kind]} 0x${page.toString(16)} ${count}\n`);
        if (unit === "record") number++;
      },
      event(event) {
        line(`event ${JSON.stringify(event)}\n`);
        number++;
      },
    });
    if (lines.length > 0) yield lines.join("");
    if (number >= to) break;
  }
}

/** The header in a dump's first line. */
export function dumpedHeader(line: string, name: string): TraceHeader {
  if (!line.startsWith("# "))
    throw new UsageError(`${name}: line 1: expected "# " and the header, found ${shown(line)}`);
  return parsed(line.slice(2), `${name}: line 1`) as TraceHeader;
}

/** Writes one line of a dump, but the first. Throws UsageError with `where` for anything else. */
export function writeDumped(line: string, writer: TraceWriter, where: string): void {
  const [word, page, count] = line.split(" ", 3);
  if (word === "event") {
    writer.event(parsed(line.slice("event ".length), where) as TraceEventInput);
    return;
  }
  const kind = kinds.get(word);
  const accesses = Number(count);
  if (kind === undefined || !/^0x[0-9a-f]+$/.test(page ?? "") || !(accesses >= 1 && accesses <= MAX_RUN)) {
    throw new UsageError(`${where}: expected "fetch|load|store 0xPAGE COUNT" or "event JSON", found ${shown(line)}`);
  }
  writer.run(kind, Number(page), accesses);
}

function parsed(json: string, where: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new UsageError(`${where}: expected JSON, found ${shown(json)}`);
  }
}

const shown = (text: string): string => JSON.stringify(text.slice(0, 80));
