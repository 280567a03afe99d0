"""The formats of a results table: terminal, markdown, CSV, JSON. Every name is escaped for its format."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from ssm_bench.results.table import Results, Row, columns, row_texts

#: The note that each table carries, so that nobody mistakes one scale for another.
SCALE_NOTES = {
    "paper": "Paper scale: the published recipes.",
    "mini": "Mini scale: real data cut down; not comparable with published numbers.",
    "smoke": "Smoke scale: generated miniature data, to show that all works; not comparable with published numbers.",
}
CHANCE_NOTE = "* failed in the paper: counted at chance"


def as_rich(results: Results) -> Table:
    """Return the table for a terminal: own rows, then the published ones in a block of their own."""
    table = Table(
        title=escape(results.title),
        caption="\n".join(map(escape, _notes(results))),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for index, column in enumerate(columns(results)):
        table.add_column(
            escape(column), justify="left" if index == 0 else "right", min_width=12 if index == 0 else None
        )
    for row in results.ours:
        table.add_row(*_terminal(results, row))
    if results.published:
        table.add_section()
        table.add_row("[bold]Published[/]")
        for row in results.published:
            table.add_row(*_terminal(results, row), style="dim")
    return table


def as_markdown(results: Results) -> str:
    """Return the table in GitHub's markdown."""
    head = columns(results)
    lines = [f"**{_markdown(results.title)}**. {SCALE_NOTES[results.scale]}", ""]
    lines += [_line(head), _line([":--", *("--:" for _ in head[1:])])]
    lines += [_line(map(_markdown, row_texts(results, row))) for row in results.ours]
    if results.published:
        lines += [_line(["*Published (paper scale)*", *("" for _ in head[1:])])]
        lines += [_line(map(_markdown, row_texts(results, row))) for row in results.published]
    if results.notes:
        lines += ["", *(f"- {_markdown(note)}" for note in results.notes)]
    return "\n".join(lines) + "\n"


def as_csv(results: Results) -> str:
    """Return one row per model, with means and standard deviations; ``kind`` is ``own`` or ``published``."""
    tasks = list(results.benchmark.tasks)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "scale", "model", "seeds", *(f"{t}{s}" for t in tasks for s in ("", "_std")), "average"])
    for kind, scale, rows in (
        ("own", results.scale, results.ours),
        ("published", "paper", results.published),
    ):
        for row in rows:
            numbers: list[Any] = []
            for task in tasks:
                value = row.values.get(task)
                numbers += [_round(value.mean if value else None), _round(value.std if value else None)]
            average = _round(row.average.mean if row.average else None)
            writer.writerow([kind, scale, _no_formula(row.model), row.seeds, *numbers, average])
    return text.getvalue()


def as_json(results: Results) -> str:
    """Return the table as strict JSON."""

    def plain(row: Row) -> dict[str, Any]:
        return {
            "model": row.model,
            "seeds": row.seeds,
            "values": {
                task: {"mean": v.mean, "std": v.std, "n": v.n, "diverged": v.diverged} for task, v in row.values.items()
            },
            "average": row.average.mean if row.average else None,
        }

    content = {
        "benchmark": results.benchmark.name,
        "version": results.benchmark.version,
        "scale": results.scale,
        "split": results.split,
        "own": [plain(row) for row in results.ours],
        "published": [plain(row) | {"source": row.source} for row in results.published],
        "notes": results.notes,
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _notes(results: Results) -> list[str]:
    marked = any(value.mark for row in results.published for value in row.values.values())
    return [SCALE_NOTES[results.scale], *results.notes, *([CHANCE_NOTE] if marked else [])]


def _terminal(results: Results, row: Row) -> list[str]:
    return [escape(_printable(text)) for text in row_texts(results, row)]


def _printable(text: str) -> str:
    """Show control characters, which could move the cursor of a terminal or break a line, as their escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _markdown(text: str) -> str:
    """Escape what markdown or HTML would interpret."""
    text = _printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`|\[\]_]|\*(?!$))", r"\\\1", text)


def _no_formula(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would run as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _line(words: Iterable[str]) -> str:
    return "| " + " | ".join(words) + " |"


def _round(value: float | None) -> float | str:
    return "" if value is None else round(value, 4)


FORMATS = {"markdown": as_markdown, "csv": as_csv, "json": as_json}
