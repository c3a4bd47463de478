/* What the plugin's files share: what crosses to bigmem, the recorder's state, and who does what. */
#pragma once
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "qemu.h"

#pragma GCC visibility push(hidden)

/* ---- what crosses to bigmem ---- */

enum kind { FETCH = 0, LOAD = 1, STORE = 2, RECORD = 3 };
enum record { START = 1, CALL = 2, LEAVE = 3 };

#define PAGE_SHIFT 12
#define COUNT_ONE (1ull << 2)
#define COUNT_MASK (0xfffull << 2)
#define RUN_PAGE_SHIFT 14
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

struct shared {
  atomic_uint_fast64_t ticket; /* the next packet's */
  atomic_uint_fast64_t live;   /* threads, of all processes */
};

extern struct thread nobody;           /* stands for a thread that has no buffer yet */
extern struct thread *threads[VCPUS];  /* of this process, by vcpu */
extern struct shared *shared;          /* by all processes */
extern char dir[256];                  /* where everything lies */
extern uint64_t guest_base, guest_end; /* the program's memory in the emulator's */
extern int is_64;
extern struct rule rules[RULES];
extern int connection;     /* -1: none */
extern int started;        /* this program's start was sent */
extern unsigned last_vcpu; /* made the call that ends the process */
extern pthread_mutex_t send_lock, call_lock;

/* plugin.c */
void fail(const char *what, const char *which) __attribute__((noreturn));
void in_dir(char *path, const char *name);

/* send.c */
void send_items(struct thread *, const void *items, size_t bytes);
void send_thread(struct thread *);
void end_runs(struct thread *);
uint64_t *room(struct thread *, size_t items);
void add_items(struct thread *, size_t items);
uint64_t record_head(enum record, size_t bytes);
void leave(struct thread *);

/* process.c */
struct thread *thread_of(unsigned vcpu);
void close_thread(unsigned vcpu);
void left_name(char *path, pid_t, unsigned vcpu);
void send_start(struct thread *, uint64_t stack);
void start_child(unsigned vcpu);

/* accesses.c */
void translate(plugin_id, struct plugin_tb *);

/* guest.c */
size_t read_guest(uint64_t address, void *to, size_t bytes);
uint64_t guest_word(uint64_t address);
char *guest_string(uint64_t address);
char **guest_strings(uint64_t array, size_t before, size_t *count);

/* calls.c */
void call_entered(plugin_id, unsigned vcpu, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                  uint64_t, uint64_t);
void call_returned(plugin_id, unsigned vcpu, int64_t number, int64_t result);
void process_ended(plugin_id, void *data);

/* exec.c */
void follow_exec(struct thread *, unsigned vcpu, uint64_t path, uint64_t argv, uint64_t envp);

#pragma GCC visibility pop
