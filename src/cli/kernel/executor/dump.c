/*
 * What is left of a worker, read from /proc: the areas of its window and above its break with their smaps counts, the
 * frame behind each page, and byte 0x10 of each page.
 *
 * Frames have canonical numbers, in order of first sight over all processes of a program, so that sharing shows and
 * two kernels' dumps compare. Reading the contents faults pages in: the order of the lines is part of the outcome.
 */
#include "executor.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The most pages of one area that are shown. */
#define MOST_PAGES 4096
#define CONTENT_OFFSET 0x10
/* How far beside the window an address still has a name. */
#define NEAR 0x100000UL

/* Bits of /proc/PID/pagemap. */
#define MAP_PRESENT (1ULL << 63)
#define MAP_SWAPPED (1ULL << 62)
#define MAP_EXCLUSIVE (1ULL << 56)
#define MAP_FRAME ((1ULL << 55) - 1)

/* `W+1000`, `B+0`, or `X` for anywhere else. Good until three more calls. */
const char *place(const struct world *world, uint64_t address) {
  static char texts[4][32];
  static int turn;
  char *text = texts[turn++ & 3];
  if (address >= WINDOW && address <= WINDOW + WINDOW_BYTES + NEAR)
    snprintf(text, 32, "W+%" PRIx64, address - WINDOW);
  else if (address >= world->break_start && address <= world->break_start + BREAK_HOLE)
    snprintf(text, 32, "B+%" PRIx64, address - world->break_start);
  else if (address < WINDOW && address >= WINDOW - NEAR)
    snprintf(text, 32, "W-%" PRIx64, WINDOW - address);
  else
    snprintf(text, 32, "X");
  return text;
}

/* ---- frames by canonical number ---- */

#define SLOTS_SHIFT 18
#define SLOTS (1 << SLOTS_SHIFT)

static struct slot {
  uint64_t key;
  int number;
  unsigned generation;
} *slots;
/* Slots of earlier programs are free. */
static unsigned generation = 1;
static int frames_seen;
static uint64_t zero_frame;

void forget_frames(void) {
  generation++;
  frames_seen = 0;
}

static int frame_number(uint64_t key) {
  if (!slots && !(slots = calloc(SLOTS, sizeof *slots))) abort();
  uint64_t at = key * 0x9e3779b97f4a7c15ULL >> (64 - SLOTS_SHIFT);
  while (slots[at].generation == generation && slots[at].key != key) at = (at + 1) % SLOTS;
  if (slots[at].generation != generation) {
    if (frames_seen == SLOTS / 2) return -1;
    slots[at] = (struct slot){key, frames_seen++, generation};
  }
  return slots[at].number;
}

