"""``bench table``: the results of finished runs, beside the published numbers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ssm_bench.catalog import SCALES, benchmark
from ssm_bench.cli.options import Once, path
from ssm_bench.errors import UserError
from ssm_bench.record import find_records
from ssm_bench.results.formats import FORMATS, as_rich
from ssm_bench.results.table import make_points, make_results


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark")
    parser.add_argument(
        "--scale", action=Once, choices=SCALES, help="default: every scale that has records, with a table for each"
    )
    parser.add_argument(
        "--out",
        type=path,
        nargs="+",
        action=Once,
        default=[Path("runs")],
        metavar="DIR",
        help="folders with records (default: runs)",
    )
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="every point of the sweeps, with the validation numbers that choose among them",
    )
    parser.add_argument("--format", action=Once, choices=["terminal", *FORMATS], default="terminal")


def run(args: argparse.Namespace) -> int:
    chosen = benchmark(args.benchmark)
    found, problems = find_records(args.out)
    for problem in problems:
        print(f"bench: {problem}", file=sys.stderr)
    records = [record for record in found if record.benchmark == chosen.name]
    scales = [args.scale] if args.scale else [s for s in SCALES if any(record.scale == s for record in records)]
    if not scales:
        raise UserError(
            f"There is no record of {chosen.name} in {', '.join(map(str, args.out))}; "
            f"run bench {chosen.name} first, or name the folder with --out."
        )
    if args.sweep and not any(record.sweep for record in records if record.scale in scales):
        raise UserError(f"There is no sweep among these records; run one with bench {chosen.name} --sweep.")
    for scale in scales:
        results = (make_points if args.sweep else make_results)(chosen, scale, records)
        if args.format == "terminal":
            from ssm_bench.cli.console import make_console

            make_console().print(as_rich(results))
        else:
            print(FORMATS[args.format](results), end="")
    return 1 if problems else 0
