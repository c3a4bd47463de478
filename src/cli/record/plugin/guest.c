/* Reading the program's memory, wherever its pointers lead. */
#define _GNU_SOURCE
#include "recorder.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

size_t read_guest(uint64_t address, void *to, size_t bytes) {
  struct iovec here = {to, bytes}, there = {(void *)(address + guest_base), bytes};
  ssize_t done = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
  return done < 0 ? 0 : (size_t)done;
}

uint64_t guest_word(uint64_t address) {
  uint64_t word = 0;
  return read_guest(address, &word, is_64 ? 8 : 4) ? word : 0;
}

char *guest_string(uint64_t address) {
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
char **guest_strings(uint64_t array, size_t before, size_t *count) {
  size_t word = is_64 ? 8 : 4;
  for (*count = 0; array && guest_word(array + *count * word); ++*count) continue;
  char **strings = calloc(before + *count + 1, sizeof *strings);
  for (size_t i = 0; i < *count; i++) strings[before + i] = guest_string(guest_word(array + i * word));
  return strings;
}
