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
 *
 * QEMU's plugin interface is declared here in the few entries that are used: distributions ship no header for it.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- QEMU's side ---- */

typedef uint64_t plugin_id;
typedef uint32_t memory_info;
struct plugin_tb;
struct plugin_insn;
struct plugin_info {
  const char *target_name;
};
enum { NO_REGISTERS = 0, READS_AND_WRITES = 3 };

typedef void (*on_tb)(plugin_id, struct plugin_tb *);
typedef void (*on_exec)(unsigned vcpu, void *data);
typedef void (*on_memory)(unsigned vcpu, memory_info info, uint64_t address, void *data);
typedef void (*on_call)(plugin_id, unsigned vcpu, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                        uint64_t, uint64_t, uint64_t);
typedef void (*on_return)(plugin_id, unsigned vcpu, int64_t number, int64_t result);
typedef void (*on_end)(plugin_id, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_tb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct plugin_tb *, on_exec, int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct plugin_insn *, on_exec, int flags, void *data);
void qemu_plugin_register_vcpu_mem_cb(struct plugin_insn *, on_memory, int flags, int which, void *data);
void qemu_plugin_register_atexit_cb(plugin_id, on_end, void *data);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_call);
void qemu_plugin_register_vcpu_syscall_ret_cb(plugin_id, on_return);
size_t qemu_plugin_tb_n_insns(const struct plugin_tb *);
struct plugin_insn *qemu_plugin_tb_get_insn(const struct plugin_tb *, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct plugin_insn *);
size_t qemu_plugin_insn_size(const struct plugin_insn *);
_Bool qemu_plugin_mem_is_store(memory_info);
unsigned qemu_plugin_mem_size_shift(memory_info);

#ifndef PLUGIN_API
#error "compile with -DPLUGIN_API=1 (QEMU before 9.0) or 2"
#endif
__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_API;

/* ---- what crosses to bigmem ---- */

enum kind { FETCH = 0, LOAD = 1, STORE = 2, RECORD = 3 };
enum record { START = 1, CALL = 2, LEAVE = 3 };

#define PAGE_SHIFT 12
#define COUNT_ONE (1ull << 2)
#define COUNT_MASK (0xfffull << 2)
#define RUN_PAGE_SHIFT 14
#define MAX_RUN 4096
#define NO_PAGE UINT64_MAX

struct packet {
  uint32_t bytes; /* of the items that follow */
  uint32_t pid;
  uint32_t tid;
  uint32_t zero;
  uint64_t ticket;
  uint64_t micros; /* CLOCK_MONOTONIC */
};

/* One system call as reported; then path and quoted memory, each padded to 8 bytes. */
struct call {
  uint64_t head;
  uint64_t number;
  uint64_t arguments[6];
  int64_t result;
  uint64_t file_bytes;
  uint64_t file_device;
  uint64_t file_inode;
  int64_t file_position;
  uint32_t path_bytes;
  uint32_t quote_bytes;
};

/* How one system call is treated. */
struct rule {
  uint8_t flags;
  uint8_t file;        /* FILE_*, or 1 + the argument that is a descriptor */
  uint8_t quote;       /* QUOTE_* */
  uint8_t quote_from;  /* the argument that points to it */
  uint8_t quote_bytes; /* of QUOTE_BYTES */
  uint8_t closes;      /* with CLOSES: the argument that is the (last) descriptor to go */
  uint8_t unused[2];
};
enum { REPORT = 1, LOCKED = 2, FORKS = 4, EXITS_THREAD = 8, EXITS = 16, EXECS = 32, CLOSES = 64 };
enum { FILE_NONE = 0, FILE_RESULT = 100, FILE_SYSV = 101 };
enum { QUOTE_NONE = 0, QUOTE_BYTES = 1, QUOTE_VECTOR = 2, QUOTE_MESSAGE = 3 };

#define RULES 1024
#define MAX_QUOTE 1024
#define RESTARTED (-512) /* QEMU will run the call again, or returns from a signal: */
#define SIGRETURNED (-513)
#define CLONE_VM_FLAG 0x100
#define CLONE_VFORK_FLAG 0x4000

/* ---- state ---- */

