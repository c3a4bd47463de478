/*
 * Runs programs of memory operations on the kernel that it runs on and prints every outcome: one line an operation,
 * then what is left of each process and of each file. Programs come on standard input, in the language of program.ts;
 * outcomes go to standard output, program by program.
 *
 *     executor [-a CPU]     run programs, all on one CPU
 *     executor -i           say what this machine lets the executor see
 *
 * Frame numbers need CAP_SYS_ADMIN: without it there are no `pg` lines. Nothing else needs privileges. Every program
 * starts in a new process with an address space of its own, so nothing of an earlier one is left.
 */
#include "executor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PR_SET_THP_DISABLE
#define PR_SET_THP_DISABLE 41
#endif

/* How long an operation may take. */
#define PATIENCE_SECONDS 10
#define MOST_LINE 512
#define MOST_LINES 4096
#define MOST_WORDS 10
/* A file of a program starts with at most so many bytes, and at most so many may be allocated. */
#define MOST_FILE (16UL << 20)
#define MARK_OFFSET 0x10
#define MARK_FIRST 0x40
/* The most pages of a file that are shown. */
#define MOST_FILE_PAGES 256
#define STACK_LIMIT (8UL << 20)

/* Each operation's operands: `a` an address, `n` a number. */
static const struct {
  const char *name, *operands;
} operations[] = {
    [OP_MMAP] = {"mmap", "annnnn"},   [OP_MUNMAP] = {"munmap", "an"},     [OP_MPROTECT] = {"mprotect", "ann"},
    [OP_MREMAP] = {"mremap", "annna"}, [OP_MADVISE] = {"madvise", "ann"},  [OP_MLOCK] = {"mlock", "an"},
    [OP_MLOCK2] = {"mlock2", "ann"},  [OP_MUNLOCK] = {"munlock", "an"},   [OP_MLOCKALL] = {"mlockall", "n"},
    [OP_MUNLOCKALL] = {"munlockall", ""}, [OP_MINCORE] = {"mincore", "an"}, [OP_MSYNC] = {"msync", "ann"},
    [OP_RFP] = {"rfp", "annn"},       [OP_BRK] = {"brk", "n"},            [OP_LOAD] = {"r", "a"},
    [OP_STORE] = {"w", "an"},         [OP_EXECUTE] = {"x", "a"},          [OP_FTRUNC] = {"ftrunc", "nn"},
    [OP_FREAD] = {"fread", "nn"},     [OP_FWRITE] = {"fwrite", "nnn"},    [OP_FALLOC] = {"falloc", "nnnn"},
    [OP_FADV] = {"fadv", "nnnn"},     [OP_FSYNC] = {"fsync", "n"},        [OP_RLIMIT] = {"rlimit", "nn"},
    [OP_SHMGET] = {"shmget", "nnnn"}, [OP_SHMAT] = {"shmat", "nan"},      [OP_SHMDT] = {"shmdt", "a"},
    [OP_SHMRM] = {"shmrm", "n"},      [OP_FORK] = {"fork", "n"},        [OP_EXIT] = {"exit", ""},           [OP_STAT] = {"stat", ""},
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

static struct world world;
static struct {
  pid_t pid;
  int parent;
  int alive;
  int socket;
} processes[PROCESSES];
static int files[FILES];
/* What the kernel calls the program's segments; NO_SEGMENT: nothing. */
enum { NO_SEGMENT = -1 };
static int segments[FILES];
/* All that the program has made or found. */
static int every_segment[MOST_LINES], segments_made;

static void fail(const char *what) {
  fprintf(stderr, "executor: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* ---- workers ---- */

/* Sends a request and waits for its reply; 0, or -1 when the worker has died or hangs (and is killed). */
static int ask(int process, const struct request *request, struct reply *reply) {
  int socket = processes[process].socket;
  if (send(socket, request, sizeof *request, MSG_NOSIGNAL) < 0) return -1;
  for (;;) {
    ssize_t got = recv(socket, reply, sizeof *reply, 0);
    if (got == sizeof *reply) return 0;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) kill(processes[process].pid, SIGKILL);
    return -1;
  }
}

static int ask_simply(int process, int operation, uint64_t operand, struct reply *reply) {
  struct request request = {.operation = operation, .operands = {operand}};
  return ask(process, &request, reply);
}

/* Starts process 0 of a program in an address space of its own: this program again, as a worker. */
static void start_worker(char *own_path) {
  int theirs[PROCESSES];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int i = 0; i < PROCESSES; i++) {
    int pair[2];
    struct timeval patience = {PATIENCE_SECONDS, 0};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) fail("socketpair");
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    processes[i].socket = pair[0];
    processes[i].alive = 0;
    theirs[i] = pair[1];
    posix_spawn_file_actions_adddup2(&actions, pair[1], FIRST_SOCKET + i);
  }
  for (int i = 0; i < FILES; i++) {
    if (files[i] >= 0) posix_spawn_file_actions_adddup2(&actions, files[i], FIRST_FILE + i);
  }
  char *arguments[] = {"worker", 0}, *environment[] = {0};
  int error = posix_spawn(&processes[0].pid, own_path, &actions, 0, arguments, environment);
  if (error) errno = error, fail(own_path);
  posix_spawn_file_actions_destroy(&actions);
  for (int i = 0; i < PROCESSES; i++) close(theirs[i]);
  processes[0].alive = 1;
  processes[0].parent = -1;
}

