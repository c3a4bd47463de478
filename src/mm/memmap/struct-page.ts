/**
 * What `struct page` is made of, by kernel: the record of which there is one for every frame, so that each word of it is
 * 64 MiB of lowmem on a machine with 64 GiB. Wait queues went to hashes, buffers and virtual addresses to tables of their
 * own, hash chains to trees; then reverse maps came, and went.
 *
 * @models linux-2.4.22, linux-2.6.0, linux-2.6.11, linux-2.6.18 include/linux/mm.h struct page
 * @models rhel3-hugemem include/linux/mm.h struct page
 */

interface StructPage {
  /** Which kernels, built how. */
  readonly of: string;
  /** Bytes of each field, in the order of the source. */
  readonly fields: Readonly<Record<string, number>>;
}

/** On 32 bits a list head is two pointers. */
const common = { list: 8, mapping: 4, index: 4 };
const lists24 = { next_hash: 4, count: 4, flags: 4, lru: 8 };
const fields2422 = { ...common, ...lists24, pprev_hash: 4, buffers: 4 };
const fields26 = { flags: 4, count: 4, list: 8, mapping: 4, index: 4, lru: 8 };

export const structPages = {
  "2.4.0": {
    of: "2.4.0 to 2.5.4, several CPUs, highmem",
    fields: { ...common, ...lists24, wait: 12, pprev_hash: 4, buffers: 4, virtual: 4, zone: 4 },
  },
  "2.4.0-up": {
    of: "the same for one CPU",
    fields: { ...common, ...lists24, wait: 8, pprev_hash: 4, buffers: 4, virtual: 4, zone: 4 },
  },
  "2.5.5": {
    of: "2.5.5: the zone is in the flags",
    fields: { ...common, ...lists24, wait: 12, pprev_hash: 4, buffers: 4, virtual: 4 },
  },
  "2.4.22": { of: "2.4.22, highmem", fields: { ...fields2422, virtual: 4 } },
  "2.4.22-lowmem": { of: "2.4.22 without highmem", fields: fields2422 },
  rhel3: { of: "RHEL 3, highmem up to 4 GiB", fields: { ...fields2422, virtual: 4, pte: 4, age: 4 } },
  "rhel3-highpte-64g": {
    of: "RHEL 3, page tables in highmem up to 64 GiB",
    fields: { ...fields2422, virtual: 4, pte: 8, age: 4 },
  },
  "2.5.27": {
    of: "2.5.27: chains of entries, no hash of pages",
    fields: { ...common, count: 4, flags: 4, lru: 8, pte: 4, private: 4, virtual: 4 },
  },
  "2.5.46": { of: "2.5.46 to 2.6.6", fields: { ...fields26, pte: 4, private: 4 } },
  "2.5.46-highpte-64g": {
    of: "the same, page tables in highmem up to 64 GiB: an entry's address has 8 bytes",
    fields: { ...fields26, pte: 8, private: 4 },
  },
  "2.6.7": {
    of: "2.6.7 and later: no chains, no second list",
    fields: { flags: 4, count: 4, mapcount: 4, private: 4, mapping: 4, index: 4, lru: 8 },
  },
  "2.6.18": {
    of: "2.6.18: private and mapping share their place with the lock of a page table",
    fields: { flags: 4, count: 4, mapcount: 4, "private, mapping or ptl": 8, index: 4, lru: 8 },
  },
  "x86-64": {
    of: "x86-64 today",
    fields: { flags: 8, "what the page is for": 40, mapcount: 4, refcount: 4, memcg: 8 },
  },
} as const satisfies Readonly<Record<string, StructPage>>;

export type StructPageName = keyof typeof structPages;

/** sizeof(struct page). */
export const structPageBytes = (name: StructPageName): number =>
  Object.values(structPages[name].fields).reduce((sum, bytes) => sum + bytes, 0);
