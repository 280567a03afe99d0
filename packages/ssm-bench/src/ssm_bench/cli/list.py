"""``bench list``: what can be run."""

from __future__ import annotations

import argparse

from ssm_bench.catalog import CUSTOM, SCALES, benchmark, benchmarks


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark", nargs="?", help="one benchmark only")


def run(args: argparse.Namespace) -> int:
    from rich.table import Table

    from ssm_bench.cli.console import make_console

    table = Table("Benchmark", "Tasks", "Models", "Scales")
    for one in [benchmark(args.benchmark)] if args.benchmark else benchmarks().values():
        models = [name for name in one.models if name != CUSTOM]
        table.add_row(
            f"[bold]{one.name}[/]\n{one.title}",
            "\n".join(one.tasks),
            "\n".join([*models, "path/to/file.py:Class"]),
            "\n".join(SCALES),
            end_section=True,
        )
    make_console().print(table)
    return 0
