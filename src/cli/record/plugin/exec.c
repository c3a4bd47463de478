/* exec: the program that follows runs under an emulator with this plugin too. */
#define _GNU_SOURCE
#include "recorder.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

void follow_exec(struct thread *thread, unsigned vcpu, uint64_t path_at, uint64_t argv_at, uint64_t envp_at) {
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