static void end_workers(void) {
  for (int i = 0; i < PROCESSES; i++) {
    if (processes[i].alive) kill(processes[i].pid, SIGKILL);
    close(processes[i].socket);
  }
  while (waitpid(-1, 0, 0) > 0) continue;
}

/* ---- words ---- */

static uint64_t number_of(const char *word) {
  if (word[0] == '-' && word[1]) return (uint64_t)-strtoll(word + 1, 0, 0);
  return strtoull(word, 0, 0);
}

static uint64_t address_of(const char *word) {
  if (strcmp(word, "-") == 0) return 0;
  if (word[0] == 'B') return world.break_start + strtoull(word + 1, 0, 16);
  if (word[0] == '@') return strtoull(word + 1, 0, 16);
  return WINDOW + strtoull(word, 0, 16);
}

static const char *error_name(int error) {
  static const struct {
    int error;
    const char *name;
  } names[] = {
      {EPERM, "EPERM"},   {EINTR, "EINTR"},   {EIO, "EIO"},         {EBADF, "EBADF"},   {EAGAIN, "EAGAIN"},
      {ENOMEM, "ENOMEM"}, {EACCES, "EACCES"}, {EFAULT, "EFAULT"},   {EBUSY, "EBUSY"},   {EEXIST, "EEXIST"},
      {ENODEV, "ENODEV"}, {EINVAL, "EINVAL"}, {ETXTBSY, "ETXTBSY"}, {EFBIG, "EFBIG"},   {ENOSPC, "ENOSPC"},
      {ENOSYS, "ENOSYS"}, {EOVERFLOW, "EOVERFLOW"},                 {EOPNOTSUPP, "EOPNOTSUPP"},
      {ENOENT, "ENOENT"}, {EIDRM, "EIDRM"},
  };
  static char other[16];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (names[i].error == error) return names[i].name;
  }
  snprintf(other, sizeof other, "E%d", error);
  return other;
}

static const char *signal_name(int signal) {
  return signal == SIGSEGV ? "SEGV" : signal == SIGBUS ? "BUS" : signal == SIGILL ? "ILL" : "SIG";
}

/* ---- operations ---- */

static void print_reply(int operation, const struct reply *reply) {
  if (operation == OP_EXECUTE && reply->signal == SIGTRAP) {
    printf(" exec-ok");
  } else if (reply->signal) {
    printf(" %s code=%d addr=%s err=%x", signal_name(reply->signal), reply->code, place(&world, reply->address),
           (unsigned)reply->fault);
  } else if (operation == OP_LOAD) {
    printf(" %02x", (unsigned)reply->result);
  } else if (operation == OP_STORE) {
    printf(" ok");
  } else if (operation == OP_BRK) {
    printf(" %s", place(&world, (uint64_t)reply->result));
  } else if (reply->result == -1 && reply->error) {
    printf(" %s", error_name(reply->error));
  } else if (operation == OP_MMAP || operation == OP_MREMAP || operation == OP_SHMAT) {
    printf(" %s", place(&world, (uint64_t)reply->result));
  } else if (operation == OP_MINCORE) {
    putchar(' ');
    for (uint32_t i = 0; i < reply->length && i < VECTOR; i++) putchar(reply->bytes[i] & 1 ? '1' : '0');
  } else if (operation == OP_FREAD) {
    if (reply->length) printf(" %02x", reply->bytes[0]);
    else printf(" eof");
  } else {
    printf(" %" PRId64, reply->result);
  }
  if ((reply->minor || reply->major) && operation != OP_MLOCKALL) printf(" mf=%u,%u", reply->minor, reply->major);
}

static void end_process(int number) {
  struct request request = {.operation = OP_EXIT};
  struct reply reply;
  int parent = processes[number].parent;
  if (send(processes[number].socket, &request, sizeof request, MSG_NOSIGNAL) < 0)
    kill(processes[number].pid, SIGKILL);
  processes[number].alive = 0;
  if (parent >= 0 && processes[parent].alive) ask_simply(parent, OP_REAP, (uint64_t)processes[number].pid, &reply);
  else waitpid(processes[number].pid, 0, 0);
  printf(" ok");
}

