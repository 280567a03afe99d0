"""The rows of a measurement as a file and as a table."""

import csv
import dataclasses
import io
import platform
import re
from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path

import torch
from rich.table import Table

from ssm_bench.kernel_bench.measure import Ceiling, Row
from ssm_bench.record import code_version, write_atomically


def machine(device: torch.device) -> str:
    """The processor that computes, and how many threads of it, e.g. ``AMD EPYC, 2 threads``."""
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
    """What figures belong to: machine, torch and precision."""
    return machine(device), f"torch {torch.__version__.split('+')[0]}", "float32"


def file_name(device: torch.device, chosen: Sequence[str]) -> str:
    """The setting, the date, and the chosen names where not all are measured; without an ending:
    ``amd-epyc-2-threads_torch-2.14.1_float32_2026-01-31``."""
    words = (re.sub(r"[^a-z0-9.]+", "-", word.lower()).strip("-") for word in setting(device))
    return "_".join((*words, date.today().isoformat(), *chosen))


def write_csv(rows: Sequence[Row], top: Ceiling, path: Path) -> None:
    """The rows, each with the ceilings it is compared with (1e9 a second) and the version of the code."""
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
    """The version as the measurement begins: a checkout may move on meanwhile."""
    return code_version()


def as_rich(rows: Sequence[Row], title: str) -> Table:
    """The rows in a table for the terminal, a section for each problem."""
    table = Table(title=title)
    for name in ("Operator", "B,H,N,L", "By", "Pass"):
        table.add_column(name, no_wrap=True)
    for name in ("Median ms", "× naive", "MiB", "Gflop/s", "GB/s", "Error"):
        table.add_column(name, justify="right")
    for i, row in enumerate(rows):
        sizes = row.B, row.H, row.N, row.L
        following = rows[i + 1] if i + 1 < len(rows) else None
        table.add_row(
            row.name,
            ",".join(str(size) if size else "-" for size in sizes),
            row.backend,
            "+".join(f"{each[:3]}." for each in row.work.split("+")),
            f"{_short(row.median_ms)} [{_short(row.quartile1_ms)}, {_short(row.quartile3_ms)}]",
            _short(row.speedup),
            _short(row.peak_mib),
            f"{row.gflops:.3g} ({row.gflops_share:.0%})",
            f"{row.gbytes:.3g} ({row.gbytes_share:.0%})",
            f"{row.error:.1e}",
            end_section=following is None or (following.name, following.L) != (row.name, row.L),
        )
    return table


def _short(number: float) -> str:
    """Three digits, and whole numbers from 1000 on."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"
