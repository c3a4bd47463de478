/** Laws of what CPUs remember and of what is held between operations. */
import { FETCH, LOAD, STORE } from "../../hw/access.ts";
import type { Cpu } from "../../hw/cpu.ts";
import { PTE_DIRTY, PTE_NO_EXECUTE, PTE_PRESENT, PTE_USER, PTE_WRITE } from "../../hw/pte.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { entryOf } from "../page-walk.ts";
import type { Law } from "./law.ts";

const tlbsAgreeWithTables: Law = {
  name: "tlbs-agree-with-tables",
  statement: "Every translation in a TLB leads to the frame that the page tables give, with no right that they deny.",
  check: ({ kernel }, report) => {
    for (const cpu of kernel.cpus) {
      for (const translation of cpu.mmu.tlb.translations()) {
        const wrong = disagreement(kernel, cpu, translation);
        if (wrong !== undefined) report(`CPU ${cpu.id}, page 0x${translation.firstPage.toString(16)}: ${wrong}`);
      }
    }
  },
};

interface Held {
  readonly firstPage: number;
  readonly frame: number;
  readonly rights: number;
}

function disagreement(kernel: Kernel, { mmu }: Cpu, { firstPage, frame, rights }: Held): string | undefined {
  if (mmu.root < 0) return "held with no root loaded";
  const found = entryOf(kernel, mmu.root, firstPage);
  if (found === undefined || (found.flags & PTE_PRESENT) === 0) return "the tables give nothing";
  const start = kernel.entries.frame(found.table, found.index);
  const given = found.level === 1 ? start : start + (firstPage % kernel.format.entrySpan(found.level));
  if (given !== frame) return `frame ${frame}, the tables give ${given}`;
  if ((rights & (1 << LOAD)) !== 0 && (found.flags & PTE_USER) === 0)
    return "a user's load, and the page is not a user's";
  if ((rights & (1 << STORE)) !== 0 && (found.flags & (PTE_WRITE | PTE_DIRTY)) !== (PTE_WRITE | PTE_DIRTY)) {
    return "stores, and the entry is not both writable and dirty";
  }
  if ((rights & (1 << FETCH)) !== 0 && (found.flags & PTE_NO_EXECUTE) !== 0)
    return "fetches, and the entry forbids them";
  return undefined;
}

const tlbsNameNoFreeFrame: Law = {
  name: "tlbs-name-no-free-frame",
  statement: "No TLB entry leads to a free frame.",
  check: (census, report) => {
    for (const cpu of census.kernel.cpus) {
      for (const { firstPage, frame } of cpu.mmu.tlb.translations()) {
        if (census.isFree(frame)) report(`CPU ${cpu.id}, page 0x${firstPage.toString(16)}: frame ${frame}`);
      }
    }
  },
};

const rootsAreLoaded: Law = {
  name: "roots-are-loaded",
  statement:
    "A CPU's root is the top table of the one address space that it runs in; a CPU that runs in none remembers nothing.",
  check: ({ kernel }, report) => {
    for (const { id, mmu } of kernel.cpus) {
      const running = [...kernel.spaces].filter(({ cpus }) => cpus.has(id));
      if (running.length > 1) report(`CPU ${id} runs in ${running.length} address spaces`);
      if (running.length === 1 && running[0]!.root !== mmu.root)
        report(`CPU ${id}: root ${mmu.root}, not ${running[0]!.root}`);
      if (running.length === 0 && !mmu.tlb.translations().next().done)
        report(`CPU ${id} runs nothing and has translations`);
    }
  },
};

const tablesAreClosed: Law = {
  name: "tables-are-closed",
  statement: "Between operations no page table is open.",
  check: ({ kernel }, report) => {
    if (kernel.tables.openTables !== 0) report(`${kernel.tables.openTables} are`);
  },
};

const locksAreFree: Law = {
  name: "locks-are-free",
  statement: "Between operations no thread holds a lock.",
  check: ({ processes }, report) => {
    for (const { threads } of processes) {
      for (const { name, held } of threads) for (const lock of held) report(`${name} holds ${lock.name}`);
    }
  },
};

export const cpuLaws: readonly Law[] = [
  tlbsAgreeWithTables,
  tlbsNameNoFreeFrame,
  rootsAreLoaded,
  tablesAreClosed,
  locksAreFree,
];
