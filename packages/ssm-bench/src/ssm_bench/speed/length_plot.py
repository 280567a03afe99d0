"""Time against length on logarithmic axes: a panel for each operator, a line for each back end."""

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from ssm_bench.speed.measure import Row
from ssm_bench.speed.report import short
from ssm_bench.speed.treatment import treatment

_COLUMNS = 3


def draw(rows: Sequence[Row], title: str, path: Path) -> bool:
    """Draw the problems that were measured at several lengths as a PNG. If there are none, return False."""
    drawn = list(panels(rows).values())
    if not drawn:
        return False
    columns = min(_COLUMNS, len(drawn))
    lines = -(-len(drawn) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.9 * lines + 0.9), dpi=150, layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, drawn, strict=False):
        _draw_panel(axes, panel)
    for axes in grid[len(drawn) :]:
        axes.set_axis_off()
    handles = {handle.get_label(): handle for axes in grid for handle in axes.get_legend_handles_labels()[0]}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(title, fontsize=11)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png")
    temporary.replace(path)
    return True


def panels(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return, for each operator or layer, the rows of the sizes with the most lengths, if they have at least two."""
    work = {row.name: row.work for row in sorted(rows, key=lambda row: len(row.work))}  # with the backward pass if any
    families: dict[tuple[str, int, int, int], list[Row]] = defaultdict(list)
    for row in rows:
        if row.work == work[row.name]:
            families[row.name, row.B, row.H, row.N].append(row)
    best: dict[str, list[Row]] = {}
    for (name, *_), family in families.items():
        if len(_lengths(family)) > max(1, len(_lengths(best.get(name, [])))):
            best[name] = family
    return best


def _lengths(rows: Sequence[Row]) -> list[int]:
    return sorted({row.L for row in rows})


def _draw_panel(axes: Axes, rows: Sequence[Row]) -> None:
    for backend in dict.fromkeys(row.backend for row in rows):
        line = sorted((row for row in rows if row.backend == backend), key=lambda row: row.L)
        lengths, look = [row.L for row in line], treatment(backend)
        axes.plot(lengths, [row.median_ms for row in line], "o-", ms=3.5, lw=1.6, color=look.color, label=look.label)
        spread = [row.quartile1_ms for row in line], [row.quartile3_ms for row in line]
        axes.fill_between(lengths, *spread, color=look.color, alpha=0.2, lw=0)
    _note_gain(axes, rows)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(_lengths(rows)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda length, _: f"{length:,.0f}"))
    axes.margins(x=0.12, y=0.2)
    low, high = axes.get_ylim()
    steps = (1.0,) if high > 100 * low else (1.0, 2.0, 5.0)  # so that there are several labels
    axes.yaxis.set_major_locator(LogLocator(subs=steps))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:,g}"))
    axes.grid(True, which="major", color="#dddddd", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    first = rows[0]
    sizes = ", ".join(f"{letter} {size}" for letter, size in (("B", first.B), ("H", first.H), ("N", first.N)) if size)
    axes.set_title(f"{first.name}\n", fontsize=10, loc="left", fontweight="bold", pad=2)
    axes.text(0, 1.02, f"{sizes}; {first.work}", transform=axes.transAxes, fontsize=7.5, color="#555555")
    axes.set_xlabel("L", fontsize=8)
    axes.set_ylabel("ms", fontsize=8, labelpad=1)


def _note_gain(axes: Axes, rows: Sequence[Row]) -> None:
    """Write the speedup of the fastest back end over naive, at the greatest length at which naive was measured."""
    longest = max((row.L for row in rows if not math.isnan(row.speedup)), default=0)
    best = max((row for row in rows if longest == row.L), key=lambda row: row.speedup, default=None)
    if best is not None and best.backend != "naive":
        axes.annotate(
            f"{short(best.speedup)}×",
            (best.L, best.median_ms),
            xytext=(4, -9),
            textcoords="offset points",
            ha="center" if max(_lengths(rows)) == best.L else "left",
            va="top",
            fontsize=8.5,
            color=treatment(best.backend).color,
        )
