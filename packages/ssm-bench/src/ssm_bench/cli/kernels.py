"""``bench kernels``: speed, memory and error of operators, back ends, layers and models."""

from __future__ import annotations

import argparse
import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from ssm_bench.errors import UserError, unknown
from ssm_bench.kernel_bench.grid import NAMES, Problem, grid, sweep

if TYPE_CHECKING:
    import torch
    from rich.console import Console

EXPLANATION = f"""\
Every back end that can run here computes the same problem in turn, forward with backward and (where that
is quick) forward alone, beside naive, the formula itself. The naive form of a layer or a model is of
straightforward layers: direct kernel sum, FFT under plain autograd, transposed layouts; of SaShiMi's
recurrence, steps block by block. Then most of them at growing length, for the picture and the file. What
would take too long or too much memory is left out with a sentence. A summary ends it.

With a GPU this one command measures all there is on it: naive, PyTorch, KeOps (which compiles for a minute
or two at its first use) and the CUDA kernels, with shares of the card's bandwidth and arithmetic. Sizes are
chosen for some 20 minutes on 2 CPU cores. Keep the machine idle. Each problem has a process of its
own. The table is written anew after each problem, so what is done survives an interruption.
Whether loaders keep ahead of training is told by bench data status --speed.

what the columns say:
  median, quartiles   over at least 5 repetitions, after an untimed first; the table holds their number.
                      On a GPU a repetition of a short call is a burst of up to 20 and counts their mean
  by                  the back end; auto: what a layer or model chooses by itself
  work                f., b.: forward, backward pass; step: a whole training step, with loss, optimiser and
                      schedule, of a benchmark's recipe; sample: one of SaShiMi's recurrence, the mean of 16
  × naive             median of naive over the back end's
  MiB                 most that torch's allocator held at once, above inputs and parameters
  flop/s, B/s         arithmetic and least memory traffic of the problem, as shares of a large float32 matrix
                      product's and of a large copy's, measured in the same run; the file has the rates.
                      Tensor cores, and what stays in a cache, can pass 100 %
  error               largest of outputs and gradients against float64, relative to the largest entry; that
                      of a training step is a smaller model's

operators, layers and models:
{textwrap.fill(", ".join(NAMES), 104, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)}"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = f"{parser.description}\n\n{EXPLANATION}"
    parser.add_argument(
        "--operator", nargs="+", default=[], metavar="NAME", help="only these operators, layers, models"
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="instead, print where the time of each training step goes, by kind of work",
    )
    add_device(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results/kernels"),
        metavar="DIR",
        help="where table, summary and picture go, named by machine, torch, precision and date (default: %(default)s)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="cpu|cuda", help="default: cuda where there is one, else cpu")


def run(args: argparse.Namespace) -> int:
    for name in args.operator:
        if name not in NAMES:
            raise unknown("operator, layer or model", name, NAMES)
    quieten()
    device = find_device(args.device)

    from ssm_bench.cli.console import make_console

    console = make_console()
    chosen = [problem for problem in grid(device.type) if problem.name in (args.operator or NAMES)]
    if args.profile:
        return _profile(chosen, device, console)
    swept = [problem for problem in sweep(device.type) if problem.name in (args.operator or NAMES)]
    return _measure(chosen, swept, device, args.out, args.operator, console)


def _profile(problems: list[Problem], device: torch.device, console: Console) -> int:
    from ssm_bench.kernel_bench.profile import profile
    from ssm_bench.kernel_bench.report import profile_table

    trained = [problem for problem in problems if problem.name.endswith("-training")]
    if not trained:
        raise UserError("--profile is for training steps, and none is among these; leave --operator out.")
    for problem in trained:
        console.print(profile_table(problem, profile(problem, device)))
    return 0


def _measure(
    problems: list[Problem], swept: list[Problem], device: torch.device, out: Path, chosen: list[str], console: Console
) -> int:
    from ssm_bench.kernel_bench.measure import ceiling, measure_alone
    from ssm_bench.kernel_bench.plot import draw
    from ssm_bench.kernel_bench.report import (
        as_rich,
        details,
        file_name,
        machine,
        setting,
        summary,
        write_csv,
        write_markdown,
    )

    top, path = ceiling(device), out / file_name(device, chosen)
    table, lines, picture = (path.with_name(path.name + ending) for ending in (".csv", ".md", ".png"))
    rows, failed, said = [], False, set()
    with console.status("") as status:
        for problem in (*problems, *swept):
            status.update(f"{problem.name}, L {problem.L}")
            more, omissions = measure_alone(problem, device, top, first_only=problem not in problems)
            rows += more
            failed |= any(omission.failed for omission in omissions)
            write_csv(rows, top, table)
            for omission in omissions:
                if omission not in said:
                    console.print(omission.sentence, soft_wrap=True, style="red" if omission.failed else None)
                said.add(omission)
    title = f"{machine(device)}: {top.arithmetic / 1e9:.3g} Gflop/s, {top.bandwidth / 1e9:.3g} GB/s"
    single = [row for row in rows if row.problem in problems]
    console.print(details(single, title))
    console.print(as_rich(*summary(single)))
    write_markdown(*summary(single), f"{title}, {', '.join(setting(device)[1:])}", lines)
    written = [table, lines, *([picture] if draw(rows, ", ".join(setting(device)), picture) else [])]
    console.print(f"Written: {', '.join(map(str, written))}", soft_wrap=True)
    return 1 if failed else 0


def quieten() -> None:
    """Spares the reader messages of the profiler, which counts memory, and of KeOps; before either is imported."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
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
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"There is no '{name}'; torch finds {torch.cuda.device_count()} of CUDA, from cuda:0 on.")
    return device
