/* A program whose accesses to one area, and whose calls about it, are known. Its argument: a file of at least 8 KiB. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define AREA ((volatile char *)(uintptr_t)0x60000000)

static void store(int first, int end) {
  for (int page = first; page < end; page++) AREA[page * PAGE] = 1;
}

static void load(int first, int end) {
  for (int page = first; page < end; page++) (void)AREA[page * PAGE];
}

static void *thread(void *unused) {
  store(50, 54);
  return unused;
}

int main(int argc, char **argv) {
  char *area = (char *)AREA;
  if (mmap(area, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != area) return 1;
  store(0, 32);
  load(8, 16);
  mprotect(area + 32 * PAGE, 4 * PAGE, PROT_READ);
  load(32, 36);
  int file = open(argv[argc - 1], O_RDONLY);
  if (pread(file, area + 40 * PAGE, 2 * PAGE, 0) != 2 * PAGE) return 2;
  struct iovec parts[] = {{area + 43 * PAGE, 10}, {area + 45 * PAGE, 10}};
  if (preadv(file, parts, 2, 0) != 20) return 2;
  char *shared = mmap(area + 64 * PAGE, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0);
  (void)*(volatile char *)(shared + PAGE);
  pid_t child = fork();
  if (child == 0) {
    store(0, 10);
    _exit(7);
  }
  int status;
  waitpid(child, &status, 0);
  pthread_t other;
  pthread_create(&other, NULL, thread, NULL);
  pthread_join(other, NULL);
  madvise(area, 4 * PAGE, MADV_DONTNEED);
  munmap(area + 60 * PAGE, 4 * PAGE);
  puts("done");
  return WEXITSTATUS(status) - 4;
}
