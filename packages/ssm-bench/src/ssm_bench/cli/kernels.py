"""``bench kernels``: speed, memory and error of operators, back ends and layers."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ssm_bench.errors import UserError, unknown
from ssm_bench.kernel_bench.grid import GRID, NAMES, Problem, sweep

EXPLANATION = f"""\
Every back end that can run here computes the same problem in turn, forward with backward and (where that
is quick) forward alone, beside naive, the formula itself. A layer's naive is a straightforward one: direct
kernel sum, FFT under plain autograd, transposed layouts. Then most of them at growing length, for the
picture and the file. What would take too long or too much memory is left out with a sentence.

With a GPU this one command measures all there is on it: naive, PyTorch, KeOps (which compiles for a minute
or two at its first use) and the CUDA kernels, with shares of the card's bandwidth and arithmetic. Sizes are
chosen for about 5 minutes on 2 CPU cores, and are meant to take less than 8 on a data centre GPU. Keep
the machine idle. The table is written anew after each problem, so what is done survives an interruption.

what the columns say:
  median [quartiles]  over at least 3 repetitions, after an untimed first; the table holds their number.
                      On a GPU a repetition of a short call is a burst of up to 20 and counts their mean
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
        help="where table and picture go, named by machine, torch, precision and date (default: results/kernels)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="cpu|cuda", help="default: cuda where there is one, else cpu")


def run(args: argparse.Namespace) -> int:
    for name in args.operator:
        if name not in NAMES:
            raise unknown("operator or layer", name, NAMES)
    quieten()
    device = find_device(args.device)

    from ssm_bench.cli.console import make_console
    from ssm_bench.kernel_bench.measure import PASSES, ceiling, measure
    from ssm_bench.kernel_bench.plot import draw
    from ssm_bench.kernel_bench.report import as_rich, file_name, machine, setting, write_csv

    console = make_console()
    top, path = ceiling(device), args.out / file_name(device, args.operator)
    table, picture = path.with_name(f"{path.name}.csv"), path.with_name(f"{path.name}.png")
    problems = [(problem, PASSES) for problem in GRID] + [(problem, PASSES[:1]) for problem in sweep(device.type)]
    rows, failed, said = [], False, set()
    with console.status("") as status:
        for problem, passes in problems:
            if problem.name in (args.operator or NAMES):
                status.update(f"{problem.name}, L {problem.L}")
                more, omissions = measure(problem, device, top, passes)
                rows += more
                failed |= any(omission.failed for omission in omissions)
                write_csv(rows, top, table)
                for omission in omissions:
                    if omission not in said:
                        console.print(omission.sentence, soft_wrap=True, style="red" if omission.failed else None)
                    said.add(omission)
    title = f"{machine(device)}: {top.arithmetic / 1e9:.3g} Gflop/s, {top.bandwidth / 1e9:.3g} GB/s"
    single = [row for row in rows if Problem(row.name, row.B, row.H, row.N, row.L) in GRID]
    console.print(as_rich(single, title))
    drawn = draw(rows, ", ".join(setting(device)), picture)
    console.print(f"Written: {table}{f' and {picture}' if drawn else ''}", soft_wrap=True)
    return 1 if failed else 0


def quieten() -> None:
    """Spares the reader messages of the profiler, which counts memory, and of KeOps; before either is imported."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    os.environ.setdefault("PYKEOPS_VERBOSE", "0")


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
