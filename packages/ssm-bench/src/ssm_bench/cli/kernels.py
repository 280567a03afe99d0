"""``bench kernels``: speed, memory and error of operators, back ends, layers and models."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from ssm_bench.cli.options import Once, add_device, find_device, path, quieten
from ssm_bench.errors import UserError, unknown
from ssm_bench.speed.grid import NAMES, Problem, grid, length_sweep

if TYPE_CHECKING:
    import torch
    from rich.console import Console

EXPLANATION = f"""\
Every back end that can run here computes the same problem in turn: forward with backward, and forward alone
if that is quick. The baseline is naive, the formula itself. The naive form of a layer or a model computes the
kernel as a direct sum and the convolution as an FFT under plain autograd; that of SaShiMi's recurrence steps
block by block. Most problems are then measured again at growing length, for the picture and the file. A back
end that would take too long or too much memory is left out with a sentence. A summary comes last.

With a GPU this one command measures all back ends on it: naive, PyTorch, KeOps (which compiles for a minute
or two at its first use) and the CUDA kernels, with shares of the card's bandwidth and arithmetic. The sizes
take about 20 minutes on 2 CPU cores. Keep the machine idle. Each problem has a process of its own. The table
is written again after each problem, so an interruption loses one problem at most.
To learn whether loaders keep ahead of training, use bench data status --speed.

what the columns say:
  median, quartiles   of at least 5 repetitions, after a first one that is not timed; the file has their number.
                      On a GPU a repetition of a short call is a burst of up to 20 calls and counts their mean
  by                  the back end; auto: the one that a layer or model chooses by itself
  work                f., b.: forward, backward pass; step: a whole training step of a benchmark's recipe, with
                      loss, optimiser and schedule; sample: one sample of SaShiMi's recurrence, the mean of 16
  × naive             median of naive divided by that of the back end
  MiB                 the most that torch's allocator held at once, above inputs and parameters
  flop/s, B/s         arithmetic and least memory traffic of the problem, as shares of the rates of a large
                      float32 matrix product and of a large copy, measured in the same run; the file has the
                      rates. Tensor cores, and data that stay in a cache, can exceed 100 %
  error               the largest error of outputs and gradients against float64, relative to the largest entry;
                      for a training step, the error of a smaller model

operators, layers and models:
{textwrap.fill(", ".join(NAMES), 104, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)}"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = f"{parser.description}\n\n{EXPLANATION}"
    parser.add_argument(
        "--operator", nargs="+", action=Once, default=[], metavar="NAME", help="only these operators, layers, models"
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="instead, print where the time of each training step goes, by kind of work",
    )
    add_device(parser)
    parser.add_argument(
        "--out",
        type=path,
        action=Once,
        default=Path("results/kernels"),
        metavar="DIR",
        help="where table, summary and picture go, named by machine, torch, precision and date (default: %(default)s)",
    )


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
    by_length = [problem for problem in length_sweep(device.type) if problem.name in (args.operator or NAMES)]
    return _measure(chosen, by_length, device, args.out, args.operator, console)


def _profile(problems: list[Problem], device: torch.device, console: Console) -> int:
    from ssm_bench.speed.profiler import step_parts
    from ssm_bench.speed.report import step_table

    trained = [problem for problem in problems if problem.name.endswith("-training")]
    if not trained:
        raise UserError("--profile is for training steps, and --operator names none; leave --operator out.")
    for problem in trained:
        console.print(step_table(problem, step_parts(problem, device)))
    return 0


def _measure(
    problems: list[Problem],
    by_length: list[Problem],
    device: torch.device,
    out: Path,
    chosen: list[str],
    console: Console,
) -> int:
    from ssm_bench.speed.failures import write_traces
    from ssm_bench.speed.length_plot import draw
    from ssm_bench.speed.measure import ceiling, measure_alone
    from ssm_bench.speed.report import (
        as_rich,
        details,
        file_name,
        machine,
        setting,
        summary,
        write_csv,
        write_markdown,
    )

    top, stem = ceiling(device), out / file_name(device, chosen)
    table, lines, picture, log = (stem.with_name(stem.name + end) for end in (".csv", ".md", ".png", ".log"))
    rows, traces, said = [], [], set()
    with console.status("") as status:
        for problem in (*problems, *by_length):
            status.update(f"{problem.name}, L {problem.L}")
            more, omissions = measure_alone(problem, device, top, first_only=problem not in problems)
            rows += more
            write_csv(rows, top, table)
            for omission in omissions:
                if omission.sentence in said:
                    continue
                said.add(omission.sentence)
                sentence = omission.sentence
                if omission.failed:
                    traces.append(f"{sentence}\n{omission.trace}")
                    sentence += f" (traceback in {write_traces(traces, log)})"
                style = "red" if omission.failed else None
                console.print(sentence, soft_wrap=True, style=style, markup=False)
    title = f"{machine(device)}: {top.arithmetic / 1e9:.3g} Gflop/s, {top.bandwidth / 1e9:.3g} GB/s"
    single = [row for row in rows if row.problem in problems]
    console.print(details(single, title))
    console.print(as_rich(*summary(single)))
    write_markdown(*summary(single), f"{title}, {', '.join(setting(device)[1:])}", lines)
    written = [table, lines, *([picture] if draw(rows, ", ".join(setting(device)), picture) else [])]
    console.print(f"Written: {', '.join(map(str, written))}", soft_wrap=True, markup=False)
    return 1 if traces else 0
