/* Packets: how items reach bigmem. */
#define _GNU_SOURCE
#include "recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Descriptors are the program's own: ours sits high, where it changes no number that the program sees. */
static void connect_to_bigmem(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  struct rlimit limit;
  int low = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (strlen(dir) + sizeof "/socket" > sizeof address.sun_path) errno = ENAMETOOLONG, fail("connect in", dir);
  stpcpy(stpcpy(address.sun_path, dir), "/socket");
  if (low < 0 || connect(low, (struct sockaddr *)&address, sizeof address) < 0) fail("connect to", address.sun_path);
  int top = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 65536 ? (int)limit.rlim_cur : 65536;
  connection = fcntl(low, F_DUPFD_CLOEXEC, top - 32 > low ? top - 32 : low + 1);
  if (connection < 0) connection = low;
  else close(low);
}

static void send_all(struct iovec *parts, int count) {
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
  while (message.msg_iovlen > 0) {
    ssize_t sent = sendmsg(connection, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) fail("send to", "bigmem");
    for (; message.msg_iovlen > 0 && (size_t)sent >= message.msg_iov->iov_len; message.msg_iov++, message.msg_iovlen--)
      sent -= (ssize_t)message.msg_iov->iov_len;
    if (message.msg_iovlen > 0) {
      message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + sent;
      message.msg_iov->iov_len -= (size_t)sent;
    }
  }
}

void send_items(struct thread *thread, const void *items, size_t bytes) {
  struct timespec now;
  if (connection < 0) connect_to_bigmem();
  clock_gettime(CLOCK_MONOTONIC, &now);
  struct packet packet = {.bytes = (uint32_t)bytes,
                          .pid = thread->pid,
                          .tid = thread->tid,
                          .ticket = atomic_fetch_add(&shared->ticket, 1),
                          .micros = (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u};
  struct iovec parts[] = {{&packet, sizeof packet}, {(void *)items, bytes}};
  send_all(parts, 2);
}

void end_runs(struct thread *thread) {
  for (int kind = 0; kind < 3; kind++) thread->page[kind] = NO_PAGE;
  thread->data_page = NO_PAGE;
}

void send_thread(struct thread *thread) {
  end_runs(thread);
  if (thread->used == 0) return;
  pthread_mutex_lock(&send_lock);
  send_items(thread, thread->items, thread->used * 8);
  thread->used = 0;
  pthread_mutex_unlock(&send_lock);
}

/* Makes room for `items` more. */
uint64_t *room(struct thread *thread, size_t items) {
  if (thread->used + items > BUFFER_ITEMS) send_thread(thread);
  uint64_t *place = &thread->items[thread->used];
  return place;
}

/* Only what is whole counts: the process can be killed at any time, and then `used` says what its buffer holds. */
void add_items(struct thread *thread, size_t items) {
  atomic_signal_fence(memory_order_release);
  thread->used += items;
}

uint64_t record_head(enum record type, size_t bytes) {
  return (uint64_t)type << 32 | (uint64_t)(bytes / 8) << 2 | RECORD;
}

/* The connection ends, the process does not. */
void leave(struct thread *thread) {
  uint64_t *place = room(thread, 1);
  *place = record_head(LEAVE, 8);
  add_items(thread, 1);
  send_thread(thread);
  pthread_mutex_lock(&send_lock);
  close(connection);
  connection = -1;
  pthread_mutex_unlock(&send_lock);
}
