#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What `make run` shows, in the VM: a sched_ext scheduler whose cmasks are slab
# objects of its arena, tracing programs that keep an object a task, user space
# that reads them all, and what the slab did for it.
#
# Ends with 0 only if all of it worked.

SECONDS_EACH=${SECONDS_EACH:-1}
ROUNDS=${ROUNDS:-5}
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

# The slab caches that live in an arena.
caches() {
	for c in /sys/kernel/slab/*arena*; do
		[ -d "$c" ] && [ ! -L "$c" ] && printf '%s\n' "$c"
	done
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

show_caches() {
	printf '%-36s %8s %8s %8s %8s %12s %12s\n' cache size objects total slabs allocated freed
	for c in $(caches); do
		# The statistics' first word is the sum over all CPUs.
		read -r alloc _ <"$c/alloc_fastpath" 2>/dev/null || alloc='?'
		read -r slow _ <"$c/alloc_slowpath" 2>/dev/null || slow=0
		read -r free _ <"$c/free_fastpath" 2>/dev/null || free='?'
		read -r fslow _ <"$c/free_slowpath" 2>/dev/null || fslow=0
		read -r objects _ <"$c/objects" 2>/dev/null || objects='?'
		read -r total _ <"$c/total_objects" 2>/dev/null || total='?'
		read -r slabs _ <"$c/slabs" 2>/dev/null || slabs='?'
		read -r size <"$c/object_size" 2>/dev/null || size='?'
		printf '%-36s %8s %8s %8s %8s %12s %12s\n' "${c##*/}" "$size" "$objects" "$total" "$slabs" \
			"$((alloc + slow))" "$((free + fslow))"
	done
}

title "scx_qmap schedules forks and affinity changes"
scx_qmap >/tmp/qmap.log 2>&1 &
qmap=$!
n=0
while [ "$(state)" != enabled ] && [ $n -lt 60 ] && kill -0 $qmap 2>/dev/null; do
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

if command -v arenaslab >/dev/null; then
	title "arenaslab: an object a task, read through mmap"
	arenaslab tasks -i "$SECONDS_EACH" -c "$ROUNDS" || fail "arenaslab tasks: status $?"
else
	sleep "$ROUNDS"
fi

title "the slab"
if [ -n "$(caches)" ]; then
	show_caches
else
	echo "no cache in an arena"
fi

title "scx_qmap ends"
kill $load 2>/dev/null
wait $load 2>/dev/null
tail -n 6 /tmp/qmap.log
kill -INT $qmap 2>/dev/null
n=0
while [ "$(state)" != disabled ] && [ $n -lt 30 ]; do
	sleep 1
	n=$((n + 1))
done
wait $qmap
rc=$?
if [ "$(state)" = disabled ] && [ $rc = 0 ]; then
	echo "detached, after $n s; tasks scheduled: $(cat /sys/kernel/sched_ext/enable_seq 2>/dev/null)"
else
	fail "scx_qmap did not leave cleanly (state $(state), status $rc)"
	tail -n 20 /tmp/qmap.log
fi
exit $failed
