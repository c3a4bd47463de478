/**
 * What the memory manager counts while it runs: one plain number a field, added to where the thing happens. Nothing
 * here is derived; rates and sums are the report's business. docs/counters.md is made from this file.
 */

export class Counters {
  // Faults, by what became of them.

  /** Faults that were repaired without waiting for a disk; charged to processes too (`min_flt`). */
  minorFaults = 0;
  /** Faults that had to read a file's page from disk (`maj_flt`). */
  majorFaults = 0;
  /** Faults that ended in a signal: no area, no right, or beyond the end of a file. */
  signalFaults = 0;
  /** Faults that found no memory. */
  outOfMemoryFaults = 0;
  /** Faults that found their entry already good: another CPU's repair, or a translation kept too long. */
  spuriousFaults = 0;

  // Minor and major faults, by what they did.

  /** Reads of untouched anonymous memory, given the zero page. */
  zeroPageFaults = 0;
  /** Writes to untouched anonymous memory, given a zeroed page of their own. */
  anonymousFaults = 0;
  /** Faults on entries that named a swap slot. */
  swapFaults = 0;
  /** Reads through a mapping of a file. */
  fileReadFaults = 0;
  /** First writes through a shared mapping of a file. */
  sharedWriteFaults = 0;
  /** First writes through a private mapping of a file whose page was not mapped yet: copied at once. */
  privateFileFaults = 0;
  /** Writes to a page mapped read-only for sharing, given a copy. */
  copyOnWriteFaults = 0;
  /** Writes to a page that turned out to be nobody else's: made writable without a copy (`pgreuse`). */
  reusedPages = 0;
  /** Writes to a page of a shared file mapping that was kept read-only to notice the first write. */
  writeNotifyFaults = 0;
  /** Pages mapped beside the one that a file read fault asked for. */
  faultAroundPages = 0;
  /** Pages without a struct page that a fault has mapped as they are. */
  rawFaults = 0;
  /** Writes to pages without a struct page whose copy was given an area of its own. */
  areaFaults = 0;
  /** Times a stack grew by a fault below it. */
  stackExpansions = 0;

  // Bytes moved on behalf of faults, fork and exec.

  /** Frames filled with zeros for a user page. */
  pagesZeroed = 0;
  /** Frames copied to break sharing. */
  pagesCopied = 0;

  // Page tables.

  /** Page tables allocated, all levels. */
  tablesAllocated = 0;
  /** Frames filled with zeros to become page tables. */
  tablesZeroed = 0;
  /** Page tables taken from a quicklist, zeroed already. */
  tablesReused = 0;
  /** Page tables freed, all levels. */
  tablesFreed = 0;
  /** Those among them that went because their last entry was cleared. */
  tablesFreedEmpty = 0;
  /** Times that a leaf table was hung in one more place, by fork or by a fault in a mapping that others have too. */
  tablesShared = 0;
  /** Times that an address space got a copy of a leaf table of its own, because it had to change what is in it. */
  tablesUnshared = 0;
  /** Times that one gave its place in a shared leaf table up, with nothing in its stead. */
  tablesLeft = 0;
  /** Whole tables re-hung by mremap instead of their entries being moved. */
  tablesMoved = 0;
  /** Entries that fork copied into a child. */
  ptesCopied = 0;
  /** Entries that fork made read-only in the parent. */
  ptesWriteProtected = 0;
  /** Entries cleared by unmapping, truncation, MADV_DONTNEED and exit. */
  ptesZapped = 0;
  /** Entries moved by mremap. */
  ptesMoved = 0;
  /** Entries rewritten by mprotect. */
  ptesProtected = 0;

  // Nonlinear areas.

  /** Entries that were made to remember a page of the file that is not at its place. */
  fileEntriesWritten = 0;
  /** Pages that remap_file_pages, or a fault on a file entry, mapped. */
  nonlinearPagesInstalled = 0;
  /** Entries of nonlinear areas that were read to find pages that must go. */
  nonlinearEntriesRead = 0;
  /** Pages that were found so, and unmapped. */
  nonlinearPagesZapped = 0;
  /** Entries that were looked at in passing, 32 at a time, because a page of their file could not be found. */
  clusterEntriesScanned = 0;
  /** Pages that truncation had to try again to unmap, because somebody held their tables. */
  cleanupRetries = 0;
  /** Pages that left their file while somebody mapped them. */
  pagesOrphaned = 0;

  // Translation lookaside buffers.

