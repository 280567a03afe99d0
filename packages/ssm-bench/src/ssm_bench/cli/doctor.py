"""``bench doctor``: what runs here, and why."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform

from ssm_bench.cli.kernels import add_device, find_device, quieten

PACKAGES = ("torch", "ssm-core", "ssm-models", "ssm-data", "ssm-bench", "ssm-kernels", "pykeops")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"{parser.description}\n\n"
        "For each operator: the back end that a call without a choice uses here, and for the others why not.\n"
        "Each that can run is run once on a small problem: forward time, and error against float64.\n"
        "KeOps compiles at its first use, which takes ten seconds an operator.\n"
        "To compare speed, use bench kernels."
    )
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    quieten()
    device = find_device(args.device)

    import torch
    from rich.table import Table
    from ssm_core.backends import kernels_missing

    from ssm_bench.cli.console import make_console
    from ssm_bench.kernel_bench.examine import examine
    from ssm_bench.kernel_bench.report import machine

    console = make_console()
    facts = Table.grid(padding=(0, 3))
    facts.add_row("platform", f"{platform.platform()}, Python {platform.python_version()}")
    facts.add_row("device", f"{device}: {machine(device)}")
    facts.add_row("threads", str(torch.get_num_threads()))
    facts.add_row("packages", ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    facts.add_row("CUDA kernels", kernels_missing() or "can be compiled and run here")
    console.print(facts)
    table = Table("Operator", "Back end", "State", "Forward ms", "Error")
    failed = False
    for finding in examine(device):
        failed |= finding.failed
        time = "" if finding.milliseconds is None else f"{finding.milliseconds:.3g}"
        size = "" if finding.error is None else f"{finding.error:.1e}"
        style = "red" if finding.failed else "bold" if finding.used else None
        table.add_row(finding.operator, finding.backend, finding.state, time, size, style=style)
    console.print(table)
    return 1 if failed else 0


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