static void begin_process(int child, int parent, const struct reply *reply) {
  struct reply hello;
  if (reply->result < 0) {
    printf(" %s", error_name(reply->error));
    return;
  }
  processes[child].pid = (pid_t)reply->result;
  processes[child].parent = parent;
  processes[child].alive = 1;
  if (ask_simply(child, OP_HELLO, 0, &hello) != 0) processes[child].alive = 0;
  printf(processes[child].alive ? " ok" : " DIED");
}

/* Allocating a file is the one operation that takes as much memory as it says. */
static int too_much(int operation, const uint64_t *operands) {
  return operation == OP_FALLOC && (int64_t)operands[2] >= 0 && (int64_t)operands[3] >= 0 &&
         operands[2] + operands[3] > MOST_FILE;
}

/*
 * The program's own numbers of segments become the kernel's. Keys are made this executor's: others run beside it, and
 * may see the same segments.
 */
static void name_segment(struct request *request) {
  uint64_t *operands = request->operands;
  if (request->operation == OP_SHMGET && operands[1]) operands[1] += (uint64_t)getpid() << 8;
  if (request->operation != OP_SHMAT && request->operation != OP_SHMRM) return;
  operands[0] = (uint64_t)(int64_t)(operands[0] < FILES ? segments[operands[0]] : NO_SEGMENT);
}

/* All segments of the program go; those that were removed before are known no more. */
static void remove_segments(void) {
  while (segments_made > 0) shmctl(every_segment[--segments_made], IPC_RMID, 0);
  for (int i = 0; i < FILES; i++) segments[i] = NO_SEGMENT;
}

static void operate(int process, int operation, char **words, int count) {
  struct request request = {.operation = operation};
  struct reply reply;
  const char *kinds = operations[operation].operands;
  for (int i = 0; kinds[i] && i < count; i++) {
    request.operands[i] = kinds[i] == 'a' ? address_of(words[i]) : number_of(words[i]);
  }
  if (operation == OP_STAT) {
    print_tables(&world, processes[process].pid);
    return;
  }
  if (operation == OP_EXIT) {
    end_process(process);
    return;
  }
  uint64_t segment = request.operands[0];
  name_segment(&request);
  uint64_t child = request.operands[0];
  if (operation == OP_FORK && (child >= PROCESSES || processes[child].alive)) {
    printf(" badid");
    return;
  }
  if (too_much(operation, request.operands)) {
    printf(" toomuch");
    return;
  }
  if (ask(process, &request, &reply) != 0) {
    printf(" DIED");
    processes[process].alive = 0;
    return;
  }
  if (operation == OP_SHMGET && reply.result >= 0) {
    segments[segment < FILES ? segment : 0] = every_segment[segments_made++] = (int)reply.result;
    printf(" ok");
    return;
  }
  if (operation == OP_FORK) begin_process((int)child, process, &reply);
  else print_reply(operation, &reply);
}

static int operation_named(const char *name) {
  for (int i = 0; i < OPERATIONS; i++) {
    if (operations[i].name && strcmp(name, operations[i].name) == 0) return i;
  }
  return -1;
}

/* ---- files ---- */

/* Makes a file in memory whose page i holds 0x40 + (i & 15) at byte 0x10. */
static void make_file(int number, uint64_t bytes) {
  char name[32];
  snprintf(name, sizeof name, "bigmem-file-%d", number);
  snprintf(world.names[number], sizeof world.names[number], "memfd:%s", name);
  if (files[number] >= 0) close(files[number]);
  if (bytes > MOST_FILE) bytes = MOST_FILE;
  files[number] = memfd_create(name, MFD_CLOEXEC);
  if (files[number] < 0 || ftruncate(files[number], (off_t)bytes)) fail("a file in memory");
  for (uint64_t page = 0; page * PAGE + MARK_OFFSET < bytes; page++) {
    unsigned char mark = (unsigned char)(MARK_FIRST + (page & 15));
    if (pwrite(files[number], &mark, 1, (off_t)(page * PAGE + MARK_OFFSET)) != 1) fail("a file in memory");
  }
}

static void dump_file(int number) {
  struct stat status;
  if (fstat(files[number], &status)) fail("fstat");
  printf("F%d size=%" PRId64 " blocks=%" PRId64, number, (int64_t)status.st_size, (int64_t)status.st_blocks);
  for (off_t page = 0; page * (off_t)PAGE < status.st_size && page < MOST_FILE_PAGES; page++) {
    unsigned char byte;
    if (pread(files[number], &byte, 1, page * (off_t)PAGE + MARK_OFFSET) == 1) printf(" %02x", byte);
  }
  printf("\n");
}

