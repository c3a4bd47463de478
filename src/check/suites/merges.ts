/**
 * Which areas join and where they split: three neighbours A B C, each with a history, and what brings them together.
 * Every combination is one small program, whose dump shows the areas that came out.
 *
 *     AAAABBBBCCCC    A at 10000, B at 14000, C at 18000, four pages each
 */

/** What lies at A and C, and at B once it joins them. */
const backings = {
  private: (at: number) => `0 mmap ${hex(at)} 0x4000 3 0x32 -1 0`,
  shared: (at: number) => `0 mmap ${hex(at)} 0x4000 3 0x31 -1 0`,
  file: (at: number) => `0 mmap ${hex(at)} 0x4000 3 0x11 0 0x${hex(at - START)}`,
  "file-copy": (at: number) => `0 mmap ${hex(at)} 0x4000 3 0x12 0 0x${hex(at - START)}`,
} as const;

/** What happened before to A and C. */
const histories = {
  fresh: "",
  "a-written": "0 w 10010 1",
  "c-written": "0 w 18010 2",
  "both-written": "0 w 10010 1\n0 w 18010 2",
  forked: "0 w 10010 1\n0 w 18010 2\n0 fork 1",
  "forked-between": "0 w 10010 1\n0 fork 1\n0 w 18010 2",
} as const;

const START = 0x1_0000;
const B = 0x1_4000;
const C = 0x1_8000;

/** What brings B between A and C: with B's own line where it is mapped as they are. */
const bridges: Readonly<Record<string, (b: string) => string>> = {
  mapped: (b) => b,
  "unprotected, then protected alike": (b) => `${b}\n0 mprotect 14000 0x4000 1\n0 mprotect 14000 0x4000 3`,
  "mapped without rights, then protected alike": (b) => `${b.replace(" 3 0x", " 0 0x")}\n0 mprotect 14000 0x4000 3`,
  "written, then protected alike": (b) =>
    `${b}\n0 mprotect 14000 0x4000 7\n0 w 14010 3\n0 w 17010 4\n0 mprotect 14000 0x4000 3`,
  "locked and unlocked": (b) => `${b}\n0 mlock 15000 0x1000\n0 munlock 14000 0x2000`,
  "locked with its neighbours": (b) => `${b}\n0 mlock2 12000 0x8000 1`,
  "advised and advised back": (b) => `${b}\n0 madvise 14000 0x4000 10\n0 madvise 13000 0x6000 11`,
  "grown from A": () => "0 mremap 10000 0x4000 0x8000 0",
  "moved in": (b) => `${b.replace(hex(B), "40000")}\n0 w 41010 5\n0 mremap 40000 0x4000 0x4000 3 14000`,
  "moved out and back": (b) =>
    `${b}\n0 w 15010 5\n0 mremap 14000 0x4000 0x4000 3 40000\n0 mremap 40000 0x4000 0x4000 3 14000`,
  "protected across both borders": (b) => `${b}\n0 mprotect 12000 0x8000 1\n0 mprotect 13000 0x6000 3`,
  "unmapped in the middle, mapped again": (b) => `${b}\n0 munmap 15000 0x1000\n0 mmap 15000 0x1000 3 0x32 -1 0`,
};

const hex = (value: number): string => value.toString(16);

/** The text of every program: backing, history and bridge are in its name. */
export function mergePrograms(): string[] {
  const programs: string[] = [];
  for (const [backing, map] of Object.entries(backings)) {
    for (const [history, before] of Object.entries(histories)) {
      for (const [bridge, join] of Object.entries(bridges)) {
        const name = `joins-${backing}-${history}-${bridge.replace(/\W+/g, "-")}`;
        const after = history.startsWith("forked")
          ? "1 w 14010 6\n0 w 13010 7\n1 mprotect 10000 0xc000 1"
          : "0 w 17010 6";
        programs.push(
          [`prog ${name}`, "file 0 65536", map(START), map(C), before, join(map(B)), after, "end"].join("\n"),
        );
      }
    }
  }
  return programs;
}
