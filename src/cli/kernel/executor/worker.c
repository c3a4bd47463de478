/*
 * A process of a program: it makes its address space as executor.h draws it, then does what the controller asks for and
 * says what came of it: the result, the signal, the faults that the operation took. What it needs itself is touched
 * beforehand, after its start and after each fork, so that no fault of its own is counted.
 */
#include "executor.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* What a worker ends with when it cannot go on. */
enum { NO_SPACE = 7, NO_CONTROLLER = 8 };

#define TRAP_FLAG 0x100
#define MOST_AREAS 64
/* What is touched of the stack: more than any path here uses. */
#define STACK_USED 24576
#define TASK_END 0x7ffffffff000UL
/* vm.mmap_min_addr where it cannot be read. */
#define USUAL_LOWEST 65536

struct area {
  unsigned long start, end;
  int readable, writable, is_stack, is_heap;
};

static int self;
static struct request request;
static struct reply reply;
static unsigned long break_start;
/* The areas that the program was loaded with. */
static struct area image[MOST_AREAS];
static int image_areas;

static jmp_buf after_signal;
static char signal_stack[65536];
/* What an executed instruction of zero bytes (add %al,(%rax)) works on. */
static char scratch[64] __attribute__((aligned(64)));

/*
 * Read before each mincore. It lies in pages of the image that nothing else touches, so a forked child, which starts
 * without the image's file pages, takes one fault for it. The recorded outcomes of Linux 6.1 have that fault: there, the
 * function that clears the result was far from all others.
 */
#define FAULT_AROUND 65536
static const char distant[3 * FAULT_AROUND] __attribute__((aligned(FAULT_AROUND))) = {1};

static void on_signal(int signal, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  /* Single-stepping traps first after the jump itself: go on to the instruction that is meant. */
  if (signal == SIGTRAP && request.operation == OP_EXECUTE && registers[REG_RIP] == (greg_t)request.operands[0]) {
    registers[REG_EFL] |= TRAP_FLAG;
    return;
  }
  registers[REG_EFL] &= ~TRAP_FLAG;
  reply.signal = signal;
  reply.code = info->si_code;
  reply.address = (uint64_t)(uintptr_t)info->si_addr;
  reply.fault = (int32_t)registers[REG_ERR];
  _longjmp(after_signal, 1);
}

static void catch_signals(void) {
  static const int signals[] = {SIGSEGV, SIGBUS, SIGTRAP, SIGILL};
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
  stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
  sigaltstack(&stack, 0);
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, 0);
}

/* Executes one instruction at `address` and traps. */
static void execute(uint64_t address) {
  __asm__ volatile("movq %0, %%rax\n\t"
                   "pushfq\n\t"
                   "orq %2, (%%rsp)\n\t"
                   "popfq\n\t"
                   "jmp *%1\n\t" ::"r"(scratch), "r"(address), "i"(TRAP_FLAG) : "rax", "memory", "cc");
}

/* ---- the address space ---- */

static void read_image(void) {
  FILE *maps = fopen("/proc/self/maps", "r");
  if (!maps) _exit(NO_SPACE);
  char line[512], rights[8];
  while (image_areas < MOST_AREAS && fgets(line, sizeof line, maps)) {
    struct area *area = &image[image_areas];
    if (sscanf(line, "%lx-%lx %7s", &area->start, &area->end, rights) != 3) continue;
    area->is_stack = strstr(line, "[stack]") != 0;
    area->is_heap = strstr(line, "[heap]") != 0;
    int of_kernel = strstr(line, "[v") != 0;
    area->readable = rights[0] == 'r' && !of_kernel;
    area->writable = rights[1] == 'w' && !of_kernel;
    image_areas++;
  }
  fclose(maps);
}

/* The break moves up to where a page table starts; only what was in use of the heap is touched later. */
static void align_break(void) {
  unsigned long now = (unsigned long)syscall(SYS_brk, 0L);
  break_start = (now + TABLE_BYTES - 1) & ~(TABLE_BYTES - 1);
  if ((unsigned long)syscall(SYS_brk, break_start) != break_start) _exit(NO_SPACE);
}

static unsigned long lowest_address(void) {
  char text[32] = "";
  int file = open("/proc/sys/vm/mmap_min_addr", O_RDONLY);
  ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
  if (file >= 0) close(file);
  return length > 0 ? strtoul(text, 0, 10) : USUAL_LOWEST;
}

