"""The view while ``--workers`` runs: it shows what is active, and a SLURM that does not answer does not end the run."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from ssm_bench.cli import jobs_table
from ssm_bench.cli.jobs_table import live_view
from ssm_bench.errors import UserError


def test_a_slurm_that_does_not_answer_leaves_the_view_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def find_jobs(out: Path) -> None:
        asked.append(out)
        raise UserError("SLURM does not answer")

    monkeypatch.setattr(jobs_table, "find_jobs", find_jobs)
    monkeypatch.setattr(jobs_table, "VIEW_SECONDS", -1.0)
    with live_view(Console(file=io.StringIO(), force_terminal=True), Path("runs")) as update:
        update()
        update()
    assert asked == [Path("runs")] * 2


def test_without_a_terminal_there_is_no_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_table, "find_jobs", lambda out: pytest.fail("nobody sees it"))
    said = io.StringIO()
    with live_view(Console(file=said), Path("runs")) as update:
        update()
    assert said.getvalue() == ""
