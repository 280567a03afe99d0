"""``--workers`` gives what the sequential run gives, also when it is interrupted or a cell process is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from ssm_bench.catalog import benchmarks
from ssm_bench.cli import main
from ssm_bench.errors import UserError
from ssm_bench.launch import local_processes
from ssm_bench.plan import make_plan
from ssm_bench.status import Status

LAYER = """
import os
import time

import torch


class Slow(torch.nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.mix = torch.nn.Linear(d_model, d_model)

    def forward(self, u):
        if self.training:
            time.sleep(float(os.environ.get("PACE", 0)))
        return torch.nn.functional.dropout(self.mix(u.cumsum(1) / 100), 0.2, self.training)


class Wrong(Slow):
    def forward(self, u):
        return u[:, :1]
"""
#: Three epochs of 12 steps.
COMMAND = [
    *["lra", "--task", "listops", "--scale", "smoke", "model.d_model=8", "model.n_layers=1", "must_beat_chance=false"],
    *["trainer.epochs=3", "trainer.batch_size=16", "data.limit={train:192,val:32,test:32}", "checkpoint_minutes=0"],
]


@pytest.fixture
def mine(work: Path) -> Path:
    (work / "mine.py").write_text(LAYER)
    return work


def metrics(out: Path) -> dict[str, dict]:
    return {file.parent.name: json.loads(file.read_text())["metrics"] for file in out.rglob("record.json")}


def test_the_table_is_the_sequential_one(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*COMMAND, "--model", "mine.py:Slow", "mine.py:Wrong", "--seed", "0"]
    assert main([*command, "--out", "one"]) == 1
    one = capsys.readouterr().out
    assert main([*command, "--out", "many", "--workers", "2"]) == 1
    many = capsys.readouterr().out
    assert _table(many) == _table(one)
    assert "1 of 2 runs gave no result" in many
    assert "must give a tensor of its input's shape" in many
    assert metrics(mine / "many") == metrics(mine / "one")
    assert main([*command, "--out", "many", "--workers", "2"]) == 1
    assert "(done before)" in capsys.readouterr().out
    [record] = mine.joinpath("many").rglob("record.json")
    assert json.loads(record.read_text())["command"] == " ".join(["bench", *command, "--out", "many", "--workers", "2"])


def _table(said: str) -> str:
    return said[said.index("Long Range Arena v1") : said.index("1 of 2 runs")]


def test_disturbed_cell_processes_give_what_undisturbed_ones_do(mine: Path) -> None:
    command = [*COMMAND, "--model", "mine.py:Slow", "--seed", "0", "1"]
    words = [sys.executable, "-c", "import sys; from ssm_bench.cli import main; sys.exit(main())", *command]
    slowly = os.environ | {"PACE": "1"}
    # A shell that starts pytest in the background makes it ignore SIGINT, and children inherit that.
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        [*words, "--workers", "2"], env=slowly, stderr=subprocess.PIPE, preexec_fn=listening
    ) as process:
        first, second = (_status(mine, seed, lambda status: status.step > 0) for seed in (0, 1))
        os.kill(first.pid, signal.SIGKILL)
        _status(mine, 0, lambda status: status.attempt == 2)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert b"the same command goes on" in process.stderr.read()
    assert process.returncode == 130
    left = [_status(mine, seed, lambda status: status.state == "stopped") for seed in (0, 1)]
    assert [status.attempt for status in left] == [2, 1]
    for pid in (first.pid, second.pid):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not metrics(mine / "runs")
    assert main([*command, "--workers", "2"]) == 0
    assert main([*command, "--out", "undisturbed"]) == 0
    assert metrics(mine / "runs") == metrics(mine / "undisturbed")
    assert len(metrics(mine / "runs")) == 2
    assert "resuming from" in next((mine / "runs").rglob("*seed1*/log.txt")).read_text()


def _status(work: Path, seed: int, condition: Callable[[Status], bool]) -> Status:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        for file in work.rglob(f"*seed{seed}*/status.json"):
            status = Status.read(file.parent)
            if status is not None and condition(status):
                return status
        time.sleep(0.05)
    raise AssertionError(f"seed {seed} did not come so far")


@pytest.mark.parametrize(
    ("gpus", "there", "number", "shares"),
    [
        (None, 0, 2, [None, None]),
        (None, 2, 2, ["0", "1"]),
        ("", 0, 2, [None, None]),
        ("-1", 0, 2, [None, None]),
        ("4,5", 2, 2, ["4", "5"]),
        ("4,5", 2, 3, ["4", "5", "4"]),
        ("0,1,2,3,4", 5, 2, ["0,2,4", "1,3"]),
    ],
)
def test_gpus_are_shared_out(
    gpus: str | None, there: int, number: int, shares: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if gpus is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    got = [share.get("CUDA_VISIBLE_DEVICES") for share in local_processes._shares(number, [])]
    assert got == shares


def test_a_cell_that_needs_more_gpus_than_its_process_gets_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    cells = make_plan(benchmarks()["lra"], ["s4d"], ["image"], "paper", [], ["devices=2"])
    assert len(local_processes._shares(1, cells)) == 1
    with pytest.raises(UserError, match=r"needs 2 GPUs.*gives each cell only 1 of the 3 GPUs"):
        local_processes._shares(2, cells)


@pytest.mark.parametrize(("cores", "count", "threads"), [(8, 2, "4"), (8, 3, "2"), (1, 4, "1")])
def test_cores_are_shared_out_also_where_the_system_has_no_affinity(
    cores: int, count: int, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert local_processes._shares(count, []) == [{"OMP_NUM_THREADS": threads}] * count