/* Whether this process may know frame numbers; finds the zero page's on the way. */
int frames_readable(void) {
  char *page = mmap(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  uint64_t entry = 0;
  if (page == MAP_FAILED || pagemap < 0) return 0;
  (void)*(volatile char *)page;
  if (pread(pagemap, &entry, sizeof entry, (off_t)((uintptr_t)page / PAGE * sizeof entry)) != sizeof entry) entry = 0;
  close(pagemap);
  munmap(page, PAGE);
  zero_frame = entry & MAP_FRAME;
  return zero_frame != 0;
}

/* ---- files of /proc ---- */

static int open_of(pid_t pid, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
  return open(path, O_RDONLY | O_CLOEXEC);
}

/* A whole file as text; the buffer is used again by the next call. */
static char *read_whole(pid_t pid, const char *name) {
  static char *text;
  static size_t room;
  size_t length = 0;
  int file = open_of(pid, name);
  if (file < 0) return 0;
  for (;;) {
    if (room - length < 65536) {
      room = room ? 2 * room : 1 << 19;
      if (!(text = realloc(text, room))) abort();
    }
    ssize_t got = read(file, text + length, room - length - 1);
    if (got <= 0) break;
    length += (size_t)got;
  }
  close(file);
  text[length] = 0;
  return text;
}

/* The number after `key`, or -1. */
static long number_after(const char *text, const char *key) {
  const char *at = strstr(text, key);
  return at ? strtol(at + strlen(key), 0, 10) : -1;
}

long status_field(pid_t pid, const char *field) {
  const char *text = read_whole(pid, "status");
  return text ? number_after(text, field) : -1;
}

void print_tables(const struct world *world, pid_t pid) {
  printf(" pte=%ld", status_field(pid, "VmPTE:") - world->base_tables);
}

/* ---- one area ---- */

struct shown {
  unsigned long start, pages;
};

/* The part of an area that is shown: in the window, or above the break's start. */
static int part_shown(const struct world *world, unsigned long *start, unsigned long end) {
  if (*start >= WINDOW && end <= WINDOW + WINDOW_BYTES) return 1;
  if (end <= world->break_start || *start >= world->break_start + BREAK_HOLE) return 0;
  if (*start < world->break_start) *start = world->break_start;
  return 1;
}

static void print_frames(int pagemap, const struct shown *shown) {
  static uint64_t entries[MOST_PAGES];
  size_t bytes = shown->pages * sizeof *entries;
  off_t offset = (off_t)(shown->start / PAGE * sizeof *entries);
  if (pread(pagemap, entries, bytes, offset) != (ssize_t)bytes) memset(entries, 0, bytes);
  for (unsigned long at = 0, next; at < shown->pages; at = next) {
    uint64_t entry = entries[at], frame = entry & MAP_FRAME;
    next = at + 1;
    if (!(entry & (MAP_PRESENT | MAP_SWAPPED))) {
      while (next < shown->pages && !(entries[next] & (MAP_PRESENT | MAP_SWAPPED))) next++;
      printf(" .");
    } else if (!(entry & MAP_PRESENT)) {
      printf(" S%d", frame_number(frame));
    } else if (frame == zero_frame) {
      while (next < shown->pages && (entries[next] & MAP_PRESENT) && (entries[next] & MAP_FRAME) == zero_frame) next++;
      printf(" Z");
    } else {
      printf(" %d%s", frame_number(frame), entry & MAP_EXCLUSIVE ? "" : "s");
    }
    if (next - at > 1) printf("x%lu", next - at);
  }
}

static void print_contents(int memory, const struct shown *shown) {
  int last = 0;
  unsigned long run = 0;
  for (unsigned long at = 0; at <= shown->pages; at++) {
    unsigned char byte;
    off_t offset = (off_t)(shown->start + at * PAGE + CONTENT_OFFSET);
    int found = at == shown->pages ? 0 : pread(memory, &byte, 1, offset) == 1 ? byte : -1;
    if (run > 0 && (found != last || at == shown->pages)) {
      if (last < 0) printf(" --");
      else printf(" %02x", (unsigned)last);
      if (run > 1) printf("x%lu", run);
      run = 0;
    }
    last = found;
    run++;
  }
}

/* `f0`, shared anonymous memory, huge pages, the heap, or nothing. */
static void print_name(const struct world *world, const char *path) {
  for (int i = 0; i < FILES; i++) {
    if (world->names[i][0] && strstr(path, world->names[i])) {
      printf("f%d", i);
      return;
    }
  }
  if (strstr(path, "[heap]")) printf("heap");
  else if (strstr(path, "/dev/zero")) printf("shanon");
  else if (strstr(path, "anon_hugepage")) printf("hugetlb");
  else if (strstr(path, "/SYSV")) printf("segment");
  else printf("anon");
}

static const struct {
  const char *key, *name;
} counts[] = {
    {"\nRss:", "rss"},           {"\nPss:", "pss"},           {"Shared_Clean:", "sc"}, {"Shared_Dirty:", "sd"},
    {"Private_Clean:", "pc"},    {"Private_Dirty:", "pd"},    {"Anonymous:", "an"},    {"\nSwap:", "swap"},
    {"Locked:", "lck"},          {"AnonHugePages:", "thp"},
};
enum { COUNT_RSS = 0, COUNT_SWAP = 7, COUNT_LOCKED = 8, COUNTS = sizeof counts / sizeof *counts };

static void print_counts(const char *text, long *totals) {
  for (int i = 0; i < COUNTS; i++) {
    long kib = number_after(text, counts[i].key);
    if (kib > 0) totals[i] += kib;
    if (kib != 0) printf(" %s=%ld", counts[i].name, kib);
  }
}

static void print_flags(const char *text) {
  const char *flags = strstr(text, "VmFlags:");
  int length = 0;
  if (flags) {
    flags += strlen("VmFlags:");
    flags += strspn(flags, " ");
    length = (int)strcspn(flags, "\n");
    while (length > 0 && flags[length - 1] == ' ') length--;
  }
  printf(" [%.*s]", length, flags ? flags : "");
}

/* Where the next area of smaps begins: its line starts with an address, all others with a capital letter. */
static char *next_area(char *text) {
  while ((text = strchr(text, '\n'))) {
    text++;
    if (*text == 0) return 0;
    if (strchr("0123456789abcdef", *text)) return text;
  }
  return 0;
}

/* ---- one process ---- */

void dump_process(const struct world *world, pid_t pid, int number) {
  static char *text;
  char *found = read_whole(pid, "smaps");
  free(text);
  if (!found || !(text = strdup(found))) {
    printf("P%d gone\n", number);
    text = 0;
    return;
  }
  int pagemap = world->frames ? open_of(pid, "pagemap") : -1;
  int memory = open_of(pid, "mem");
  long totals[COUNTS] = {0};
  for (char *area = text, *next; area && *area; area = next) {
    unsigned long start, end, shown_start;
    unsigned long long offset;
    char rights[8], path[256] = "";
    next = next_area(area);
    if (next) next[-1] = 0;
    if (sscanf(area, "%lx-%lx %7s %llx %*s %*s %255[^\n]", &start, &end, rights, &offset, path) < 4) break;
    shown_start = start;
    if (!part_shown(world, &shown_start, end)) continue;
    int cut = shown_start > start;
    printf("P%d vma %s %s %s off=%llx ", number, place(world, shown_start), place(world, end), rights,
           cut ? 0 : offset);
    print_name(world, path);
    if (!cut) print_counts(area, totals);
    print_flags(area);
    printf("\n");
    struct shown shown = {shown_start, (end - shown_start) / PAGE};
    if (shown.pages > MOST_PAGES) shown.pages = MOST_PAGES;
    if (pagemap >= 0) {
      printf("P%d pg ", number);
      print_frames(pagemap, &shown);
      printf("\n");
    }
    if (memory >= 0) {
      printf("P%d mem ", number);
      print_contents(memory, &shown);
      printf("\n");
    }
  }
  if (pagemap >= 0) close(pagemap);
  if (memory >= 0) close(memory);
  printf("P%d end", number);
  print_tables(world, pid);
  printf(" rss=%ld swap=%ld lck=%ld\n", totals[COUNT_RSS], totals[COUNT_SWAP], totals[COUNT_LOCKED]);
}