  /** Flushes asked for one page. */
  tlbFlushesPage = 0;
  /** Flushes asked for a range of pages. */
  tlbFlushesRange = 0;
  /** Flushes asked for a whole address space. */
  tlbFlushesAll = 0;
  /** Single pages invalidated (INVLPG), all CPUs. */
  tlbInvalidations = 0;
  /** Whole TLBs dropped (CR3 reloads), all CPUs. */
  tlbReloads = 0;
  /** Inter-processor interrupts sent to flush another CPU's TLB. */
  tlbShootdowns = 0;
  /** Times a gather of unmapped frames was flushed and its frames freed. */
  gatherFlushes = 0;

  /** Flushes of the kernel's own translations, on every CPU: a round of a pool of windows. */
  tlbFlushesKernel = 0;

  // Windows on highmem.

  /** Frames mapped by kmap_atomic: page tables in highmem, and user pages that are zeroed or copied. */
  atomicMaps = 0;
  /** Translations of kmap_atomic's slots dropped (INVLPG), on this CPU alone. */
  atomicInvalidations = 0;

  // Processes.

  /** Address spaces made, by spawn, fork and exec; each takes its number from here. */
  spacesCreated = 0;
  /** Address spaces copied. */
  forks = 0;
  /** Address spaces replaced by a new program's. */
  execs = 0;
  /** Address spaces torn down. */
  exits = 0;

  // Populating and cooling.

  /** Pages that mlock, MAP_POPULATE and MADV_POPULATE looked at. */
  pagesPopulated = 0;
  /** Pages that MADV_FREE marked as not worth keeping. */
  pagesLazilyFreed = 0;
  /** Pages that MADV_COLD or MADV_PAGEOUT made old. */
  pagesCooled = 0;
  /** Clean file pages that MADV_PAGEOUT dropped, and lazily freed pages that it took back. */
  pagesReclaimed = 0;

  // Big pages.

  /** Huge pages that were found or made for an entry. */
  hugeFaults = 0;
  hugePagesZeroed = 0;
  /** Huge pages copied, for whoever wrote to one that others have. */
  hugePagesCopied = 0;
  /** Huge pages that were taken from a process for one who had been promised them. */
  hugePagesTaken = 0;
  hugeEntriesZapped = 0;
  /** Tables of the second level that were found with another process, and that one process left to others. */
  hugeTablesShared = 0;
  hugeTablesUnshared = 0;

  // Transparent huge pages, under the names of /proc/vmstat.

  /** Huge pages that a fault was given (`thp_fault_alloc`). */
  thpFaultAlloc = 0;
  /** Faults that could have had one, and were given a small page (`thp_fault_fallback`). */
  thpFaultFallback = 0;
  /** Huge pages made of small ones (`thp_collapse_alloc`). */
  thpCollapseAlloc = 0;
  /** Times there was no block for that (`thp_collapse_alloc_failed`). */
  thpCollapseAllocFailed = 0;
  /** Large entries that became a leaf table's (`thp_split_pmd`). */
  thpSplitPmd = 0;
  /** Huge pages that became small ones (`thp_split_page`). */
  thpSplitPage = 0;
  /** Those that could not, because somebody's page tables were busy (`thp_split_page_failed`). */
  thpSplitPageFailed = 0;
  /** Huge pages of which some frames were not needed any more (`thp_deferred_split_page`). */
  thpDeferredSplitPage = 0;
  /** The huge page of zeros was made, or could not be (`thp_zero_page_alloc`, `thp_zero_page_alloc_failed`). */
  thpZeroPageAlloc = 0;
  thpZeroPageAllocFailed = 0;

  // Compaction, under the names of /proc/vmstat.

  /** Requests for a huge page that had memory moved for them (`compact_stall`), and how that ended. */
  compactStall = 0;
  compactSuccess = 0;
  compactFail = 0;
  /** Turns of the kernel's own thread (`compact_daemon_wake`). */
  compactDaemonWake = 0;
  /** Frames looked at for pages to move, and for places to move them to (`compact_migrate_scanned`, `compact_free_scanned`). */
  compactMigrateScanned = 0;
  compactFreeScanned = 0;
  /** Pages taken off their lists to be moved, and frames to be free (`compact_isolated`). */
  compactIsolated = 0;
  /** Pages moved, and pages that somebody held on to (`pgmigrate_success`, `pgmigrate_fail`). */
  pgmigrateSuccess = 0;
  pgmigrateFail = 0;
}
