/* Threads with their buffers, the start of a program, and what a forked child does first. */
#define _GNU_SOURCE
#include "recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void left_name(char *path, pid_t pid, unsigned vcpu) {
  char name[64];
  snprintf(name, sizeof name, "left.%d.%u", pid, vcpu);
  in_dir(path, name);
}

static struct thread *open_thread(unsigned vcpu) {
  char path[PATH_MAX];
  if (vcpu >= VCPUS) errno = EAGAIN, fail("follow so many threads in", dir);
  left_name(path, getpid(), vcpu);
  int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0 || ftruncate(file, sizeof(struct thread)) < 0) fail("make", path);
  struct thread *thread = mmap(NULL, sizeof *thread, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (thread == MAP_FAILED) fail("map", path);
  close(file);
  thread->pid = (uint32_t)getpid();
  thread->tid = (uint32_t)syscall(SYS_gettid);
  end_runs(thread);
  threads[vcpu] = thread;
  return thread;
}

void close_thread(unsigned vcpu) {
  char path[PATH_MAX];
  left_name(path, getpid(), vcpu);
  unlink(path);
  munmap(threads[vcpu], sizeof(struct thread));
  threads[vcpu] = &nobody;
}

struct thread *thread_of(unsigned vcpu) {
  struct thread *thread = threads[vcpu];
  return thread == &nobody ? open_thread(vcpu) : thread;
}

/* The guest's lines of /proc/self/maps, in the guest's addresses. */
static char *guest_maps(size_t *length) {
  char *text = NULL, *line = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, length), *maps = fopen("/proc/self/maps", "re");
  if (!out || !maps) fail("read", "/proc/self/maps");
  while (getline(&line, &size, maps) > 0) {
    uint64_t first, end;
    int rest;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 "%n", &first, &end, &rest) != 2) continue;
    if (first < guest_base || end > guest_end) continue;
    fprintf(out, "%" PRIx64 "-%" PRIx64 "%s", first - guest_base, end - guest_base, line + rest);
  }
  free(line);
  fclose(maps);
  fclose(out);
  return text;
}

/* The first data access of a program is on its stack: it tells which mapping is the stack. */
void send_start(struct thread *thread, uint64_t stack) {
  size_t length;
  char *maps = guest_maps(&length);
  size_t bytes = 5 * 8 + (length + 7) / 8 * 8;
  uint64_t *record = calloc(1, bytes);
  record[0] = record_head(START, bytes);
  record[1] = (uint64_t)getppid();
  record[2] = stack;
  record[3] = (uint64_t)is_64;
  record[4] = length;
  memcpy(record + 5, maps, length);
  started = 1;
  pthread_mutex_lock(&send_lock);
  send_items(thread, record, bytes);
  pthread_mutex_unlock(&send_lock);
  free(record);
  free(maps);
}

/* A forked child goes on alone, with buffers and a connection of its own. */
void start_child(unsigned vcpu) {
  pthread_mutex_init(&send_lock, NULL);
  pthread_mutex_init(&call_lock, NULL);
  if (connection >= 0) close(connection);
  connection = -1;
  for (unsigned i = 0; i < VCPUS; i++) {
    if (threads[i] == &nobody) continue;
    munmap(threads[i], sizeof(struct thread));
    threads[i] = &nobody;
  }
  open_thread(vcpu);
}
