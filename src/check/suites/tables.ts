/**
 * The bytes of page tables (VmPTE) after each step, where tables begin and end: a table of the last level maps 2 MiB,
 * and the window has 32 of them. `stat` prints the change since the program began.
 */

const TABLE = 0x20_0000;

/** What is mapped: over how many bytes, with which flags. */
const mappings = {
  private: "3 0x32 -1 0",
  shared: "3 0x31 -1 0",
  populated: "3 0x8032 -1 0",
  file: "3 0x11 0 0",
} as const;

/** Steps over [start, end), which spans three tables and a bit. */
const journeys: Readonly<Record<string, (start: number, bytes: number) => readonly string[]>> = {
  "touched and unmapped from below": (start, bytes) => [
    ...touches(start, bytes),
    `munmap ${hex(start)} 0x1000`,
    `munmap ${hex(start + 0x1000)} 0x${hex(TABLE - 0x1000)}`,
    `munmap ${hex(start + TABLE)} 0x${hex(bytes - TABLE)}`,
  ],
  "touched and unmapped from above": (start, bytes) => [
    ...touches(start, bytes),
    `munmap ${hex(start + bytes - 0x1000)} 0x1000`,
    `munmap ${hex(start + TABLE)} 0x${hex(bytes - TABLE - 0x1000)}`,
    `munmap ${hex(start)} 0x${hex(TABLE)}`,
  ],
  "unmapped in the middle": (start, bytes) => [
    ...touches(start, bytes),
    `munmap ${hex(start + TABLE)} 0x${hex(TABLE)}`,
    `mmap ${hex(start + TABLE)} 0x${hex(TABLE)} 3 0x32 -1 0`,
    `r ${hex(start + TABLE)}`,
  ],
  "emptied and touched again": (start, bytes) => [
    ...touches(start, bytes),
    `madvise ${hex(start)} 0x${hex(bytes)} 4`,
    `r ${hex(start)}`,
    `mprotect ${hex(start)} 0x${hex(bytes)} 0`,
    `munmap ${hex(start)} 0x${hex(bytes)}`,
  ],
  "moved by one page": (start, bytes) => [
    ...touches(start, bytes),
    `mremap ${hex(start)} 0x${hex(bytes)} 0x${hex(bytes)} 3 ${hex(0x200_1000)}`,
    `mremap ${hex(0x200_1000)} 0x${hex(bytes)} 0x1000 1`,
  ],
  "moved by whole tables": (start, bytes) => [
    ...touches(start, bytes),
    `mremap ${hex(start)} 0x${hex(bytes)} 0x${hex(bytes)} 3 ${hex(0x200_0000 + (start % TABLE))}`,
  ],
  "moved away, left in place": (start, bytes) => [
    ...touches(start, bytes),
    `mremap ${hex(start)} 0x${hex(bytes)} 0x${hex(bytes)} 7 ${hex(0x200_0000)}`,
    `r ${hex(start)}`,
  ],
  forked: (start, bytes) => [
    ...touches(start, bytes),
    "fork 1",
    `munmap ${hex(start)} 0x${hex(bytes)}`,
    "1 stat",
    `1 w ${hex(start + TABLE)} 9`,
    `1 munmap ${hex(start)} 0x${hex(TABLE)}`,
    "1 stat",
    "1 exit",
  ],
  "forked, kept from the child": (start, bytes) => [
    ...touches(start, bytes),
    `madvise ${hex(start)} 0x${hex(TABLE)} 10`,
    `madvise ${hex(start + TABLE)} 0x${hex(TABLE)} 18`,
    "fork 1",
    "1 stat",
  ],
  "beside a neighbour in the same table": (start, bytes) => [
    `mmap ${hex(start + bytes)} 0x1000 1 0x31 -1 0`,
    `r ${hex(start + bytes)}`,
    ...touches(start, bytes),
    `munmap ${hex(start)} 0x${hex(bytes)}`,
    `munmap ${hex(start + bytes)} 0x1000`,
  ],
  locked: (start, bytes) => [
    `mlock ${hex(start + TABLE - 0x1000)} 0x2000`,
    `mlock2 ${hex(start)} 0x${hex(bytes)} 1`,
    `munlock ${hex(start)} 0x${hex(bytes)}`,
  ],
  "accesses that fail": (start) => [
    `x ${hex(start)}`,
    `mprotect ${hex(start)} 0x1000 0`,
    `r ${hex(start)}`,
    `r ${hex(start + 16 * TABLE)}`,
    `w ${hex(start + 16 * TABLE)} 1`,
  ],
  "a break that grows over tables": () => [
    "brk 0x200000",
    "w B0 1",
    "w B1ff000 1",
    "brk 0x400000",
    "w B3ff000 1",
    "brk 0x1000",
    "brk 0",
  ],
};

const hex = (value: number): string => value.toString(16);

/** A store at the start, at each table's first and last page, and at the end. */
function touches(start: number, bytes: number): string[] {
  const places = [start, start + TABLE - 0x1000, start + TABLE, start + bytes - 0x1000];
  return places.map((place, at) => `w ${hex(place)} ${at + 1}`);
}

/** The text of every program. */
export function tablePrograms(): string[] {
  const programs: string[] = [];
  for (const [mapping, rest] of Object.entries(mappings)) {
    for (const [journey, steps] of Object.entries(journeys)) {
      for (const start of [TABLE, 3 * TABLE - 0x1000]) {
        const bytes = 2 * TABLE + 0x3000;
        const name = `tables-${mapping}-${journey.replace(/\W+/g, "-")}-${hex(start)}`;
        const lines = steps(start, bytes).flatMap((step) => [/^\d/.test(step) ? step : `0 ${step}`, "0 stat"]);
        const map = `0 mmap ${hex(start)} 0x${hex(bytes)} ${rest}`;
        programs.push([`prog ${name}`, `file 0 ${6 * TABLE}`, map, "0 stat", ...lines, "end"].join("\n"));
      }
    }
  }
  return programs;
}
