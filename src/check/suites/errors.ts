/**
 * Each call's table of errors: one layout, then one call a row with arguments that some check must refuse, the order of
 * the checks included. Rows that succeed stand beside them, so that the border between both is in the table too.
 *
 *     10000 private rw, written  20000 private r  30000 file, shared  40000 file, private, past its end from 46000
 *     50000 no rights            60000 shared memory rwx              70000 a hole between 70000 and 80000
 */

export const errorLayout = `
file 0 32768
0 mmap 10000 0x8000 3 0x32 -1 0
0 mmap 20000 0x4000 1 0x32 -1 0
0 mmap 30000 0x8000 3 0x11 0 0
0 mmap 40000 0x8000 3 0x12 0 0x2000
0 mmap 50000 0x4000 0 0x32 -1 0
0 mmap 60000 0x4000 7 0x31 -1 0
0 mmap 78000 0x8000 3 0x32 -1 0
0 mmap 80000 0x8000 1 0x32 -1 0
0 w 10010 17
0 w 30010 33
0 w 40010 49
`;

/** By call: its rows, without the process. */
export const errorRows: Readonly<Record<string, string>> = {
  "mmap-arguments": `
mmap - 0 3 0x22 -1 0
mmap - 0x1000 3 0x20 -1 0
mmap - 0x1000 3 0x0 0 0
mmap - 0x1000 3 0x2 0 0x800
mmap - 0x1000 3 0x2 -1 0
mmap - 0x1000 3 0x2 7 0
mmap - 0x1000 3 0x1 7 0
mmap - 0x1000 3 0x2 0 0xfffffffffffff000
mmap - 0x2000 3 0x1 0 0x7ffffffffffff000
mmap - 0x1000 0x10 0x22 -1 0
mmap - 0x1000 8 0x22 -1 0
mmap - 0x1 3 0x22 -1 0
mmap - 0x1000 3 0x23 -1 0
mmap - 0x1000 3 0x3 0 0
mmap - 0x1000 3 0x80003 0 0
mmap - 0x1000 3 0x200003 0 0
mmap - 0x1000 3 0x4003 0 0
mmap - 0x1000 3 0x40022 -1 0
mmap - 0x200000 3 0x40022 -1 0
mmap - 0x1000 3 0x40002 0 0
mmap - 0x1000 3 0x122 -1 0
mmap - 0x1000 3 0x121 -1 0
mmap - 0x1000 3 0x102 0 0
mmap - 0x1000 3 0x4022 -1 0
mmap - 0x1000 3 0x4021 -1 0
mmap - 0x3000 3 0x20022 -1 0
`,
  "mmap-places": `
mmap 10800 0x1000 3 0x32 -1 0
mmap 10800 0x1000 3 0x22 -1 0
mmap 12000 0x1000 3 0x100022 -1 0
mmap 19000 0x1000 3 0x100022 -1 0
mmap 18000 0x1000 3 0x100032 -1 0
mmap 17000 0x2000 3 0x100032 -1 0
mmap @7ffffffff000 0x1000 3 0x32 -1 0
mmap @800000000000 0x1000 3 0x32 -1 0
mmap @fffffffffffff000 0x1000 3 0x32 -1 0
mmap @fffffffffffff000 0x2000 3 0x22 -1 0
mmap @1000 0x1000 3 0x22 -1 0
mmap - 0x5000000 3 0x22 -1 0
mmap - 0x7ffffffff000 3 0x22 -1 0
mmap - 0x800000000000 3 0x22 -1 0
mmap - 0xfffffffffffff800 3 0x22 -1 0
mmap - 0xfffffffffffff000 3 0x22 -1 0
mmap 20000 0x1000 3 0x22 -1 0
mmap 72000 0x1000 3 0x22 -1 0
mmap 3fff000 0x2000 3 0x22 -1 0
mmap 20000 0x1000 3 0x132 -1 0
mmap 14000 0x2000 3 0x2032 -1 0
mmap 16000 0x1000 0 0xa032 -1 0
mmap 34000 0x4000 1 0x8011 0 0
`,
  munmap: `
munmap 10000 0
munmap 10800 0x1000
munmap 10000 0x7ffffffff000
munmap @800000000000 0x1000
munmap @fffffffffffff000 0x1000
munmap 10000 0xfffffffffffff800
munmap 70000 0x4000
munmap 11000 0x800
munmap 13000 0x1001
munmap 32000 0x10000
munmap 5f000 0x2000
munmap 1f000 0x1000
`,
  mprotect: `
mprotect 10000 0 3
mprotect 10800 0x1000 3
mprotect 10800 0 3
mprotect 10000 0x1000 0x10
mprotect 10000 0x1000 8
mprotect 10000 0x1000 0x1000000
mprotect 10000 0x1000 0x1000003
mprotect 10000 0x1000 0x2000003
mprotect 10000 0x1000 0x3000003
mprotect 10000 0xfffffffffffff800 3
mprotect 10000 0xfffffffffffff000 3
mprotect @800000000000 0x1000 3
mprotect 70000 0x1000 3
mprotect 70000 0x10000 1
mprotect 14000 0x8000 1
mprotect 7c000 0x10000 3
mprotect 22000 0x1 3
mprotect 30000 0x8000 5
mprotect 40000 0x8000 7
mprotect 60000 0x4000 0
mprotect 50000 0x2000 2
`,
  "mremap-arguments": `
mremap 10000 0x1000 0 1
mremap 10800 0x1000 0x2000 1
mremap 10000 0x1000 0x2000 8
mremap 10000 0x1000 0x2000 9
mremap 10000 0x1000 0x2000 2 100000
mremap 10000 0x1000 0x2000 4 100000
mremap 10000 0x1000 0x2000 5 100000
mremap 10000 0x1000 0x1000 3 100800
mremap 10000 0x2000 0x2000 3 11000
mremap 11000 0x2000 0x2000 3 10000
mremap 10000 0x1000 0x1000 3 @7ffffffff000
mremap 10000 0x1000 0x1000 3 @800000000000
mremap 70000 0x1000 0x2000 1
mremap 70000 0x3000 0x2000 3 71000
mremap 70000 0x3000 0x2000 3 100000
mremap 70000 0x1000 0x800 1
mremap 70000 0 0x1000 1
mremap 10000 0 0x1000 1
mremap 10000 0 0x1000 0
mremap 20000 0 0x1000 3 100000
mremap 10000 0x1000 0xfffffffffffff800 1
mremap 10000 0xfffffffffffff800 0x1000 1
mremap 10000 0x1000 0x5000000 1
mremap 10000 0x8000 0x8000 0
mremap 10000 0x8000 0x7800 0
mremap 14000 0x2000 0x3000 0
mremap 14000 0x2000 0x1800 0
mremap @800000000000 0x1000 0x2000 1
`,
  "mremap-areas": `
mremap 78000 0x10000 0x10000 3 100000
mremap 78000 0x10000 0x11000 3 120000
mremap 78000 0x10000 0x10000 7 140000
mremap 7c000 0x8000 0x4000 1
mremap 60000 0 0x4000 1
mremap 30000 0 0x8000 1
mremap 30000 0x8000 0x8000 7 160000
mremap 60000 0x4000 0x4000 5
mremap 40000 0x8000 0x8000 7 180000
mremap 20000 0x4000 0x6000 1
mremap 20000 0x4000 0x6000 0
mremap 50000 0x4000 0x4000 7 190000
mremap 1e000 0x4000 0x4000 3 1a0000
mremap 20000 0x6000 0x6000 3 1a0000
mremap 10000 0x4000 0x2000 3 20000
mremap 16000 0x2000 0x2000 3 31000
`,
  "mremap-past-its-file": `
mremap 40000 0x8000 0x10000 1
r 3fd0010
mremap 30000 0x8000 0x10000 1
mremap 30000 0x8000 0x4000 1
mremap 30000 0x8000 0x10000 0
mremap 60000 0x4000 0x8000 1
mremap 60000 0 0x8000 1
`,
  "madvise-arguments": `
madvise 10000 0 4
madvise 10800 0x1000 4
madvise 10800 0 4
madvise 10800 0x1000 99
madvise 10000 0x1000 99
madvise 10000 0 99
madvise 10000 0xfffffffffffff800 4
madvise 10000 0xfffffffffffff000 4
madvise @800000000000 0x1000 4
madvise 70000 0x1000 4
madvise 70000 0x1000 99
madvise 70000 0x10000 4
madvise 14000 0x10000 10
madvise 14000 0x10000 22
madvise 14000 0x10000 23
madvise 10000 0x1 4
madvise 30000 0x1000 -1
`,
  mlock: `
mlock 10000 0
mlock 70000 0
mlock 10800 0x1000
mlock 10000 0xfffffffffffff800
mlock @800000000000 0x1000
mlock 70000 0x1000
mlock 70000 0x10000
mlock 50000 0x1000
mlock 46000 0x1000
mlock 40000 0x8000
mlock 20000 0x1000
mlock2 10000 0x1000 2
mlock2 10000 0x1000 1
mlock2 70000 0x1000 1
mlock2 60000 0x4000 1
mlock2 60000 0x2000 0
munlock 70000 0x1000
munlock 10000 0x20000
munlock 10800 0
munlock 10000 0xfffffffffffff800
mlockall 0
mlockall 8
mlockall 4
mlockall 12
mlockall 6
mmap - 0x2000 3 0x22 -1 0
munlockall
mlockall 5
munlockall
`,
  "mincore-msync": `
mincore 10800 0x1000
mincore 10000 0
mincore 70000 0
mincore 70000 0x1000
mincore 10000 0x10000
mincore 10000 0x8000
mincore 10000 0x7801
mincore 30000 0x8000
mincore 40000 0x8000
mincore 50000 0x4000
mincore 60000 0x4000
mincore @800000000000 0x1000
msync 10000 0x1000 0
msync 10000 0x1000 3
msync 10000 0x1000 5
msync 10000 0x1000 8
msync 10800 0x1000 4
msync 10800 0 4
msync 10000 0 4
msync 70000 0x1000 4
msync 70000 0x10000 4
msync 70000 0x10000 1
msync 30000 0x8000 4
msync 30000 0x8000 6
msync 10000 0xfffffffffffff800 4
mlock 30000 0x1000
msync 30000 0x8000 2
msync 30000 0x8000 6
msync 31000 0x1000 2
`,
  "remap-file-pages": `
rfp 30000 0x1000 2 0
rfp 30000 0 2 0
rfp 30800 0x1000 2 0
rfp 30000 0x1000 2 0x10000
rfp 30000 0x8000 0 0
rfp 30000 0x8000 4 0
rfp 34000 0x8000 0 0
rfp 10000 0x1000 0 0
rfp 40000 0x1000 0 0
rfp 60000 0x1000 2 0
rfp 70000 0x1000 2 0
rfp 30000 0x1000 0x7ffffffffffff000 0
rfp 30000 0x1000 0xfffffffffffff800 0
rfp 31000 0x1000 0x100 0
r 31010
`,
  brk: `
brk 0
brk 0x1000
w B10 7
brk 0x3001
w B3010 8
brk 0x400000
brk 0x500000
brk -1
brk -0x200000
brk -0x400000
brk 0x2000
r B3010
brk 0x1001
r B1010
brk 0xfffffffffffff000
mmap B2000 0x1000 3 0x32 -1 0
brk 0x3000
brk 0x2000
brk 0
`,
  files: `
ftrunc 0 -1
ftrunc 0 0x7ffffffff000
fread 0 0x100000
ftrunc 0 0x8000
ftrunc 7 0
fread 0 -1
fread 0 0x100000
fwrite 0 -1 1
fwrite 7 0 1
fread 7 0
falloc 0 0 0 0
falloc 0 0 -1 0x1000
falloc 0 0 0 -1
falloc 0 2 0 0x1000
falloc 0 3 0x1000 0x1000
falloc 0 1 0x8000 0x1000
falloc 0 0 0x8800 0x1000
falloc 0 0x10 0 0x1000
falloc 0 8 0 0x1000
falloc 0 0x20 0 0x1000
falloc 0 0x80 0 0x1000
falloc 7 0 0 0x1000
fadv 0 0 0x1000 6
fadv 0 0 0x1000 -1
fadv 0 0 -1 4
fadv 0 0x1000 0 4
fadv 7 0 0 0
fsync 0
fsync 7
r 39010
r 31010
`,
  signals: `
r 10010
r 70010
w 70010 1
x 70010
w 20010 1
r 50010
w 50010 1
x 50010
x 10800
x 60800
r 46010
w 46010 1
r @800000000000
r @ffffffff80000000
r @10
mprotect 10000 0x1000 2
r 10010
w 10010 5
mprotect 10000 0x1000 4
r 10010
w 10010 5
x 10800
ftrunc 0 0x800
r 30810
r 30010
r 31010
w 31010 1
r 40010
`,
};

/** Advice that every area is asked to take: all but poisoning, huge pages on the spot and what only the newest know. */
export const everyAdvice = [0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26];
/** The areas of the layout, with the hole at their end. */
export const everyArea = ["10000", "20000", "30000", "40000", "50000", "60000", "7e000"];
