/* SPDX-License-Identifier: GPL-2.0 */
/* What the ledger of inject.c and its programs (progs/ledger.bpf.c) share. */
#ifndef LEDGER_H
#define LEDGER_H

/* The program's, the tracepoint's, those of the page allocator, and who called it */
#define LEDGER_FRAMES	12

struct asked {
	__u64 frame[LEDGER_FRAMES];
};

#endif /* LEDGER_H */
