/** Laws of the ways back: from a frame to its entries, from a file or an anon_vma to its areas. */
import { PAGE_SIZE } from "../../base/units.ts";
import { PhysicalMemory, WORDS_PER_FRAME } from "../../hw/physical-memory.ts";
import { PTE_DIRTY } from "../../hw/pte.ts";
import { PG_ANON, PG_DIRTY, PG_LOCKED, PG_RESERVED, PG_UPTODATE } from "../../mm/frames.ts";
import { VM_SHARED, type Vma } from "../../mm/vma.ts";
import type { Law } from "./law.ts";

const reverseMapFindsAll: Law = {
  name: "reverse-map-finds-all",
  statement:
    "For each frame, the reverse map gives exactly the entries of leaf tables that a scan of all page tables finds.",
  check: (census, report) => {
    const { reverseMap, frames } = census.kernel;
    for (const [frame, entries] of census.ownedFrames()) {
      if (frames.has(frame, PG_RESERVED)) continue;
      const expected = new Set(entries.filter(({ level }) => level === 1).map(({ slot }) => slot));
      reverseMap.forEach(frame, (slot) => {
        if (!expected.delete(slot)) report(`frame ${frame}: gives ${slot} twice, or without reason`);
        return true;
      });
      if (expected.size > 0) report(`frame ${frame}: misses ${[...expected].join(", ")}`);
    }
  },
};

const filesKnowTheirAreas: Law = {
  name: "files-know-their-areas",
  statement: "A file's list of mappings holds exactly the areas that map it, and counts the shared ones.",
  check: ({ kernel }, report) => {
    const areas = new Map<object, Vma[]>();
    for (const mm of kernel.spaces) {
      for (const vma of mm.vmas) if (vma.file !== null) areas.set(vma.file, [...(areas.get(vma.file) ?? []), vma]);
    }
    for (const file of kernel.files.all()) {
      const found = areas.get(file) ?? [];
      areas.delete(file);
      if (file.mappings.count !== found.length)
        report(`${file.name}: ${file.mappings.count} mappings, ${found.length} areas`);
      for (const vma of found)
        if (!file.mappings.has(vma)) report(`${file.name}: ${vma.start}..${vma.end} is not in its list`);
      const shared = found.filter(({ flags }) => (flags & VM_SHARED) !== 0).length;
      if (file.writableMappings !== shared)
        report(`${file.name}: counts ${file.writableMappings} shared, found ${shared}`);
      if (file.references < found.length) report(`${file.name}: ${file.references} references, ${found.length} areas`);
    }
    for (const [, [vma]] of areas) report(`${vma!.start}..${vma!.end} maps a file that is gone`);
  },
};

const anonVmasKnowTheirAreas: Law = {
  name: "anon-vmas-know-their-areas",
  statement:
    "An area is on the list of every anon_vma of its chain, its own among them, and those lists hold live areas only.",
  check: ({ kernel }, report) => {
    const live = new Set<Vma>();
    for (const mm of kernel.spaces) for (const vma of mm.vmas) live.add(vma);
    for (const vma of live) {
      const { anonVma, anonVmaChain } = vma;
      const name = `${vma.mm.id}: ${vma.start}..${vma.end}`;
      if (anonVma !== null && !anonVmaChain.some((link) => link.anonVma === anonVma))
        report(`${name}: its own is not in its chain`);
      for (const link of anonVmaChain) {
        if (link.vma !== vma || !link.anonVma.links.has(link))
          report(`${name}: not on the list of anon_vma ${link.anonVma.id}`);
        for (const other of link.anonVma.links) {
          if (!live.has(other.vma))
            report(`anon_vma ${link.anonVma.id} lists ${other.vma.start}..${other.vma.end}, which is gone`);
        }
      }
      if (new Set(anonVmaChain.map((link) => link.anonVma)).size !== anonVmaChain.length)
        report(`${name}: an anon_vma twice`);
    }
  },
};

const dirtIsConserved: Law = {
  name: "dirt-is-conserved",
  statement:
    "A cached page that differs from its file's copy on disk, up to the file's end, is marked dirty, or some entry that holds it is.",
  check: (census, report) => {
    const { frames, files, memory } = census.kernel;
    const scratch = new PhysicalMemory(1);
    for (const file of files.all()) {
      file.pages.forEach(0, Number.POSITIVE_INFINITY, (index, frame) => {
        const marked = frames.has(frame, PG_DIRTY);
        if (marked !== file.pages.isDirty(index))
          report(`page ${index} of ${file.name}: the frame and the cache disagree`);
        if (file.kind !== "regular" || marked || !frames.has(frame, PG_UPTODATE) || frames.has(frame, PG_LOCKED))
          return true;
        if (census.byFrame.get(frame)?.some(({ flags }) => (flags & PTE_DIRTY) !== 0) === true) return true;
        for (let part = 0; part < frames.softFrames; part++) {
          scratch.zero(0);
          file.disk.load(scratch, 0, index + part);
          const words = Math.floor((file.sizeBytes - (index + part) * PAGE_SIZE) / 4);
          for (let word = 0; word < Math.min(words, WORDS_PER_FRAME); word++) {
            if (scratch.read(0, word) === memory.read(frame + part, word)) continue;
            report(`page ${index + part} of ${file.name}, frame ${frame + part}: word ${word}`);
            return true;
          }
        }
        return true;
      });
    }
  },
};

const anonymousFramesAreNamed: Law = {
  name: "anonymous-frames-are-named",
  statement: "Every anonymous frame that is mapped names an anon_vma that exists.",
  check: (census, report) => {
    const known = new Set<number>();
    for (const mm of census.kernel.spaces) {
      for (const vma of mm.vmas) for (const { anonVma } of vma.anonVmaChain) known.add(anonVma.id);
    }
    const { frames } = census.kernel;
    for (const [frame] of census.ownedFrames()) {
      if (frames.has(frame, PG_ANON) && !known.has(frames.mapping.read(frame))) {
        report(`frame ${frame} names anon_vma ${frames.mapping.read(frame)}`);
      }
    }
  },
};

export const linkLaws: readonly Law[] = [
  reverseMapFindsAll,
  filesKnowTheirAreas,
  anonVmasKnowTheirAreas,
  anonymousFramesAreNamed,
  dirtIsConserved,
];
