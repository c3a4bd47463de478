/** Laws of System V shared memory. */
import { Attachment } from "../../mm/shm/segments.ts";
import type { Law } from "./law.ts";

const segmentsAreFiles: Law = {
  name: "segments-are-files",
  statement:
    "Each segment has a file of its own, which its number or somebody's area keeps; an area that shmat made maps the file of a segment that is there; pages and locked bytes of all segments add up.",
  check: ({ kernel }, report) => {
    const files = new Set(kernel.files.all());
    const known = new Set(kernel.segments.all());
    let pages = 0;
    let lockedBytes = 0;
    for (const segment of known) {
      if (!files.delete(segment.file)) report(`segment ${segment.id} has no file, or another one's`);
      if (segment.file.references === 0 && !segment.file.named) report(`nobody keeps segment ${segment.id}`);
      pages += segment.pages;
      lockedBytes += segment.lockedBytes;
    }
    for (const mm of kernel.spaces) {
      for (const { start, opened } of mm.vmas) {
        if (opened instanceof Attachment && !known.has(opened.segment))
          report(`${mm.id}: the segment at ${start} is gone`);
      }
    }
    const counted = kernel.segments;
    if (counted.pages !== pages) report(`${pages} pages of segments, ${counted.pages} counted`);
    if (counted.lockedBytes !== lockedBytes) report(`${lockedBytes} bytes locked, ${counted.lockedBytes} counted`);
  },
};

export const segmentLaws: readonly Law[] = [segmentsAreFiles];
