#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Plot what `arenaslab bench --json` measured, as an SVG, or write it as tables.

Usage: bench_plot.py FIGURES.json PLOT.svg
       bench_plot.py --merge ALL.json FIGURES.json...
       bench_plot.py --tables DOCUMENT.rst MACHINE=FIGURES.json...

The tables have all of it: a section for each work, with a table for each machine. In the plot,
above, instructions of a pair of 64 bytes against the objects that are live; below, of a
hot pair by peer and size; the median of the rounds, with a line from the fastest to the slowest
one. An instruction is a nanosecond in what was measured with -icount. What the loop itself takes
is subtracted, as in the tool's tables. Nothing is needed but Python, and nothing but a browser
to look at it: colours are for light and dark, the font is the reader's.
"""
import json
import math
import sys

WIDTH, HEIGHT = 800, 790
LEFT, RIGHT = 62, 20

# A hue for each peer, which reads on white and on black
COLOURS = {
    "kmem_cache": "#888888",
    "kmalloc_nolock": "#b09060",
    "bpf_mem_alloc": "#c07fb8",
    "gen_pool": "#d9822b",
    "arena_pages": "#c0504d",
    "arena_cache": "#2b83d9",
    "arena_cache_nolock": "#5bb0e8",
    "bpf:arena_alloc": "#2f9e63",
    "bpf:obj_new": "#a569bd",
    "bpf:arena_pages": "#e07a6a",
    "bpf:buddy": "#b8a020",
    "bpf:page_frag": "#6aa6a6",
}
LINES = ("gen_pool", "arena_cache", "kmem_cache")
KINDS = {"live": "", "replace": ' stroke-dasharray="6 4"'}

STYLE = """
svg { background: #ffffff; }
text { font-family: system-ui, sans-serif; font-size: 12px; fill: #222222; }
.title { font-size: 14px; font-weight: bold; }
.axis { stroke: #444444; }
.grid { stroke: #dddddd; }
@media (prefers-color-scheme: dark) {
  svg { background: #14171a; }
  text { fill: #dddddd; }
  .axis { stroke: #aaaaaa; }
  .grid { stroke: #33383d; }
}
"""


def fail(text):
    sys.exit(f"error: {text}")


def load(name):
    try:
        with open(name, encoding="utf-8") as f:
            figures = json.load(f)
    except (OSError, ValueError) as e:
        fail(f"{name}: {e}")
    if not isinstance(figures, list):
        fail(f"{name}: no array of figures")
    return figures


def escape(text):
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def is_null(peer):
    return peer in ("null", "bpf:null")


def table(figures):
    """(work, peer, size) -> nanoseconds of a pair, without the loop: median, min, max; live."""
    raw = {(f["work"], f["peer"], f["size"]): f for f in figures if f["unit"] == "ns"}
    out = {}
    for (work, peer, size), f in raw.items():
        null = raw.get((work, "bpf:null" if peer.startswith("bpf:") else "null", size))
        if not is_null(peer):
            loop = null["median"] if null else 0
            out[work, peer, size] = [max(f[k] - loop, 1) for k in ("median", "min", "max")], f["live"]
    return out


class Plot:
    def __init__(self):
        self.parts = []

    def add(self, text):
        self.parts.append(text)

    def text(self, x, y, text, anchor="start", cls=""):
        cls = f' class="{cls}"' if cls else ""
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{cls}>{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, cls):
        self.add(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{cls}"/>')

    def spread(self, x, scale, ns):
        """Where it can be seen."""
        if ns[2] > 1.02 * ns[1]:
            self.line(x, scale.y(ns[1]), x, scale.y(ns[2]), "axis")

    def svg(self):
        return ('<!-- SPDX-License-Identifier: GPL-2.0 -->\n<!-- made by vm/bench_plot.py -->\n'
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
                f'width="{WIDTH}" height="{HEIGHT}">\n<style>{STYLE}</style>\n' +
                "\n".join(self.parts) + "\n</svg>\n")


def said(ns):
    return f"{ns[0]:,.0f} ({ns[1]:,.0f} to {ns[2]:,.0f})"


class Scale:
    """Values by their logarithm, from a power of ten to another one."""

    def __init__(self, values, top, bottom):
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)
        self.top, self.bottom = top, bottom

    def y(self, v):
        return self.bottom - (math.log10(v) - self.low) / (self.high - self.low) * (self.bottom - self.top)

    def draw(self, plot):
        for e in range(self.low, self.high + 1):
            y = self.y(10 ** e)
            plot.line(LEFT, y, WIDTH - RIGHT, y, "grid")
            plot.text(LEFT - 6, y + 4, f"{10 ** e:,}", "end")
        plot.line(LEFT, self.top, LEFT, self.bottom, "axis")
        plot.line(LEFT, self.bottom, WIDTH - RIGHT, self.bottom, "axis")


def legend(plot, peers, y):
    x = LEFT
    for peer in peers:
        width = 30 + 7.4 * len(peer)
        if x + width > WIDTH - RIGHT:
            x, y = LEFT, y + 18
        plot.add(f'<rect x="{x:.1f}" y="{y - 10:.1f}" width="12" height="12" fill="{COLOURS.get(peer, "#777777")}"/>')
        plot.text(x + 16, y, peer)
        x += width
    return y


def by_live(plot, pairs, top, bottom):
    lines = {}
    for (work, peer, size), (ns, live) in pairs.items():
        kind = work.partition("-")[0]
        if kind in KINDS and size == 64 and peer in LINES:
            lines.setdefault((peer, kind), []).append((live, ns))
    plot.text(LEFT, top - 38, "Instructions of a pair of 64 bytes, by live objects (dashed: a random one, and back)",
              cls="title")
    if not lines:
        plot.text(LEFT, top + 20, "not measured")
        return
    legend(plot, [p for p in LINES if any(peer == p for peer, _ in lines)], top - 16)
    scale = Scale([v for points in lines.values() for _, ns in points for v in ns], top, bottom)
    scale.draw(plot)
    # None has no logarithm: it stands one step before the first that has one
    lives = sorted({live for points in lines.values() for live, _ in points})
    steps = [math.log10(live) for live in lives if live]
    low = min(steps, default=1) - 1
    span = max(max(steps, default=2) - low, 1)

    def x(live):
        at = (math.log10(live) if live else low) - low
        return LEFT + 30 + at / span * (WIDTH - RIGHT - LEFT - 60)

    for live in lives:
        plot.text(x(live), bottom + 18, f"{live:,}", "middle")
    for (peer, kind), points in sorted(lines.items()):
        points.sort()
        path = " ".join(f"{x(live):.1f},{scale.y(ns[0]):.1f}" for live, ns in points)
        plot.add(f'<polyline points="{path}" fill="none" stroke-width="2.5" stroke="{COLOURS[peer]}"'
                 f'{KINDS[kind]}/>')
        for live, ns in points:
            plot.spread(x(live), scale, ns)
            plot.add(f'<circle cx="{x(live):.1f}" cy="{scale.y(ns[0]):.1f}" r="3.5" fill="{COLOURS[peer]}">'
                     f'<title>{escape(peer)}, {live:,} live: {said(ns)}</title></circle>')


def by_size(plot, pairs, top, bottom):
    hot = {(peer, size): ns for (work, peer, size), (ns, _) in pairs.items() if work == "hot"}
    plot.text(LEFT, top - 72, "Instructions of a hot pair, by size in bytes", cls="title")
    if not hot:
        plot.text(LEFT, top + 20, "not measured")
        return
    peers = [p for p in COLOURS if any(peer == p for peer, _ in hot)]
    sizes = sorted({size for _, size in hot})
    legend(plot, peers, top - 52)
    scale = Scale([v for ns in hot.values() for v in ns], top, bottom)
    scale.draw(plot)
    group = (WIDTH - RIGHT - LEFT) / len(sizes)
    bar = group * 0.86 / len(peers)
    for i, size in enumerate(sizes):
        plot.text(LEFT + (i + 0.5) * group, bottom + 18, f"{size:,}", "middle")
        for j, peer in enumerate(peers):
            if (peer, size) not in hot:
                continue
            ns = hot[peer, size]
            x = LEFT + i * group + group * 0.07 + j * bar
            plot.add(f'<rect x="{x:.1f}" y="{scale.y(ns[0]):.1f}" '
                     f'width="{bar * 0.9:.1f}" height="{max(bottom - scale.y(ns[0]), 0.5):.1f}" '
                     f'fill="{COLOURS[peer]}"><title>{escape(peer)}, {size:,} bytes: {said(ns)}</title></rect>')
            plot.spread(x + bar * 0.45, scale, ns)


def by_machine(args):
    out = []
    for arg in args:
        machine, equals, name = arg.partition("=")
        if not equals:
            fail(f"{arg}: MACHINE=FIGURES.json is wanted")
        out.append((machine, load(name)))
    return out


def cell(f, loop):
    """The median, and half of what is between the fastest and the slowest round."""
    value = max(f["median"] - loop, 0)
    text = f"{value:,.0f}" if value >= 99.5 else f"{value:.3g}"
    spread = (f["max"] - f["min"]) / 2 / value * 100 if value else 0
    return f"{text} ~{min(spread, 999):.0f}%" if spread >= 0.5 else text


def rst_table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rule = "  ".join("=" * w for w in widths)
    # A field of its own in the first column may not be empty
    lines = ["  ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])])
             for row in rows]
    return [rule, lines[0].rstrip(), rule, *(line.rstrip() for line in lines[1:]), rule, ""]


def work_table(figures):
    """Peers by sizes; or one column, where nothing has a size."""
    raw = {(f["peer"], f["size"]): f for f in figures}
    sizes = sorted({size for _, size in raw})
    peers = [p for p in dict.fromkeys(f["peer"] for f in figures)
             if not is_null(p) or len({f["peer"] for f in figures}) == 1]
    rows = [["allocator"] + [f"{size:,} B" if size else "all" for size in sizes]]
    for peer in peers:
        null = "bpf:null" if peer.startswith("bpf:") else "null"
        row = [peer]
        for size in sizes:
            f, loop = raw.get((peer, size)), raw.get((null, size))
            timed = f and f["unit"] == "ns" and loop and not is_null(peer)
            row.append(cell(f, loop["median"] if timed else 0) if f else "-")
        rows.append(row)
    return rst_table(rows)


UNITS = {
    "ns": "Instructions of a pair, or of what the name says; the loop is taken off",
    "us": "Thousands of instructions; of two CPUs, microseconds",
    "bytes": "Bytes",
    "ops/s": "Pairs in a second",
}


def tables(machines):
    works = dict.fromkeys((f["work"], f["unit"]) for _, figures in machines for f in figures)
    title = "All figures of slab caches in BPF arenas"
    out = [".. SPDX-License-Identifier: GPL-2.0", "..",
           "   Written by vm/bench_plot.py from what ``arenaslab bench`` measured", "",
           "=" * len(title), title, "=" * len(title), "",
           "The median of the rounds; behind ``~`` half of what is between the fastest and the "
           "slowest", "round, if that is half a percent or more. What a work is, and which allocators "
           "these are,", "Documentation/mm/slab_arena.rst tells.", ""]
    for work, unit in works:
        out += [work, "-" * len(work), "", UNITS.get(unit, unit) + ".", ""]
        for machine, figures in machines:
            mine = [f for f in figures if (f["work"], f["unit"]) == (work, unit)]
            if mine:
                out += [f"{machine}:", "", *work_table(mine)]
    return "\n".join(out).rstrip("\n") + "\n"


def main(args):
    if len(args) >= 3 and args[0] == "--merge":
        figures = [f for name in args[2:] for f in load(name)]
        text = "[\n" + ",\n".join(json.dumps(f, separators=(",", ":")) for f in figures) + "\n]\n"
        out = args[1]
    elif len(args) >= 3 and args[0] == "--tables":
        text = tables(by_machine(args[2:]))
        out = args[1]
    elif len(args) == 2:
        pairs = table(load(args[0]))
        plot = Plot()
        by_live(plot, pairs, 66, 330)
        by_size(plot, pairs, 470, 750)
        text = plot.svg()
        out = args[1]
    else:
        sys.stderr.write(__doc__)
        sys.exit(2)
    try:
        with open(out, "w", encoding="utf-8") as f:
            f.write(text)
    except OSError as e:
        fail(f"{out}: {e}")


if __name__ == "__main__":
    main(sys.argv[1:])