static void map_nothing(unsigned long start, unsigned long end, int flags) {
  if (start >= end) return;
  void *got = mmap((void *)start, end - start, PROT_NONE, MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0);
  if (got == MAP_FAILED) _exit(NO_SPACE);
}

/* Fills [start, end) except the window, the break's hole and their guards. */
static void fill(unsigned long start, unsigned long end) {
  const unsigned long holes[][2] = {
      {break_start, break_start + BREAK_HOLE},
      {WINDOW - PAGE, WINDOW + WINDOW_BYTES + PAGE},
  };
  for (int i = 0; i < 2; i++) {
    if (holes[i][0] >= end || holes[i][1] <= start) continue;
    map_nothing(start, holes[i][0], MAP_PRIVATE | MAP_NORESERVE);
    start = holes[i][1];
  }
  map_nothing(start, end, MAP_PRIVATE | MAP_NORESERVE);
}

static void shape_address_space(void) {
  read_image();
  align_break();
  /* Shared guards do not merge with the private areas beside them. */
  map_nothing(WINDOW - PAGE, WINDOW, MAP_SHARED);
  map_nothing(WINDOW + WINDOW_BYTES, WINDOW + WINDOW_BYTES + PAGE, MAP_SHARED);
  unsigned long at = lowest_address();
  for (int i = 0; i < image_areas; i++) {
    unsigned long end = image[i].is_heap ? break_start : image[i].end;
    if (image[i].start >= TASK_END) break;
    fill(at, image[i].start);
    if (end > at) at = end;
  }
  fill(at, TASK_END);
  map_nothing(break_start + BREAK_HOLE, break_start + BREAK_HOLE + PAGE, MAP_SHARED);
}

/* ---- what is touched beforehand ---- */

static void touch(const struct area *area) {
  for (unsigned long at = area->start; at < area->end; at += PAGE) {
    volatile char *byte = (volatile char *)at;
    if (at >= (unsigned long)distant && at < (unsigned long)distant + sizeof distant) continue;
    char value = *byte;
    if (area->writable) *byte = value;
  }
}

static void touch_image(void) {
  volatile char stack[STACK_USED];
  for (size_t at = 0; at < sizeof stack; at += 1024) stack[at] = 0;
  for (int i = 0; i < image_areas; i++) {
    if (image[i].readable && !image[i].is_stack) touch(&image[i]);
  }
}

/* Takes one page fault and one single step, on the guard behind the window. */
static void rehearse(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  request.operation = OP_STORE;
  if (_setjmp(after_signal) == 0) *(volatile char *)(WINDOW + WINDOW_BYTES) = 1;
  request.operation = OP_EXECUTE;
  request.operands[0] = WINDOW + WINDOW_BYTES;
  if (_setjmp(after_signal) == 0) execute(WINDOW + WINDOW_BYTES);
}

static void prepare(void) {
  touch_image();
  rehearse();
}

/* ---- operations ---- */

static int file_of(uint64_t number) { return FIRST_FILE + (int)(number % FILES); }

static long resident(uint64_t address, uint64_t bytes) {
  if (bytes > VECTOR * PAGE) bytes = VECTOR * PAGE;
  (void)*(const volatile char *)(distant + FAULT_AROUND);
  long result = syscall(SYS_mincore, address, bytes, reply.bytes);
  if (result == 0) reply.length = (uint32_t)((bytes + PAGE - 1) / PAGE);
  return result;
}

static long read_byte(int file, uint64_t offset) {
  long got = pread(file, reply.bytes, 1, (off_t)offset);
  if (got == 1) reply.length = 1;
  return got;
}

static long write_byte(int file, uint64_t offset, unsigned char value) {
  return pwrite(file, &value, 1, (off_t)offset);
}

