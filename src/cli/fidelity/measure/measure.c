/*
 * Runs a program without address randomisation and prints, for each process that it was, what the kernel counted:
 *
 *   measure OUTPUT COMMAND [ARGUMENT...]
 *
 * One line a process, in the order of their birth:
 *
 *   process NAME minor FAULTS exec FAULTS major FAULTS vmpte KB rss KB
 *
 * `minor` and `major` are faults from the first instruction to the end (of a fork's child: from its birth), `exec` those
 * that execve itself took before. `vmpte` and `rss` are the greatest VmPTE and VmRSS. Both shrink in few calls only: they
 * are read before each of them and before the end, so they are exact, which VmHWM is not: since 6.2 the kernel notes it
 * from counters that each CPU keeps a part of. With KEEP_MAPS in the environment, the last /proc/PID/maps stands before
 * the lines.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>

#define PROCESSES 4096
#define OPTIONS                                                                                                   \
  (PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT | PTRACE_O_TRACEFORK | \
   PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE)

struct process {
  pid_t pid;
  char name[64];
  long start_minor, start_major; /* when the program's first instruction ran */
  long before_exec;              /* minor faults when execve was called */
  long minor, major;
  long vmpte, rss;
};

static struct process processes[PROCESSES];
static size_t count;
static FILE *output;

static void fail(const char *what) {
  fprintf(stderr, "measure: %s: %s\n", what, strerror(errno));
  exit(125);
}

/* The value of a line "NAME: value kB" of /proc/PID/status; -1 without such a line. */
static long field(const char *text, const char *name) {
  const char *line = strstr(text, name);
  return line == NULL ? -1 : atol(line + strlen(name));
}

static char *slurp(pid_t pid, const char *file) {
  static char text[1 << 20];
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
  FILE *stream = fopen(path, "r");
  if (stream == NULL) return NULL;
  size_t length = fread(text, 1, sizeof text - 1, stream);
  text[length] = '\0';
  fclose(stream);
  return text;
}

/* Faults of all threads of the process, the dead ones included. */
static void faults(pid_t pid, long *minor, long *major) {
  const char *text = slurp(pid, "stat");
  const char *rest = text == NULL ? NULL : strrchr(text, ')');
  if (rest != NULL) sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %ld %*u %ld", minor, major);
}

static pid_t group_of(pid_t task) {
  const char *text = slurp(task, "status");
  return text == NULL ? task : (pid_t)field(text, "\nTgid:");
}

static struct process *find(pid_t pid) {
  for (size_t i = count; i-- > 0;)
    if (processes[i].pid == pid) return &processes[i];
  return NULL;
}

/* Adds the process of a task if it is new. */
static struct process *admit(pid_t task) {
  pid_t pid = group_of(task);
  struct process *process = find(pid);
  if (process != NULL) return process;
  if (count == PROCESSES) fail("too many processes");
  process = &processes[count++];
  process->pid = pid;
  return process;
}

static void look(struct process *process) {
  const char *text = slurp(process->pid, "status");
  if (text == NULL) return;
  long vmpte = field(text, "\nVmPTE:"), rss = field(text, "\nVmRSS:");
  if (vmpte > process->vmpte) process->vmpte = vmpte;
  if (rss > process->rss) process->rss = rss;
  sscanf(text, "Name: %63s", process->name);
  faults(process->pid, &process->minor, &process->major);
}

/* A new program: what came before is not its own. */
static void began(struct process *process) {
  faults(process->pid, &process->start_minor, &process->start_major);
  process->vmpte = process->rss = 0;
  look(process);
}

static int may_free_tables(uint64_t call) {
  return call == SYS_munmap || call == SYS_mmap || call == SYS_mremap || call == SYS_brk || call == SYS_shmdt ||
         call == SYS_madvise;
}

static void called(pid_t task) {
  struct __ptrace_syscall_info info;
  if (ptrace(PTRACE_GET_SYSCALL_INFO, task, sizeof info, &info) < 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY) return;
  if (may_free_tables(info.entry.nr)) look(admit(task));
  if (info.entry.nr == SYS_execve || info.entry.nr == SYS_execveat) {
    long major;
    struct process *process = admit(task);
    faults(process->pid, &process->before_exec, &major);
  }
}

static void show_maps(pid_t pid) {
  const char *text = getenv("KEEP_MAPS") == NULL ? NULL : slurp(pid, "maps");
  if (text != NULL) fputs(text, output);
}

/* Deals with one stop; returns the signal that the task shall get. */
static int stopped(pid_t task, int status, int *running) {
  int event = status >> 16, signal = WSTOPSIG(status);
  if (signal == (SIGTRAP | 0x80)) {
    called(task);
    return 0;
  }
  if (event == PTRACE_EVENT_EXEC) {
    began(admit(task));
    *running = 1;
  } else if (event == PTRACE_EVENT_EXIT) {
    struct process *process = admit(task);
    look(process);
    if (process->pid == task) show_maps(task);
  }
  if (event == PTRACE_EVENT_STOP || event != 0) return 0;
  if (signal == SIGSTOP && find(group_of(task)) == NULL) { /* a new process's first stop */
    admit(task);
    return 0;
  }
  return signal == SIGSTOP || signal == SIGTRAP ? 0 : signal;
}

static pid_t start(char **command) {
  pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid > 0) return pid;
  if (personality(ADDR_NO_RANDOMIZE) < 0) fail("personality");
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0) fail("ptrace");
  raise(SIGSTOP);
  execvp(command[0], command);
  fail(command[0]);
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3 || (output = fopen(argv[1], "w")) == NULL) fail("usage: measure OUTPUT COMMAND [ARGUMENT...]");
  pid_t first = start(argv + 2);
  int status, code = 0, running = 0;
  if (waitpid(first, &status, 0) < 0 || ptrace(PTRACE_SETOPTIONS, first, NULL, OPTIONS) < 0) fail("ptrace");
  admit(first);
  ptrace(PTRACE_SYSCALL, first, NULL, NULL);
  for (pid_t task; (task = waitpid(-1, &status, __WALL)) > 0;) {
    if (WIFSTOPPED(status)) {
      int signal = stopped(task, status, &running);
      ptrace(PTRACE_SYSCALL, task, NULL, (void *)(long)signal);
    } else if (task == first) {
      code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
  }
  for (size_t i = 0; i < count && running; i++) {
    const struct process *p = &processes[i];
    long exec = p->before_exec == 0 ? 0 : p->start_minor - p->before_exec;
    fprintf(output, "process %s minor %ld exec %ld major %ld vmpte %ld rss %ld\n", p->name, p->minor - p->start_minor,
            exec, p->major - p->start_major, p->vmpte, p->rss);
  }
  fclose(output);
  return code;
}
