/** zstd from Node's own zlib: what the trace format compresses its chunks with. */
import { constants, zstdCompress, zstdDecompress } from "node:zlib";
import type { Codec } from "../lab/trace/format.ts";

/** Room in one piece for all that comes out, so that decompression runs once instead of in pieces of 16 KiB. */
const BLOCK_SLACK = 64;

/** Most chunks of a recording pack to less: then compression runs once. */
const PACKED_PIECE = 1 << 16;

/** `level` 1 to 22: 3 while recording, more for a sample that is kept. */
export function zstdCodec(level = 3): Codec {
  const params = { [constants.ZSTD_c_compressionLevel]: level };
  return {
    compress: (bytes) =>
      new Promise((resolve, reject) => {
        zstdCompress(bytes, { params, pledgedSrcSize: bytes.length, chunkSize: PACKED_PIECE }, (error, result) =>
          error ? reject(error) : resolve(result),
        );
      }),
    decompress: (bytes, expectedBytes) =>
      new Promise((resolve, reject) => {
        zstdDecompress(
          bytes,
          { maxOutputLength: expectedBytes, chunkSize: expectedBytes + BLOCK_SLACK },
          (error, result) => (error ? reject(error) : resolve(result)),
        );
      }),
  };
}