#define BUFFER_ITEMS 16384
#define RECORD_ITEMS ((sizeof(struct call) + PATH_MAX + MAX_QUOTE) / 8 + 4)

/* Lies in the file left.PID.VCPU; bigmem reads the first page of it and `items`. */
struct thread {
  uint32_t pid, tid;
  uint64_t used; /* items not yet sent */
  uint64_t page[3]; /* of the open run, by kind */
  uint64_t data_page; /* of the last load or store */
  uint64_t *run[3]; /* the open runs, in `items` */
  uint64_t arguments[6]; /* of the call being made */
  int holds_lock;
  _Alignas(4096) uint64_t items[BUFFER_ITEMS];
};

#define VCPUS 65536
static struct thread nobody = {.page = {NO_PAGE, NO_PAGE, NO_PAGE}, .data_page = NO_PAGE};
static struct thread *threads[VCPUS];

static struct {
  atomic_uint_fast64_t ticket;
  atomic_uint_fast64_t live;
} *shared;

static char dir[256];
static const char *abi;
static uint64_t guest_base, guest_end;
static int is_64;
static struct rule rules[RULES];
static int connection = -1;
static int started;
static unsigned last_vcpu; /* made the call that ends the process */
static pthread_mutex_t send_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t call_lock = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what, const char *which) {
  dprintf(2, "bigmem: the recorder cannot %s %s: %s\n", what, which, strerror(errno));
  _exit(125);
}

static void in_dir(char *path, const char *name) { snprintf(path, PATH_MAX, "%s/%s", dir, name); }

/* ---- sending ---- */

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