/* ---- programs ---- */

struct line {
  int count;
  char *words[MOST_WORDS];
  char text[MOST_LINE];
};

/* The next line that has words; 0 at the end of the input. */
static int next_line(struct line *line) {
  while (fgets(line->text, sizeof line->text, stdin)) {
    line->count = 0;
    for (char *word = strtok(line->text, " \t\n"); word && *word != '#'; word = strtok(0, " \t\n")) {
      if (line->count < MOST_WORDS) line->words[line->count++] = word;
    }
    if (line->count > 0) return 1;
  }
  return 0;
}

static void begin_program(char *own_path) {
  struct reply reply;
  start_worker(own_path);
  if (ask_simply(0, OP_HELLO, 0, &reply) != 0) {
    fprintf(stderr, "executor: a worker cannot make its address space\n");
    exit(1);
  }
  world.break_start = reply.break_start;
  world.base_tables = status_field(processes[0].pid, "VmPTE:");
}

static void end_program(void) {
  for (int i = 0; i < PROCESSES; i++) {
    if (processes[i].alive) dump_process(&world, processes[i].pid, i);
  }
  end_workers();
  remove_segments();
  for (int i = 0; i < FILES; i++) {
    if (files[i] < 0) continue;
    dump_file(i);
    close(files[i]);
    files[i] = -1;
    world.names[i][0] = 0;
  }
  forget_frames();
  printf("end\n");
  fflush(stdout);
}

static void run_line(const struct line *line, int index) {
  int process = atoi(line->words[0]);
  int operation = line->count > 1 ? operation_named(line->words[1]) : -1;
  if (operation < 0 || process < 0 || process >= PROCESSES) {
    printf("%d bad op\n", index);
    return;
  }
  printf("%d P%d %s", index, process, line->words[1]);
  if (!processes[process].alive) printf(" nosuchproc");
  else operate(process, operation, (char **)line->words + 2, line->count - 2);
  printf("\n");
}

/* Runs one program, from the line after its first to its `end`. */
static void run_program(const char *name, char *own_path) {
  static struct line line;
  int index = 0, started = 0;
  printf("prog %s\n", name);
  while (next_line(&line)) {
    if (strcmp(line.words[0], "file") == 0 && !started && line.count == 3) {
      unsigned number = (unsigned)atoi(line.words[1]);
      if (number < FILES) make_file((int)number, number_of(line.words[2]));
      continue;
    }
    if (!started) begin_program(own_path);
    started = 1;
    if (strcmp(line.words[0], "end") == 0) {
      end_program();
      return;
    }
    if (index < MOST_LINES) run_line(&line, index);
    index++;
  }
  fprintf(stderr, "executor: program %s has no end\n", name);
  exit(1);
}

static void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
}

/* Every worker gets the same: fixed places, no transparent huge pages, a stack of the usual limit. */
static void settle(void) {
  personality((unsigned long)personality(0xffffffff) | ADDR_NO_RANDOMIZE);
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  struct rlimit limit;
  getrlimit(RLIMIT_STACK, &limit);
  limit.rlim_cur = limit.rlim_max < STACK_LIMIT ? limit.rlim_max : STACK_LIMIT;
  setrlimit(RLIMIT_STACK, &limit);
}

static int print_sight(void) {
  struct rlimit locked;
  getrlimit(RLIMIT_MEMLOCK, &locked);
  printf("frames=%d locks=%d\n", world.frames, geteuid() == 0 || locked.rlim_cur == RLIM_INFINITY);
  return 0;
}

int main(int count, char **arguments) {
  static char own_path[4096], buffer[1 << 16];
  static struct line line;
  if (count == 1 && strcmp(arguments[0], "worker") == 0) work();
  if (readlink("/proc/self/exe", own_path, sizeof own_path - 1) < 0) fail("/proc/self/exe");
  for (int i = 0; i < FILES; i++) files[i] = -1, segments[i] = NO_SEGMENT;
  world.frames = frames_readable();
  if (count == 2 && strcmp(arguments[1], "-i") == 0) return print_sight();
  if (count == 3 && strcmp(arguments[1], "-a") == 0) pin(atoi(arguments[2]));
  setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
  settle();
  while (next_line(&line)) {
    if (strcmp(line.words[0], "prog") != 0 || line.count < 2) {
      fprintf(stderr, "executor: expected \"prog NAME\"\n");
      return 1;
    }
    char name[MOST_LINE];
    snprintf(name, sizeof name, "%s", line.words[1]);
    run_program(name, own_path);
  }
  return 0;
}
