/** Recorded outcomes as files: the text of recorded.ts, compressed; and the one that ships with the project. */
import { readFileSync } from "node:fs";
import { brotliCompressSync, brotliDecompressSync, constants } from "node:zlib";
import { UsageError } from "../../base/errors.ts";
import type { Outcome } from "../../check/compare-outcomes.ts";
import { formatRecording, parseRecording, type Recording, type RecordingHead } from "../../check/recorded.ts";
import { ReplacedFile, reason } from "../files.ts";
import { samplesFolder } from "../samples.ts";

/** What ships: a current kernel's answers. */
export const shippedRecording = new URL("outcomes/linux-6.18-x86-64.bmo", samplesFolder);
/** The most that a recording's text may be. */
const MOST_BYTES = 256 * 1024 * 1024;
/** Outcomes repeat over megabytes. */
const WINDOW_BITS = 24;

export function readRecording(path: string | URL): Recording {
  const name = path instanceof URL ? path.pathname : path;
  let text: string;
  try {
    text = brotliDecompressSync(readFileSync(path), { maxOutputLength: MOST_BYTES }).toString("latin1");
  } catch (error) {
    throw new UsageError(`${name}: is not a recording of outcomes: ${reason(error)}`);
  }
  return parseRecording(text, name);
}

/** Returns the bytes written. */
export function writeRecording(path: string, head: RecordingHead, outcomes: Iterable<Outcome>): number {
  const file = new ReplacedFile(path);
  file.write(
    brotliCompressSync(Buffer.from(formatRecording(head, outcomes), "latin1"), {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
        [constants.BROTLI_PARAM_LGWIN]: WINDOW_BITS,
        [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
      },
    }),
  );
  file.commit();
  return file.bytes;
}
