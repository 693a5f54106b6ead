#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What `make run` shows, in the VM: a sched_ext scheduler whose cmasks are slab
# objects of its arena, tracing programs that keep an object a task, user space
# that reads them all, and what the slab did for it.
#
# Ends with 0 only if all of it worked.

SECONDS_EACH=${SECONDS_EACH:-1}
ROUNDS=${ROUNDS:-8}
failed=0

title() {
	printf '\n== %s\n' "$*"
}

fail() {
	printf 'FAILED: %s\n' "$*"
	failed=1
}

state() {
	cat /sys/kernel/sched_ext/state 2>/dev/null
}

# Forks and affinity changes, until it is killed.
workload() {
	while :; do
		for n in 1 2 3 4 5 6 7 8; do
			taskset 1 true
			(taskset -p 2 "$(exec sh -c 'echo $PPID')" >/dev/null && true)
			sh -c 'i=0; while [ $i -lt 200 ]; do i=$((i + 1)); done'
		done
	done
}

# The cache of the kernel's own cmasks, in the arena of the scheduler.
cmask_cache() {
	for c in /sys/kernel/slab/scx_cmask:*; do
		[ ! -d "$c" ] || echo "${c##*/}"
	done
}

title "scx_qmap schedules forks and affinity changes"
scx_qmap >/tmp/qmap.log 2>&1 &
qmap=$!
# A kernel with lockdep and KASAN takes its time: the VM's timeout is the limit.
n=0
while [ "$(state)" != enabled ] && kill -0 $qmap 2>/dev/null; do
	sleep 1
	n=$((n + 1))
done
if [ "$(state)" = enabled ]; then
	echo "attached: $(cat /sys/kernel/sched_ext/root/ops 2>/dev/null), after $n s"
else
	fail "scx_qmap did not attach"
	cat /tmp/qmap.log
fi
workload >/dev/null 2>&1 &
load=$!
sleep 2

[ -n "$(cmask_cache)" ] || fail "there is no cache for the cmasks of scx_qmap"

title "arenaslab: an object a task, read through mmap"
arenaslab tasks -i "$SECONDS_EACH" -c "$ROUNDS" &
tasks=$!
# What the slab does is looked at before that tool ends and its arena goes.
sleep 1
arenaslab top --once >/tmp/top.log 2>&1 || fail "arenaslab top: status $?"
wait $tasks || fail "arenaslab tasks: status $?"

title "arenaslab: what the slab did meanwhile, in a second"
cat /tmp/top.log

title "scx_qmap ends"
kill $load 2>/dev/null
wait $load 2>/dev/null
tail -n 6 /tmp/qmap.log
kill -INT $qmap 2>/dev/null
n=0
while [ "$(state)" != disabled ] && [ $n -lt 120 ]; do
	sleep 1
	n=$((n + 1))
done
wait $qmap
rc=$?
if [ "$(state)" = disabled ] && [ $rc = 0 ]; then
	echo "detached, after $n s"
else
	fail "scx_qmap did not leave cleanly (state $(state), status $rc)"
	tail -n 20 /tmp/qmap.log
fi
n=0
while [ -n "$(cmask_cache)" ] && [ $n -lt 10 ]; do
	sleep 1
	n=$((n + 1))
done
[ -z "$(cmask_cache)" ] || fail "$(cmask_cache) is still there"
exit $failed
