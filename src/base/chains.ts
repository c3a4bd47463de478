/**
 * Many short lists of numbers in flat arrays: each list is a chain of links, and all chains share one pool of links
 * that grows as it is needed. Links that are freed are used again before the pool grows.
 *
 *     head:   by list: its newest link, or END
 *     values: by link: the number that the link holds (a double)
 *     nexts:  by link: the link pushed before it, or END; on a free link the next free one
 */
import { bug } from "./errors.ts";
import { SparseInt32 } from "./sparse-array.ts";

/** No link: the end of a chain. */
export const END = -1;

const FIRST_CAPACITY = 1024;

export class Chains {
  private readonly head: SparseInt32;
  private readonly limit: number;
  private values: Float64Array;
  private nexts: Int32Array;
  /** Links that were ever used; all above are untouched. */
  private used = 0;
  private freeLinks = END;
  private inUse = 0;

  /** `lists` chains; at most `limit` links in all of them. */
  constructor(lists: number, limit: number = 2 ** 31 - 1) {
    this.head = new SparseInt32(lists, END);
    this.limit = limit;
    const capacity = Math.min(FIRST_CAPACITY, limit);
    this.values = new Float64Array(capacity);
    this.nexts = new Int32Array(capacity);
  }

  /** Puts `value` at the front of a list; false, with nothing changed, when all links are in use. */
  push(list: number, value: number): boolean {
    const link = this.takeLink();
    if (link === END) return false;
    this.values[link] = value;
    this.nexts[link] = this.head.read(list);
    this.head.write(list, link);
    this.inUse++;
    return true;
  }

  /** Takes the newest `value` off a list; false if it is not there. */
  remove(list: number, value: number): boolean {
    let before = END;
    for (let link = this.head.read(list); link !== END; link = this.nexts[link]) {
      if (this.values[link] === value) {
        this.unlink(list, before, link);
        return true;
      }
      before = link;
    }
    return false;
  }

  /** Empties a list. */
  clear(list: number): void {
    let link = this.head.read(list);
    this.head.write(list, END);
    while (link !== END) {
      const next = this.nexts[link];
      this.freeLink(link);
      link = next;
    }
  }

  /** The newest link of a list, or END. */
  first(list: number): number {
    return this.head.read(list);
  }

  /** The link after `link`, or END. */
  after(link: number): number {
    return this.nexts[link];
  }

  /** The number that a link holds. */
  at(link: number): number {
    return this.values[link];
  }

  isEmpty(list: number): boolean {
    return this.head.read(list) === END;
  }

  /** How many links a list has; counts them. */
  lengthOf(list: number): number {
    let length = 0;
    for (let link = this.first(list); link !== END; link = this.after(link)) length++;
    return length;
  }

  /** Links in use, over all lists. */
  get links(): number {
    return this.inUse;
  }

  /** What the chains cost their host. */
  get hostBytes(): number {
    return this.head.hostBytes + this.values.byteLength + this.nexts.byteLength;
  }

  private unlink(list: number, before: number, link: number): void {
    const after = this.nexts[link];
    if (before === END) this.head.write(list, after);
    else this.nexts[before] = after;
    this.freeLink(link);
  }

  private takeLink(): number {
    const recycled = this.freeLinks;
    if (recycled !== END) {
      this.freeLinks = this.nexts[recycled];
      return recycled;
    }
    if (this.used === this.values.length && !this.grow()) return END;
    return this.used++;
  }

  private freeLink(link: number): void {
    if (this.inUse === 0) bug("a chain frees more links than it took");
    this.nexts[link] = this.freeLinks;
    this.freeLinks = link;
    this.inUse--;
  }

  private grow(): boolean {
    const capacity = Math.min(this.values.length * 2, this.limit);
    if (capacity <= this.values.length) return false;
    const values = new Float64Array(capacity);
    values.set(this.values);
    this.values = values;
    const nexts = new Int32Array(capacity);
    nexts.set(this.nexts);
    this.nexts = nexts;
    return true;
  }
}
