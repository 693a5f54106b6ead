/* SPDX-License-Identifier: GPL-2.0 */
/* What the subcommands that load BPF programs have in common. */
#ifndef BPF_UTIL_H
#define BPF_UTIL_H

#include <signal.h>
#include <stdbool.h>
#include <linux/types.h>

struct btf;

extern bool verbose;
/* SIGINT, SIGTERM or SIGHUP came, once catch_stop() was called */
extern volatile sig_atomic_t stopped;

void catch_stop(void);
/* Let libbpf say what it has to say, if --verbose was given */
void watch_libbpf(void);
/* Why a step with BPF failed, in words that tell what to do; returns EXIT_FAILED */
int bpf_failed(const char *what, int err);
/* The kernel's BTF, NULL if it has none or no arena slab; then it has been said */
struct btf *load_kernel_btf(void);
/* What the kernel calls that kind of bad free; false if it has no such kind */
#define BAD_FREE_NAME_SIZE	24
bool bad_free_name(const struct btf *btf, unsigned int kind, char name[BAD_FREE_NAME_SIZE]);
/* Sleep until @due, which moves on by @interval; false if it is time to end */
bool wait_until(__u64 *due, double interval);

#endif /* BPF_UTIL_H */
