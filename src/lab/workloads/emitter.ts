/** Gathers a workload's records into chunks, and gives its areas their addresses. */
import { PAGE_SIZE, type Vpn } from "../../base/units.ts";
import { Ranges } from "../import/ranges.ts";
import { type Chunk, ChunkBuilder } from "../trace/chunk.ts";
import type { TraceEvent } from "../trace/event.ts";
import { type AccessKind, MAX_RUN } from "../trace/format.ts";

/** An area of a workload: pages, and the file behind it. */
export interface Area {
  readonly start: Vpn;
  readonly pages: number;
}

export class Emitter {
  private readonly builder = new ChunkBuilder();
  private readonly ready: Chunk[] = [];

  get thread(): number {
    return this.builder.thread;
  }

  run(kind: AccessKind, page: Vpn, count: number): void {
    for (let rest = count; rest > 0; rest -= MAX_RUN) {
      if (this.builder.full) this.flush();
      this.builder.run(kind, page, Math.min(rest, MAX_RUN));
    }
  }

  event(event: TraceEvent): void {
    if (this.builder.full) this.flush();
    this.builder.event(event);
  }

  /** Closes the chunk that is being gathered. */
  flush(): void {
    if (this.builder.records === 0) return;
    const chunk = this.builder.take();
    this.ready.push({ ...chunk, words: chunk.words.slice() });
  }

  /** Chunks that are full, each once. */
  takeReady(): Chunk[] {
    return this.ready.splice(0);
  }
}

/** Where mappings start, going down, as with 8 MiB of stack above them. */
const MAPPINGS_END: Vpn = 0x7fff_f77f_f000 / PAGE_SIZE;
/** Apart, so that neighbours do not become one area. */
const GAP_PAGES = 1;

/** The addresses of one process's areas: the highest gap that is large enough. */
export class Placement {
  private readonly taken: Ranges;

  constructor(taken = new Ranges()) {
    this.taken = taken;
  }

  copy(): Placement {
    return new Placement(this.taken.copy());
  }

  place(pages: number): Area {
    let end = MAPPINGS_END;
    const taken = this.taken.within(0, MAPPINGS_END).reverse();
    for (const [first, beyond] of taken) {
      if (end - beyond >= pages + GAP_PAGES) break;
      end = first - GAP_PAGES;
    }
    const start = end - pages;
    this.taken.add(start, end);
    return { start, pages };
  }

  free(area: Area): void {
    this.taken.remove(area.start, area.start + area.pages);
  }
}
