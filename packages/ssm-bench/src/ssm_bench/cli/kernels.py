"""``bench kernels``: speed, memory and error of operators, back ends and layers."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ssm_bench.errors import UserError, unknown
from ssm_bench.kernel_bench.grid import GRID, NAMES

EXPLANATION = f"""\
Every back end that can run here computes the same problem in turn, forward and forward with backward,
beside naive, the formula itself. A layer's naive is a straightforward one: direct kernel sum, FFT under
plain autograd, transposed layouts. The long problems take minutes on a CPU; keep the machine idle.
The file is written anew after each problem, so what is done survives an interruption.

what the columns say:
  median [quartiles]  over at least 3 repetitions, after an untimed first
  by                  the back end; auto: what a layer chooses by itself
  × naive             median of naive over the back end's
  MiB                 most that torch's allocator held at once, above the inputs
  Gflop/s, GB/s       arithmetic and least memory traffic of the problem a second; in brackets the share of a
                      large float32 matrix product's, and of a large copy's, measured in the same run
  error               largest of outputs and gradients against float64, relative to the largest entry

operators and layers: {", ".join(NAMES)}"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = f"{parser.description}\n\n{EXPLANATION}"
    parser.add_argument("--operator", nargs="+", default=[], metavar="NAME", help="only these operators or layers")
    add_device(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results/kernels"),
        metavar="DIR",
        help="where the CSV goes; its name carries machine, torch, precision and date (default: results/kernels)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="cpu|cuda", help="default: cuda where there is one, else cpu")


def run(args: argparse.Namespace) -> int:
    for name in args.operator:
        if name not in NAMES:
            raise unknown("operator or layer", name, NAMES)
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # the profiler's own messages; it is how memory is counted
    device = find_device(args.device)

    from ssm_bench.cli.console import make_console
    from ssm_bench.kernel_bench.measure import ceiling, measure
    from ssm_bench.kernel_bench.report import as_rich, file_name, machine, write_csv

    console = make_console()
    top, path = ceiling(device), args.out / file_name(device)
    rows, failed = [], False
    with console.status("") as status:
        for problem in GRID:
            if problem.name in (args.operator or NAMES):
                status.update(f"{problem.name}, L {problem.L}")
                more, omissions = measure(problem, device, top)
                rows += more
                failed |= any(omission.failed for omission in omissions)
                write_csv(rows, top, path)
                for omission in omissions:
                    console.print(omission.sentence, soft_wrap=True, style="red" if omission.failed else None)
    title = f"{machine(device)}: {top.arithmetic / 1e9:.3g} Gflop/s, {top.bandwidth / 1e9:.3g} GB/s"
    console.print(as_rich(rows, title))
    console.print(f"Written: {path}", soft_wrap=True)
    return 1 if failed else 0


def find_device(name: str | None):
    """The torch device of that name, or the best one here."""
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"There is no device '{name}'; say cpu or cuda.") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device takes cpu or cuda, not '{name}'.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("torch finds no CUDA device here; say --device cpu.")
    return device
