# SPDX-License-Identifier: GPL-2.0
"""Count the instructions from one call of a function to the next, by function.

Run by gdb (vm/profile.sh), which is attached to a VM of one CPU. QEMU's single step
leaves interrupts and timers alone.

Environment: ENTRY, the function; SKIP, how many calls to let go first; START, a function
behind whose first call to begin with that; LIST, a file that gets each instruction, under the
function it is in, with what was inlined there and its line in the source; TABLE, one for the
counts, since stdout is gdb's own.
"""
import collections
import os

import gdb

MAX_STEPS = 200000


def place(pc):
    """What the compiler inlined at @pc, and the function that it is in."""
    symbol = gdb.execute(f"info symbol {pc:#x}", to_string=True).split()
    outer = symbol[0] if symbol and not symbol[0].startswith("No") else "(program)"
    inner = outer
    block = gdb.block_for_pc(pc)
    while block:
        if block.function:
            inner = block.function.name
            break
        block = block.superblock
    return inner, outer


def line(pc):
    """Where @pc comes from, as file:line."""
    at = gdb.find_pc_line(pc)
    return f"{os.path.basename(at.symtab.filename)}:{at.line}" if at.symtab else ""


def run_to(function, skip):
    """Returns the address of @function, once it was called @skip times."""
    stop = gdb.Breakpoint(f"*{function}", type=gdb.BP_HARDWARE_BREAKPOINT)
    stop.ignore_count = skip
    stop.silent = True
    gdb.execute("continue", to_string=True)
    if not gdb.selected_inferior().pid:
        raise gdb.GdbError(f"{function}() was not called {skip + 1} times")
    stop.delete()
    return gdb.selected_frame().pc()


def main():
    if os.environ["START"]:
        run_to(os.environ["START"], 0)
    start = run_to(os.environ["ENTRY"], int(os.environ["SKIP"]))

    counts = collections.Counter()
    known = {}
    pc = start
    function = None
    with open(os.environ["LIST"], "w", encoding="utf-8") as out:
        for step in range(MAX_STEPS):
            if pc not in known:
                text = gdb.execute(f"x/i {pc:#x}", to_string=True)
                # Without what is the same for each: "=>", address, symbol, white space
                known[pc] = place(pc), line(pc), " ".join(text.split(":", 1)[1].split())
            where, source, text = known[pc]
            counts[where] += 1
            if where[1] != function:
                function = where[1]
                out.write(f"{function}:\n")
            inner = where[0] if where[0] != function else ""
            out.write(f"{step + 1:5}  {text:48}  {source:22}  {inner}".rstrip() + "\n")
            gdb.execute("stepi", to_string=True)
            pc = gdb.selected_frame().pc()
            if pc == start:
                break
        else:
            raise gdb.GdbError(f"no second call in {MAX_STEPS} instructions")

    with open(os.environ["TABLE"], "w", encoding="utf-8") as out:
        show(counts, out)


def show(counts, out):
    """Print them by function, and what is inlined into each."""
    outers = collections.Counter()
    for (_, outer), n in counts.items():
        outers[outer] += n
    for outer, total in outers.most_common():
        print(f"{total:6}  {outer}", file=out)
        for (inner, of), n in counts.most_common():
            if of == outer and (inner != outer or n != total):
                print(f"        {n:6}  {inner if inner != outer else '(itself)'}", file=out)
    print(f"{sum(counts.values()):6}  in all", file=out)


try:
    main()
finally:
    gdb.execute("kill")
