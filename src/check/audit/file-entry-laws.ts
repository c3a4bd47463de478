/** Laws of nonlinear areas: which there are, and what their entries name. */
import { VM_NONLINEAR, VM_SHARED, type Vma } from "../../mm/vma.ts";
import { placeOf } from "./census.ts";
import type { Law } from "./law.ts";

const fileEntriesAreNonlinear: Law = {
  name: "file-entries-are-nonlinear",
  statement: "An entry that names a page of a file lies in a nonlinear shared area of a file.",
  check: ({ fileEntries }, report) => {
    for (const { mm, vma, page, index } of fileEntries) {
      const right = vma !== null && vma.file !== null && (vma.flags & VM_NONLINEAR) !== 0;
      if (!right || (vma.flags & VM_SHARED) === 0) report(`${placeOf({ mm, page })} -> page ${index} of a file`);
    }
  },
};

const nonlinearAreasAreListed: Law = {
  name: "nonlinear-areas-are-listed",
  statement:
    "A file's nonlinear areas are those on its list of them, and on no other; only shared areas are nonlinear.",
  check: ({ kernel }, report) => {
    const listed = new Set<Vma>();
    for (const file of kernel.files.all()) {
      for (const vma of file.mappings.nonlinear) {
        listed.add(vma);
        if ((vma.flags & VM_NONLINEAR) === 0) report(`${file.name}: ${vma.start}..${vma.end} is linear`);
        if (vma.file !== file) report(`${file.name}: ${vma.start}..${vma.end} maps another file`);
      }
    }
    for (const mm of kernel.spaces) {
      for (const vma of mm.vmas) {
        if ((vma.flags & VM_NONLINEAR) === 0) continue;
        if (!listed.has(vma)) report(`${placeOf({ mm, page: vma.start })} is nonlinear, and on no list`);
        if (vma.file === null || (vma.flags & VM_SHARED) === 0)
          report(`${placeOf({ mm, page: vma.start })} is nonlinear, and no shared area of a file`);
      }
    }
  },
};

export const fileEntryLaws: readonly Law[] = [fileEntriesAreNonlinear, nonlinearAreasAreListed];
