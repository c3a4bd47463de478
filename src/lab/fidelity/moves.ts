/**
 * Where the pages of one recorded address space lie in another layout: sorted, disjoint ranges of recorded pages, each
 * with the distance by which it has moved. Unlike a rebased trace's, this map changes as the program maps and unmaps.
 */
import { PAGE_SIZE, type Vaddr, type Vpn } from "../../base/units.ts";

/** Stands for addresses that the program has not mapped: nothing lies there in any layout. */
const NOWHERE_PAGE: Vpn = 1;

/** A part of a range: where it starts, in bytes, and how long it is. */
export interface Part {
  readonly address: Vaddr;
  readonly lengthBytes: number;
}

interface Move {
  readonly start: Vpn;
  readonly end: Vpn;
  /** To be added to a recorded page. */
  readonly distance: number;
}

export class Moves {
  /** Changes with every change of the map. */
  version = 0;
  private moves: Move[] = [];

  copy(): Moves {
    const other = new Moves();
    other.moves = [...this.moves];
    return other;
  }

  clear(): void {
    this.moves = [];
    this.version++;
  }

  /** The recorded pages `[start, end)` lie at `target` now, whatever lay there before. */
  set(start: Vpn, end: Vpn, target: Vpn): void {
    this.remove(start, end);
    const at = this.after(start);
    this.moves.splice(at, 0, { start, end, distance: target - start });
  }

  remove(start: Vpn, end: Vpn): void {
    this.version++;
    this.moves = this.moves.flatMap((move) => {
      if (move.end <= start || move.start >= end) return [move];
      const rest: Move[] = [];
      if (move.start < start) rest.push({ ...move, end: start });
      if (move.end > end) rest.push({ ...move, start: end });
      return rest;
    });
  }

  page(page: Vpn): Vpn {
    const move = this.moves[this.after(page) - 1];
    return move !== undefined && page < move.end ? page + move.distance : NOWHERE_PAGE;
  }

  has(page: Vpn): boolean {
    const move = this.moves[this.after(page) - 1];
    return move !== undefined && page < move.end;
  }

  /** A null pointer stays one. */
  address(address: Vaddr): Vaddr {
    if (address === 0) return 0;
    const page = Math.floor(address / PAGE_SIZE);
    return this.page(page) * PAGE_SIZE + (address - page * PAGE_SIZE);
  }

  /** The bytes from `address` on in the new layout: one part where they still lie in a row. */
  parts(address: Vaddr, lengthBytes: number): Part[] {
    const parts: { address: Vaddr; lengthBytes: number }[] = [];
    const end = address + lengthBytes;
    let from = address;
    do {
      const moved = this.address(from);
      const next = Math.min((Math.floor(from / PAGE_SIZE) + 1) * PAGE_SIZE, Math.max(end, from));
      const last = parts.at(-1);
      if (last !== undefined && last.address + last.lengthBytes === moved) last.lengthBytes += next - from;
      else parts.push({ address: moved, lengthBytes: next - from });
      from = next;
    } while (from < end);
    return parts;
  }

  /** The first index whose range starts beyond `page`. */
  private after(page: Vpn): number {
    let low = 0;
    let high = this.moves.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.moves[middle].start <= page) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
