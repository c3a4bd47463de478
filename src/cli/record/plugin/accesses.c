/* The hot path: every fetch, load and store, absorbed into page runs. */
#define _GNU_SOURCE
#include "recorder.h"

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
void translate(plugin_id id, struct plugin_tb *tb) {
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
