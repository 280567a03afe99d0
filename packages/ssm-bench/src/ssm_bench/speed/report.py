"""The rows of a measurement as a file, as a table, and as a summary with one line for each problem."""

import csv
import dataclasses
import io
import math
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import date
from functools import cache
from pathlib import Path

import torch
from rich import box
from rich.table import Table

from ssm_bench.files import write_atomically
from ssm_bench.provenance import code_version
from ssm_bench.speed.grid import Problem
from ssm_bench.speed.measure import Ceiling, Row
from ssm_bench.speed.profiler import Part
from ssm_bench.speed.treatment import treatment


def machine(device: torch.device) -> str:
    """Return the name of the processor and the number of threads, e.g. ``AMD EPYC, 2 threads``, or that of the GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def setting(device: torch.device) -> tuple[str, ...]:
    """Return the setting of a measurement: machine, version of torch, and precision."""
    return machine(device), f"torch {torch.__version__.split('+')[0]}", "float32"


def file_name(device: torch.device, chosen: Sequence[str]) -> str:
    """Return the name of the files without an ending, e.g. ``amd-epyc-2-threads_torch-2.14.1_float32_2026-01-31``.

    Args:
        chosen: the names of the problems if not all are measured. They are appended to the name.
    """
    words = (re.sub(r"[^a-z0-9.]+", "-", word.lower()).strip("-") for word in setting(device))
    return "_".join((*words, date.today().isoformat(), *chosen))


def write_csv(rows: Sequence[Row], top: Ceiling, path: Path) -> None:
    """Write the rows, each with the ceilings that it is compared with (in 1e9 a second) and the version of the code."""
    same = {"ceiling_gflops": top.arithmetic / 1e9, "ceiling_gbytes": top.bandwidth / 1e9, "code": _code()}
    text = io.StringIO()
    names = [each.name for each in dataclasses.fields(Row)]
    writer = csv.DictWriter(text, [*names, *same], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = {**dataclasses.asdict(row), **same}
        writer.writerow({key: f"{cell:.4g}" if isinstance(cell, float) else cell for key, cell in cells.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.getvalue())


@cache
def _code() -> str:
    """Return the version at the first call: the checkout may change while the measurement runs."""
    return code_version()


def details(rows: Sequence[Row], title: str) -> Table:
    """Return a table of the rows for the terminal, with a section for each problem."""
    table = _table(title)
    for name in ("Problem", "B,H,N,L", "By", "Work"):
        table.add_column(name)
    for name in ("Median ms", "× naive", "MiB", "Flop/s", "B/s", "Error"):
        table.add_column(name, justify="right")
    for i, row in enumerate(rows):
        following = rows[i + 1] if i + 1 < len(rows) else None
        table.add_row(
            row.name,
            _size(row.problem),
            row.backend,
            _SHORT.get(row.work, row.work),
            f"{short(row.median_ms)} [{short(row.quartile1_ms)}, {short(row.quartile3_ms)}]",
            short(row.speedup),
            short(row.peak_mib),
            _share(row.gflops_share),
            _share(row.gbytes_share),
            f"{row.error:.1e}",
            end_section=following is None or following.problem != row.problem,
        )
    return table


_SHORT = {"forward+backward": "f.+b.", "forward": "f.", "training step": "step"}
SUMMARY = (
    "Times are those of forward and backward pass if a problem has both, of a whole training step, or of one sample "
    "(sashimi-step, with samples a second). naive: the formula; for a layer or model, direct kernel sums and FFTs "
    "under plain autograd, or steps block by block. ours: the fastest back end that auto may take, or the layer or "
    "model as it is; the columns from × naive on belong to it. peak: its share of the machine's arithmetic (a) or "
    "bandwidth (b), whichever is larger. MiB: torch's allocator above inputs and parameters, naive → ours. RSS: MiB "
    "of a process that runs ours alone, with Python and torch. error: the error of ours over that of naive."
)


def summary(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the lines of the table that has one line for each problem."""
    with_cuda = any(row.backend == "cuda" for row in rows)
    times = [each for each in ("naive", "keops", *(["torch", "tensor-cores"] if with_cuda else [])) if _any(rows, each)]
    with_resident = any(not math.isnan(row.resident_mib) for row in rows)
    lines = []
    for problem in dict.fromkeys(row.problem for row in rows):
        found = [row for row in rows if row.problem == problem]
        by = {row.backend: row for row in found if row.work == found[0].work}
        ours = min((by[each] for each in by if treatment(each).ours), key=lambda row: row.median_ms, default=None)
        if ours is None:
            continue
        naive, ratio = by.get("naive"), ours.error / ours.naive_error if ours.naive_error else math.nan
        line = [problem.name, _size(problem), *(_time(by.get(each)) for each in times), _time(ours)]
        memory = f"{short(naive.peak_mib) if naive else ''} → {short(ours.peak_mib)}".lstrip()
        line += [short(ours.speedup), _peak(ours), memory]
        line += [short(ours.resident_mib)] if with_resident else []
        lines.append([*line, f"{ratio:.2g}"])
    head = ["Problem", "B,H,N,L", *(f"{each} ms" for each in times), "ours ms", "× naive", "peak", "MiB"]
    return [*head, *(["RSS"] if with_resident else []), "error"], lines


