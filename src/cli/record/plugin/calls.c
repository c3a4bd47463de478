/* System calls: what is reported of them, and what they mean for the recording itself. */
#define _GNU_SOURCE
#include "recorder.h"

#include <stdio.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t quote_vector(uint64_t vector, uint64_t count, char *to) {
  size_t bytes = count > 64 ? 64 : (size_t)count;
  return read_guest(vector, to, bytes * (is_64 ? 16 : 8));
}

static size_t quote(const struct rule *rule, const uint64_t *arguments, char *to) {
  uint64_t from = arguments[rule->quote_from];
  size_t word = is_64 ? 8 : 4;
  if (rule->quote == QUOTE_NONE || from == 0) return 0;
  if (rule->quote == QUOTE_BYTES) return read_guest(from, to, rule->quote_bytes);
  if (rule->quote == QUOTE_VECTOR) return quote_vector(from, arguments[rule->quote_from + 1], to);
  return quote_vector(guest_word(from + 2 * word), guest_word(from + 3 * word), to);
}

/* Which file a call is about: its path, size, identity and position. Only files that have pages. */
static size_t describe_file(const struct rule *rule, struct call *call, char *path) {
  char link[64];
  struct stat status;
  struct shmid_ds segment;
  if (rule->file == FILE_NONE) return 0;
  if (rule->file == FILE_SYSV) {
    if (shmctl((int)call->arguments[0], IPC_STAT, &segment) < 0) return 0;
    call->file_bytes = segment.shm_segsz;
    return (size_t)snprintf(path, PATH_MAX, "sysv:%d", (int)call->arguments[0]);
  }
  int descriptor = (int)(rule->file == FILE_RESULT ? (uint64_t)call->result : call->arguments[rule->file - 1]);
  if (descriptor < 0 || fstat(descriptor, &status) < 0 || !S_ISREG(status.st_mode)) return 0;
  call->file_bytes = (uint64_t)status.st_size;
  call->file_device = status.st_dev;
  call->file_inode = status.st_ino;
  call->file_position = lseek(descriptor, 0, SEEK_CUR);
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, PATH_MAX);
  return length < 0 ? 0 : (size_t)length;
}

static void report(struct thread *thread, int64_t number, int64_t result) {
  const struct rule *rule = &rules[number];
  char path[PATH_MAX], quoted[MAX_QUOTE];
  uint64_t *place = room(thread, RECORD_ITEMS);
  struct call *call = (struct call *)place;
  memset(call, 0, sizeof *call);
  call->number = (uint64_t)number;
  memcpy(call->arguments, thread->arguments, sizeof call->arguments);
  call->result = result;
  call->path_bytes = (uint32_t)describe_file(rule, call, path);
  call->quote_bytes = (uint32_t)quote(rule, thread->arguments, quoted);
  size_t path_items = (call->path_bytes + 7) / 8, quote_items = (call->quote_bytes + 7) / 8;
  size_t items = sizeof *call / 8 + path_items + quote_items;
  memcpy(place + sizeof *call / 8, path, call->path_bytes);
  memcpy(place + sizeof *call / 8 + path_items, quoted, call->quote_bytes);
  call->head = record_head(CALL, items * 8);
  add_items(thread, items);
}

/* close, dup2 and close_range can hit our descriptor: let go of it; sending connects again. */
static void before_close(struct thread *thread, uint64_t last) {
  if (connection >= 0 && (uint32_t)last >= (uint32_t)connection) leave(thread);
}

void call_entered(plugin_id id, unsigned vcpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                         uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
  (void)id, (void)g, (void)h;
  struct thread *thread = thread_of(vcpu);
  uint64_t arguments[6] = {a, b, c, d, e, f};
  if (!is_64)
    for (int i = 0; i < 6; i++) arguments[i] = (uint32_t)arguments[i];
  memcpy(thread->arguments, arguments, sizeof arguments);
  end_runs(thread);
  int flags = number >= 0 && number < RULES ? rules[number].flags : 0;
  if (!started) send_start(thread, 0);
  if (flags & CLOSES) before_close(thread, arguments[rules[number].closes]);
  if (flags & EXECS) follow_exec(thread, vcpu, arguments[0], arguments[1], arguments[2]);
  if (flags & FORKS) atomic_fetch_add(&shared->live, 1);
  if (flags & EXITS) { /* process_ended sends it, after what the other threads still hold */
    report(thread, number, 0);
    last_vcpu = vcpu;
    return;
  }
  if (flags & EXITS_THREAD) {
    report(thread, number, 0);
    send_thread(thread);
    atomic_fetch_sub(&shared->live, 1);
    close_thread(vcpu);
    return;
  }
  if (atomic_load_explicit(&shared->live, memory_order_relaxed) > 1) send_thread(thread);
  if (flags & LOCKED) {
    pthread_mutex_lock(&call_lock);
    thread->holds_lock = 1;
  }
}

void call_returned(plugin_id id, unsigned vcpu, int64_t number, int64_t result) {
  (void)id;
  int flags = number >= 0 && number < RULES ? rules[number].flags : 0;
  if (flags & FORKS && result == 0) {
    start_child(vcpu);
    return;
  }
  struct thread *thread = thread_of(vcpu);
  end_runs(thread);
  if (flags & FORKS && result < 0) atomic_fetch_sub(&shared->live, 1);
  if (flags & REPORT && result != RESTARTED && result != SIGRETURNED) report(thread, number, result);
  if (flags & FORKS) send_thread(thread); /* the child's packets wait for this one */
  if (!thread->holds_lock) return;
  if (atomic_load_explicit(&shared->live, memory_order_relaxed) > 1) send_thread(thread);
  thread->holds_lock = 0;
  pthread_mutex_unlock(&call_lock);
}

/* QEMU has stopped every other thread of the process by now. */
void process_ended(plugin_id id, void *data) {
  (void)id, (void)data;
  for (unsigned i = 0; i < VCPUS; i++) {
    if (threads[i] == &nobody) continue;
    atomic_fetch_sub(&shared->live, 1);
    if (i == last_vcpu) continue;
    send_thread(threads[i]);
    close_thread(i);
  }
  if (threads[last_vcpu] == &nobody) return;
  send_thread(threads[last_vcpu]);
  close_thread(last_vcpu);
}
