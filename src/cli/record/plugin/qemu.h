/* QEMU's plugin interface, in the few entries that are used: distributions ship no header for it. */
#pragma once
#include <stddef.h>
#include <stdint.h>

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