def as_rich(head: Sequence[str], lines: Iterable[Sequence[str]]) -> Table:
    """Return a summary for the terminal."""
    table = _table("Summary", SUMMARY)
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i < 2 else "right")
    for line in lines:
        table.add_row(*line)
    return table


def write_markdown(head: Sequence[str], lines: Iterable[Sequence[str]], title: str, path: Path) -> None:
    """Write a summary for a README."""
    rule = [":--" if i < 2 else "--:" for i in range(len(head))]
    table = "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
    write_atomically(path, f"{title}; code {_code()}.\n\n{table}\n\n{SUMMARY}\n")


def step_table(problem: Problem, parts: Sequence[Part]) -> Table:
    """Return a table of the parts of a training step."""
    whole = sum(part.milliseconds for part in parts)
    table = _table(f"{problem.name} ({_size(problem)}): {short(whole)} ms")
    table.add_column("Kind of work", no_wrap=True)
    for name in ("ms", "Share", "Calls"):
        table.add_column(name, justify="right")
    table.add_column("Largest, ms")
    for part in parts:
        largest = ", ".join(f"{name} {short(milliseconds)}" for name, milliseconds in part.largest)
        table.add_row(part.kind, short(part.milliseconds), f"{part.share:.0%}", f"{part.calls:,.0f}", largest)
    return table


def _size(p: Problem) -> str:
    """Return ``B,H,N,L``, then the number of layers of a model."""
    sizes = ",".join(str(size) if size else "-" for size in (p.B, p.H, p.N, p.L))
    return f"{sizes} ×{p.layers}" if p.layers else sizes


def _table(title: str, caption: str | None = None) -> Table:
    return Table(
        title=title, caption=caption, caption_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False
    )


def _any(rows: Sequence[Row], backend: str) -> bool:
    return any(row.backend == backend for row in rows)


def _time(row: Row | None) -> str:
    if row is None:
        return ""
    return short(row.median_ms) + (f" ({1e3 / row.median_ms:,.0f}/s)" if row.work == "sample" else "")


def _peak(row: Row) -> str:
    shares = [(share, letter) for share, letter in ((row.gflops_share, "a"), (row.gbytes_share, "b")) if share >= 0]
    return "{:.0%} {}".format(*max(shares)) if shares else ""


def _share(share: float) -> str:
    return "" if math.isnan(share) else f"{share:.0%}"


def short(number: float) -> str:
    """Format a number with three digits, or as a whole number from 1000 on; nan gives an empty text."""
    if math.isnan(number):
        return ""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"
