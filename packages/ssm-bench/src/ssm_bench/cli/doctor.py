"""``bench doctor``: what runs here, and why."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform

from ssm_bench.cli.options import add_device, find_device, quieten

PACKAGES = ("torch", "ssm-core", "ssm-models", "ssm-data", "ssm-bench", "ssm-kernels", "pykeops")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"{parser.description}\n\n"
        "For each operator: the back end that a call uses here if it names none, and why it does not use the others.\n"
        "Each back end that can run computes a small problem: time of the forward pass, and error against float64.\n"
        "KeOps compiles at its first use, which takes about ten seconds for each operator.\n"
        "To compare speed, use bench kernels."
    )
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    quieten()
    device = find_device(args.device)

    import torch
    from rich.markup import escape
    from rich.table import Table
    from ssm_core.backends import kernels_missing

    from ssm_bench.cli.console import make_console
    from ssm_bench.speed.examine import examine
    from ssm_bench.speed.failures import write_traces
    from ssm_bench.speed.report import machine

    console = make_console()
    facts = Table.grid(padding=(0, 3))
    facts.add_row("platform", f"{platform.platform()}, Python {platform.python_version()}")
    facts.add_row("device", f"{device}: {machine(device)}")
    facts.add_row("threads", str(torch.get_num_threads()))
    facts.add_row("packages", ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    facts.add_row("CUDA kernels", kernels_missing() or "can be compiled and run here")
    console.print(facts)
    table = Table("Operator", "Back end", "State", "Forward ms", "Error")
    traces = []
    for finding in examine(device):
        if finding.failed:
            traces.append(f"{finding.operator} on {finding.backend} {finding.state}\n{finding.trace}")
        time = "" if finding.milliseconds is None else f"{finding.milliseconds:.3g}"
        size = "" if finding.error is None else f"{finding.error:.1e}"
        style = "red" if finding.failed else "bold" if finding.used else None
        table.add_row(finding.operator, finding.backend, escape(finding.state), time, size, style=style)
    console.print(table)
    if traces:
        console.print(
            f"{len(traces)} back ends failed; their tracebacks are in {write_traces(traces)}.",
            style="red",
            soft_wrap=True,
            markup=False,
        )
    return 1 if traces else 0


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