static void send_items(struct thread *thread, const void *items, size_t bytes) {
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

static void end_runs(struct thread *thread) {
  for (int kind = 0; kind < 3; kind++) thread->page[kind] = NO_PAGE;
  thread->data_page = NO_PAGE;
}

static void send_thread(struct thread *thread) {
  end_runs(thread);
  if (thread->used == 0) return;
  pthread_mutex_lock(&send_lock);
  send_items(thread, thread->items, thread->used * 8);
  thread->used = 0;
  pthread_mutex_unlock(&send_lock);
}

/* Makes room for `items` more. */
static uint64_t *room(struct thread *thread, size_t items) {
  if (thread->used + items > BUFFER_ITEMS) send_thread(thread);
  uint64_t *place = &thread->items[thread->used];
  return place;
}

/* Only what is whole counts: the process can be killed at any time, and then `used` says what its buffer holds. */
static inline void add_items(struct thread *thread, size_t items) {
  atomic_signal_fence(memory_order_release);
  thread->used += items;
}

static uint64_t record_head(enum record type, size_t bytes) {
  return (uint64_t)type << 32 | (uint64_t)(bytes / 8) << 2 | RECORD;
}

/* ---- threads and processes ---- */

static void left_name(char *path, pid_t pid, unsigned vcpu) {
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

static void close_thread(unsigned vcpu) {
  char path[PATH_MAX];
  left_name(path, getpid(), vcpu);
  unlink(path);
  munmap(threads[vcpu], sizeof(struct thread));
  threads[vcpu] = &nobody;
}

static struct thread *thread_of(unsigned vcpu) {
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
static void send_start(struct thread *thread, uint64_t stack) {
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
static void start_child(unsigned vcpu) {
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

/* ---- accesses ---- */

static void open_run(unsigned vcpu, uint64_t page, enum kind kind, unsigned count) {
  struct thread *thread = thread_of(vcpu);
  if (!started && kind != FETCH) send_start(thread, page << PAGE_SHIFT);
  uint64_t *run = room(thread, 1);
  *run = page << RUN_PAGE_SHIFT | (uint64_t)(count - 1) << 2 | kind;
  add_items(thread, 1);
  thread->run[kind] = run;
  thread->page[kind] = page;
  if (kind != FETCH) thread->data_page = page;
}

/* Absorbed when the last fetch was on this page. */
static void fetch(unsigned vcpu, void *data) {
  uint64_t page = (uint64_t)data >> 10;
  unsigned count = (uint64_t)data & 1023;
  struct thread *thread = threads[vcpu];
  if (page == thread->page[FETCH] && (*thread->run[FETCH] & COUNT_MASK) + count * COUNT_ONE <= COUNT_MASK)
    *thread->run[FETCH] += count * COUNT_ONE;
  else
    open_run(vcpu, page, FETCH, count);
}

/* Absorbed when the last data access and the last one of its kind were on this page. */
static inline void touch(unsigned vcpu, uint64_t page, enum kind kind) {
  struct thread *thread = threads[vcpu];
  if (page == thread->data_page && page == thread->page[kind] && (*thread->run[kind] & COUNT_MASK) != COUNT_MASK)
    *thread->run[kind] += COUNT_ONE;
  else
    open_run(vcpu, page, kind, 1);
}

static void memory(unsigned vcpu, memory_info info, uint64_t address, void *data) {
  (void)data;
  enum kind kind = qemu_plugin_mem_is_store(info) ? STORE : LOAD;
  uint64_t last = address + (1u << qemu_plugin_mem_size_shift(info)) - 1;
  touch(vcpu, address >> PAGE_SHIFT, kind);
  if (last >> PAGE_SHIFT != address >> PAGE_SHIFT) touch(vcpu, last >> PAGE_SHIFT, kind);
}

static void *fetches(uint64_t page, size_t count) { return (void *)(page << 10 | count); }

/* One callback for each stretch of instructions on one page; two for an instruction that lies on two. */
static void translate(plugin_id id, struct plugin_tb *tb) {
  (void)id;
  size_t count = qemu_plugin_tb_n_insns(tb);
  for (size_t i = 0; i < count;) {
    struct plugin_insn *head = qemu_plugin_tb_get_insn(tb, i);
    uint64_t page = qemu_plugin_insn_vaddr(head) >> PAGE_SHIFT, last = page;
    size_t stretch = 0;
    for (; i + stretch < count; stretch++) {
      struct plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i + stretch);
      uint64_t address = qemu_plugin_insn_vaddr(insn);
      last = (address + qemu_plugin_insn_size(insn) - 1) >> PAGE_SHIFT;
      if (address >> PAGE_SHIFT != page || (last != page && stretch > 0)) break;
      qemu_plugin_register_vcpu_mem_cb(insn, memory, NO_REGISTERS, READS_AND_WRITES, NULL);
      if (last != page) break;
    }
    if (stretch == 0) { /* the first instruction of the stretch lies on two pages */
      qemu_plugin_register_vcpu_insn_exec_cb(head, fetch, NO_REGISTERS, fetches(page, 1));
      qemu_plugin_register_vcpu_insn_exec_cb(head, fetch, NO_REGISTERS, fetches(last, 1));
      stretch = 1;
    } else if (i == 0) {
      qemu_plugin_register_vcpu_tb_exec_cb(tb, fetch, NO_REGISTERS, fetches(page, stretch));
    } else {
      qemu_plugin_register_vcpu_insn_exec_cb(head, fetch, NO_REGISTERS, fetches(page, stretch));
    }
    i += stretch;
  }
}

/* ---- system calls ---- */

static size_t read_guest(uint64_t address, void *to, size_t bytes) {
  struct iovec here = {to, bytes}, there = {(void *)(address + guest_base), bytes};
  ssize_t done = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
  return done < 0 ? 0 : (size_t)done;
}

static uint64_t guest_word(uint64_t address) {
  uint64_t word = 0;
  return read_guest(address, &word, is_64 ? 8 : 4) ? word : 0;
}

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

/* The connection ends, the process does not. */
static void leave(struct thread *thread) {
  uint64_t *place = room(thread, 1);
  *place = record_head(LEAVE, 8);
  add_items(thread, 1);
  send_thread(thread);
  pthread_mutex_lock(&send_lock);
  close(connection);
  connection = -1;
  pthread_mutex_unlock(&send_lock);
}

/* ---- exec: the program that follows runs under an emulator with this plugin too ---- */

static char *guest_string(uint64_t address) {
  size_t length = 0, size = 256;
  char *text = malloc(size);
  for (;;) {
    size_t page_left = 4096 - (address + length) % 4096;
    if (length + page_left + 1 > size) text = realloc(text, size = (length + page_left) * 2);
    size_t got = read_guest(address + length, text + length, page_left);
    char *end = memchr(text + length, 0, got);
    if (end) return text;
    length += got;
    if (got < page_left) {
      text[length] = 0;
      return text;
    }
  }
}

/* The strings of a NULL-ended guest array, with room for `before` in front of them. */
static char **guest_strings(uint64_t array, size_t before, size_t *count) {
  size_t word = is_64 ? 8 : 4;
  for (*count = 0; array && guest_word(array + *count * word); ++*count) continue;
  char **strings = calloc(before + *count + 1, sizeof *strings);
  for (size_t i = 0; i < *count; i++) strings[before + i] = guest_string(guest_word(array + i * word));
  return strings;
}

/* "x86-64", "i386", or NULL for what the emulators cannot run; a script gives "#!" and its first line. */
static const char *file_abi(const char *path, char *line, size_t size) {
  union {
    Elf64_Ehdr elf;
    char text[256];
  } head = {0};
  if (access(path, X_OK) < 0) return NULL;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return NULL;
  ssize_t length = read(file, &head, sizeof head - 1);
  close(file);
  if (length > 2 && memcmp(head.text, "#!", 2) == 0) {
    head.text[strcspn(head.text, "\n")] = 0;
    snprintf(line, size, "%s", head.text + 2);
    return "#!";
  }
  if (length < 20 || memcmp(head.text, ELFMAG, SELFMAG) != 0) return NULL;
  if (head.elf.e_machine == EM_X86_64 && head.elf.e_ident[EI_CLASS] == ELFCLASS64) return "x86-64";
  return head.elf.e_machine == EM_386 ? "i386" : NULL;
}

static void follow_exec(struct thread *thread, unsigned vcpu, uint64_t path_at, uint64_t argv_at, uint64_t envp_at) {
  enum { FRONT = 12, PLACE = 2 };
  char line[256], emulator[PATH_MAX], plugin[PATH_MAX], left[PATH_MAX], name[32];
  size_t argc, envc;
  char *path = guest_string(path_at);
  char **argv = guest_strings(argv_at, FRONT, &argc), **envp = guest_strings(envp_at, 0, &envc);
  char *argv0 = argc > 0 ? argv[FRONT] : path;
  size_t first = FRONT + (argc > 0); /* the program's arguments after its own name */
  const char *kind = file_abi(path, line, sizeof line);
  if (kind && strcmp(kind, "#!") == 0) { /* the interpreter, its one argument, the script */
    char *interpreter = line + strspn(line, " \t"), *argument = interpreter + strcspn(interpreter, " \t");
    if (*argument) *argument++ = 0, argument += strspn(argument, " \t");
    for (char *end = argument + strlen(argument); end > argument && strchr(" \t\r", end[-1]);) *--end = 0;
    argv[--first] = path;
    if (*argument) argv[--first] = strdup(argument);
    path = argv0 = strdup(interpreter);
    kind = file_abi(path, line, sizeof line);
  }
  if (!kind || strcmp(kind, "#!") == 0) return;
  snprintf(name, sizeof name, "qemu.%s", kind);
  in_dir(emulator, name);
  if (access(emulator, X_OK) < 0) return;
  snprintf(plugin, sizeof plugin, "%s/plugin.so,dir=%s", dir, dir);
  char *front[] = {emulator, "-plugin", plugin, "-0", argv0, path}, *place[] = {emulator, "-B", I386_BASE};
  first -= sizeof front / sizeof *front;
  memcpy(&argv[first], front, sizeof front);
  if (strcmp(kind, "i386") == 0) {
    first -= PLACE;
    memcpy(&argv[first], place, sizeof place);
  }
  leave(thread);
  /* The new program makes this file anew, maybe as another user. */
  left_name(left, getpid(), vcpu);
  unlink(left);
  execve(emulator, &argv[first], envp);
}

/* close, dup2 and close_range can hit our descriptor: let go of it; sending connects again. */
static void before_close(struct thread *thread, uint64_t last) {
  if (connection >= 0 && (uint32_t)last >= (uint32_t)connection) leave(thread);
}

static void call_entered(plugin_id id, unsigned vcpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
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

static void call_returned(plugin_id id, unsigned vcpu, int64_t number, int64_t result) {
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
static void process_ended(plugin_id id, void *data) {
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

/* ---- installation ---- */

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
