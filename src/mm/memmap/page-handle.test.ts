/**
 * What breaks when code takes a cookie for a pointer: the same programs, once with numbers, which every use looks up, and once
 * with cookies, which code that follows a list dereferences as they are.
 */
import { expect, test } from "vitest";
import { audit } from "../../check/audit/audit.ts";
import { oracleSpec } from "../../check/oracle-machine.ts";
import { STORE } from "../../hw/access.ts";
import { DONE, Machine } from "../../machine.ts";
import type { PageHandleName } from "./page-handle.ts";

const READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const PAGES = 1200;

/** One task fills the lists of pages; another, with a window of its own, takes its pages off them. */
function run(pageHandle: PageHandleName): Machine {
  const machine = new Machine(oracleSpec("pae", "linux-2.6.11", { memMap: "per-task-window", pageHandle }));
  for (const name of ["one", "other"]) {
    const thread = machine.spawn(name).threads[0]!;
    const area = machine.call(thread, "mmap", [0, PAGES * 4096, READ_WRITE, MAP_PRIVATE_ANONYMOUS, null, 0]);
    for (let page = 0; page < PAGES; page++) expect(machine.access(thread, area + page * 4096, STORE)).toBe(DONE);
    expect(machine.call(thread, "munmap", [area, (PAGES / 2) * 4096])).toBe(0);
  }
  machine.exit(machine.processes[0]!, 0);
  return machine;
}

test("numbers are looked up wherever they come from", () => {
  const machine = run("pfn");
  expect(machine.kernel.structPages.windows!.costs).toMatchObject({ strays: 0, followed: 0 });
  expect(audit(machine)).toEqual([]);
});

test("a cookie that is dereferenced where no window shows its struct page is caught", () => {
  const machine = run("cookie");
  const { costs, strays } = machine.kernel.structPages.windows!;
  expect(costs.strays).toBeGreaterThan(0);
  // Where the window happens to show it nobody notices: that is what makes it hard to find.
  expect(costs.followed).toBeGreaterThan(costs.strays);
  expect(strays.length).toBeGreaterThan(0);
  const found = audit(machine);
  expect(new Set(found.map(({ law }) => law))).toEqual(new Set(["struct-pages-are-seen"]));
  expect(found[0]!.what).toMatch(/follows a link to the struct page of frame \d+, which its window does not show/);
});

test("looking on is no use of a struct page", () => {
  const machine = run("pfn");
  const { costs } = machine.kernel.structPages.windows!;
  const before = { ...costs };
  audit(machine);
  expect(costs).toEqual(before);
});
