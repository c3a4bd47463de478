/*
 * A QEMU TCG plugin that watches one program under qemu-user (qemu-x86_64, qemu-i386) and sends what it does to memory
 * to bigmem: page runs of fetches, loads and stores, system calls with their results, and the start of each process.
 *
 * It knows no system call: a table that bigmem writes (`calls.ABI`, one rule a number) says which calls to report, which
 * argument is a file, and which memory to quote. Everything it needs lies in one folder, its argument `dir=`:
 *
 *     socket          where each process connects (a stream of packets)
 *     shared          one page that all processes map: a ticket counter and how many threads live
 *     calls.ABI       the rules, 8 bytes a system call number
 *     plugin.so       this plugin; `qemu.ABI`, the emulators: for programs that are exec'd
 *     left.PID.VCPU   each thread's buffer: what was not sent when a process was killed is read from there
 *
 * A packet is `struct packet` and then 8-byte items. An item is a run,
 *
 *      63                              14 13             2 1 0
 *     +----------------------------------+----------------+---+
 *     | page number                      | accesses - 1   | k |    k = 0 fetch, 1 load, 2 store
 *     +----------------------------------+----------------+---+
 *
 * or, with k = 3, the head of a record: its length in items in bits 2..31, its type in bits 32..63.
 *
 * Order: a thread's packets come in its own order. Every packet draws a ticket as it is sent, and while more than one
 * thread lives each thread sends at every system call, so tickets put threads in the order in which they entered calls.
 * Calls that change an address space hold a lock from entry to return, so their order within a process is exact.
 */
#define _GNU_SOURCE
#include "recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef PLUGIN_API
#error "compile with -DPLUGIN_API=1 (QEMU before 9.0) or 2"
#endif
__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_API;

struct thread nobody = {.page = {NO_PAGE, NO_PAGE, NO_PAGE}, .data_page = NO_PAGE};
struct thread *threads[VCPUS];
struct shared *shared;
char dir[256];
uint64_t guest_base, guest_end;
int is_64;
struct rule rules[RULES];
int connection = -1;
int started;
unsigned last_vcpu;
pthread_mutex_t send_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_mutex_t call_lock = PTHREAD_MUTEX_INITIALIZER;
static const char *abi;

void fail(const char *what, const char *which) {
  dprintf(2, "bigmem: the recorder cannot %s %s: %s\n", what, which, strerror(errno));
  _exit(125);
}

void in_dir(char *path, const char *name) { snprintf(path, PATH_MAX, "%s/%s", dir, name); }

static void read_rules(void) {
  char path[PATH_MAX], name[32];
  snprintf(name, sizeof name, "calls.%s", abi);
  in_dir(path, name);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0 || read(file, rules, sizeof rules) != sizeof rules) fail("read", path);
  close(file);
}

static void map_shared(void) {
  char path[PATH_MAX];
  in_dir(path, "shared");
  int file = open(path, O_RDWR | O_CLOEXEC);
  shared = file < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (shared == MAP_FAILED) fail("map", path);
  close(file);
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const struct plugin_info *info, int argc,
                                                               char **argv) {
  for (int i = 0; i < argc; i++)
    if (strncmp(argv[i], "dir=", 4) == 0) snprintf(dir, sizeof dir, "%s", argv[i] + 4);
  is_64 = strcmp(info->target_name, "x86_64") == 0;
  if (!is_64 && strcmp(info->target_name, "i386") != 0) {
    dprintf(2, "bigmem: the recorder knows x86_64 and i386, not %s\n", info->target_name);
    return -1;
  }
  abi = is_64 ? "x86-64" : "i386";
  /* 64-bit programs sit at their own addresses, below everything of the emulator's; 32-bit ones where -B puts them. */
  guest_base = is_64 ? 0 : strtoull(I386_BASE, NULL, 0);
  guest_end = is_64 ? 0x500000000000u : guest_base + (1ull << 32);
  for (unsigned i = 0; i < VCPUS; i++) threads[i] = &nobody;
  read_rules();
  map_shared();
  qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
  qemu_plugin_register_vcpu_syscall_cb(id, call_entered);
  qemu_plugin_register_vcpu_syscall_ret_cb(id, call_returned);
  qemu_plugin_register_atexit_cb(id, process_ended, NULL);
  return 0;
}
