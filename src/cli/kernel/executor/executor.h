/*
 * What the two halves of the executor share. The controller (controller.c) reads programs and prints outcomes; each
 * process of a program is a worker (worker.c) that does one operation at a time on request; dump.c reads what is left
 * of a worker from /proc.
 *
 * A worker's address space, so that an area without a fixed place can land only in the window or, when that is full,
 * above the break:
 *
 *     image heap|break hole|guard  filler  guard|window            |guard  filler  stack
 *               B+0                             W+0
 */
#ifndef BIGMEM_EXECUTOR_H
#define BIGMEM_EXECUTOR_H

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if !defined(__linux__) || !defined(__x86_64__)
#error "the executor knows Linux on x86-64 only"
#endif

#define PAGE 4096UL
#define WINDOW 0x40000000UL
#define WINDOW_BYTES 0x04000000UL
#define BREAK_HOLE 0x00400000UL
/* The break starts where a page table starts. */
#define TABLE_BYTES 0x200000UL

#define PROCESSES 8
#define FILES 8
#define OPERANDS 6
/* The most pages that one mincore asks for. */
#define VECTOR 1024

/* Descriptors that a worker starts with. */
#define FIRST_SOCKET 100
#define FIRST_FILE 120

enum operation {
  OP_MMAP, OP_MUNMAP, OP_MPROTECT, OP_MREMAP, OP_MADVISE, OP_MLOCK, OP_MLOCK2, OP_MUNLOCK, OP_MLOCKALL, OP_MUNLOCKALL,
  OP_MINCORE, OP_MSYNC, OP_RFP, OP_BRK, OP_LOAD, OP_STORE, OP_EXECUTE, OP_FTRUNC, OP_FREAD, OP_FWRITE, OP_FALLOC,
  OP_FADV, OP_FSYNC, OP_RLIMIT, OP_SHMGET, OP_SHMAT, OP_SHMDT, OP_SHMRM, OP_FORK, OP_EXIT, OP_STAT,
  /* Not in programs: is it there; wait for a child that has gone. */
  OP_HELLO, OP_REAP
};

struct request {
  int32_t operation;
  int32_t unused;
  uint64_t operands[OPERANDS];
};

struct reply {
  int64_t result;
  /* 0, or why the call failed. */
  int32_t error;
  /* The signal that the access got, or 0; its si_code; the page fault's error code. */
  int32_t signal, code, fault;
  uint64_t address;
  uint32_t minor, major;
  uint64_t break_start;
  /* Bytes of `bytes` that say something. */
  uint32_t length;
  unsigned char bytes[VECTOR];
};

/* worker.c */
void work(void) __attribute__((noreturn));

/* dump.c */
struct world {
  uint64_t break_start;
  /* VmPTE of the first worker before the first operation. */
  long base_tables;
  /* Whether frame numbers can be read. */
  int frames;
  /* Names of the files in /proc/PID/smaps; empty: no such file. */
  char names[FILES][48];
};

const char *place(const struct world *world, uint64_t address);
long status_field(pid_t pid, const char *field);
void forget_frames(void);
int frames_readable(void);
void print_tables(const struct world *world, pid_t pid);
void dump_process(const struct world *world, pid_t pid, int number);

#endif