static long advise_file(const uint64_t *a) {
  int error = posix_fadvise(file_of(a[0]), (off_t)a[1], (off_t)a[2], (int)a[3]);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

static long limit(uint64_t resource, uint64_t value) {
  struct rlimit limits = {value, value};
  return setrlimit((int)resource, &limits);
}

static long call(int operation, const uint64_t *a) {
  switch (operation) {
  case OP_MMAP: return syscall(SYS_mmap, a[0], a[1], a[2], a[3], (int)a[4] < 0 ? -1 : file_of(a[4]), a[5]);
  case OP_MUNMAP: return syscall(SYS_munmap, a[0], a[1]);
  case OP_MPROTECT: return syscall(SYS_mprotect, a[0], a[1], a[2]);
  case OP_MREMAP: return syscall(SYS_mremap, a[0], a[1], a[2], a[3], a[4]);
  case OP_MADVISE: return syscall(SYS_madvise, a[0], a[1], a[2]);
  case OP_MLOCK: return syscall(SYS_mlock, a[0], a[1]);
  case OP_MLOCK2: return syscall(SYS_mlock2, a[0], a[1], a[2]);
  case OP_MUNLOCK: return syscall(SYS_munlock, a[0], a[1]);
  case OP_MLOCKALL: return syscall(SYS_mlockall, a[0]);
  case OP_MUNLOCKALL: return syscall(SYS_munlockall);
  case OP_MINCORE: return resident(a[0], a[1]);
  case OP_MSYNC: return syscall(SYS_msync, a[0], a[1], a[2]);
  case OP_RFP: return syscall(SYS_remap_file_pages, a[0], a[1], 0L, a[2], a[3]);
  case OP_BRK: return syscall(SYS_brk, break_start + a[0]);
  case OP_FTRUNC: return ftruncate(file_of(a[0]), (off_t)a[1]);
  case OP_FREAD: return read_byte(file_of(a[0]), a[1]);
  case OP_FWRITE: return write_byte(file_of(a[0]), a[1], (unsigned char)a[2]);
  case OP_FALLOC: return fallocate(file_of(a[0]), (int)a[1], (off_t)a[2], (off_t)a[3]);
  case OP_FADV: return advise_file(a);
  case OP_FSYNC: return fsync(file_of(a[0]));
  case OP_RLIMIT: return limit(a[0], a[1]);
  case OP_SHMGET: return syscall(SYS_shmget, a[1], a[2], a[3]);
  case OP_SHMAT: return syscall(SYS_shmat, a[0], a[1], a[2]);
  case OP_SHMDT: return syscall(SYS_shmdt, a[0]);
  case OP_SHMRM: return syscall(SYS_shmctl, a[0], IPC_RMID, 0L);
  case OP_HELLO: return 0;
  case OP_REAP: return waitpid((pid_t)a[0], 0, 0);
  default: errno = ENOSYS; return -1;
  }
}

/* Does the requested operation and fills in the reply. */
static void operate(void) {
  static struct rusage before, after;
  const uint64_t *a = request.operands;
  errno = 0;
  getrusage(RUSAGE_SELF, &before);
  if (_setjmp(after_signal) == 0) {
    if (request.operation == OP_LOAD) {
      reply.result = *(volatile unsigned char *)(uintptr_t)a[0];
    } else if (request.operation == OP_STORE) {
      *(volatile unsigned char *)(uintptr_t)a[0] = (unsigned char)a[1];
    } else if (request.operation == OP_EXECUTE) {
      execute(a[0]);
    } else {
      reply.result = call(request.operation, a);
      reply.error = reply.result == -1 ? errno : 0;
    }
  }
  getrusage(RUSAGE_SELF, &after);
  reply.minor = (uint32_t)(after.ru_minflt - before.ru_minflt);
  reply.major = (uint32_t)(after.ru_majflt - before.ru_majflt);
}

/* Both sides touch all that fork left shared or unmapped. The child goes on with its own socket and does not answer. */
static int fork_worker(void) {
  pid_t child = fork();
  int error = child < 0 ? errno : 0;
  if (child == 0) self = (int)request.operands[0];
  prepare();
  reply.result = child;
  reply.error = error;
  return child != 0;
}

void work(void) {
  shape_address_space();
  catch_signals();
  (void)*(const volatile char *)(distant + FAULT_AROUND);
  prepare();
  for (;;) {
    int answers = 1;
    if (recv(FIRST_SOCKET + self, &request, sizeof request, 0) != sizeof request) _exit(NO_CONTROLLER);
    memset(&reply, 0, offsetof(struct reply, bytes));
    reply.break_start = break_start;
    if (request.operation == OP_EXIT) _exit(0);
    if (request.operation == OP_FORK) answers = fork_worker();
    else operate();
    if (answers && send(FIRST_SOCKET + self, &reply, sizeof reply, MSG_NOSIGNAL) < 0) _exit(NO_CONTROLLER);
  }
}
