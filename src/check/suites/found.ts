/** Programs that once differed from a real kernel, at their smallest. A new one joins them with its fix. */

export const foundPrograms = (): string[] => [
  `prog mincore-sees-pages-past-the-end-of-a-file
file 1 32768
0 mmap 3fe8000 0xc000 2 0x4001 1 0
0 falloc 1 1 0x7000 0x6000
0 mincore 3fe8000 0xc000
0 falloc 1 1 0x3000 0x6000
0 mincore 3fe8000 0xc000
end`,
  `prog an-area-that-joins-its-own-copy-is-not-moved-twice
0 mmap 3ff1000 0x5000 5 0x4032 -1 0
0 r 3ff2010
0 mremap 3ff1000 0x3000 0x3000 7 3ff4000
end`,
  `prog what-is-mapped-by-hand-just-above-the-break-is-no-heap
0 mmap B0 0x3000 1 0x2022 -1 0
end`,
];
