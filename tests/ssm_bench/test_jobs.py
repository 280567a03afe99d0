"""``bench jobs`` tells the state of every cell from the files and squeue alone. SLURM is played by a script here."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ssm_bench.catalog import benchmarks
from ssm_bench.cli import main
from ssm_bench.jobs import find_jobs
from ssm_bench.launch.launched import Launched
from ssm_bench.launch.slurm import unlaunched
from ssm_bench.plan import make_plan
from ssm_bench.status import Status
from ssm_data.contract import Place

CELLS = make_plan(benchmarks()["lra"], ["s4d"], ["listops"], "smoke", range(7), ["model.d_model=8"])


@pytest.fixture
def squeue(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose lines the script ``squeue`` prints; ``scancel`` notes its words in ``cancelled``."""
    folder = work / "bin"
    folder.mkdir()
    for name, line in (("squeue", f"cat {work}/queue"), ("scancel", f'echo "$@" >> {work}/cancelled')):
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (work / "queue").write_text("")
    return work / "queue"


def launch(slurm: bool) -> Launched:
    launched = Launched.create(CELLS, Place(None, Path("cache")), Path("runs"), ["lra"], "default" if slurm else None)
    if slurm:
        launched.note_jobs({index: f"12_{index}" for index in range(len(CELLS))})
    return launched


def set_status(launched: Launched, index: int, **values: object) -> None:
    now = time.time()
    usual = {"state": "running", "host": "node1", "pid": 1, "job": f"12_{index}", "attempt": 1, "fruitless": 1}
    folder = launched.run_folder(index)
    folder.mkdir(parents=True, exist_ok=True)
    Status(**(usual | {"began": now, "updated": now} | values)).write(folder)  # type: ignore[arg-type]


def test_states_of_submitted_cells(squeue: Path) -> None:
    launched = launch(slurm=True)
    squeue.write_text("12_0|PENDING|(Resources)\n12_1|RUNNING|node1\n12_2|RUNNING|node2\n12_3|PENDING|(BeginTime)\n")
    set_status(launched, 2, step=30, total=120, seconds_left=90.0)
    set_status(launched, 3, state="stopped", attempt=2, step=50, total=120, reason="told to stop")
    set_status(launched, 4, state="failed", reason="RuntimeError: boom")
    set_status(launched, 5, step=70, total=120)
    states = {job.index: (job.state, job.note) for job in find_jobs(Path("runs"))}
    assert states[0] == ("queued", "12_0 Resources")
    assert states[1] == ("running", "12_1 node1")
    assert states[2] == ("running", "12_2 node1")
    assert states[3] == ("queued", "12_3 BeginTime, told to stop")
    assert states[4] == ("failed", "RuntimeError: boom")
    assert states[5][0] == states[6][0] == "failed"
    assert "ended without a word; last seen at step 70" in states[5][1]
    assert "ended before the cell began" in states[6][1]
    (launched.run_folder(5) / "record.json").write_text("{}")
    assert {job.index: job.state for job in find_jobs(Path("runs"))}[5] == "done"
    # Neither done, nor queued, nor running: only these would be submitted again.
    assert unlaunched(CELLS, Path("runs")) == [CELLS[4], CELLS[6]]


def test_the_table(squeue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launched = launch(slurm=True)
    squeue.write_text("".join(f"12_{index}|RUNNING|node1\n" for index in range(7)))
    set_status(launched, 2, attempt=3, step=30, total=1200, seconds_left=3723.0)
    set_status(launched, 4, state="failed", reason="RuntimeError: [red] boom")
    squeue.write_text(squeue.read_text().replace("12_4|RUNNING|node1\n", ""))
    assert main(["jobs"]) == 0
    said = capsys.readouterr().out
    assert "6 running, 1 failed" in said
    [row] = [line.split() for line in said.splitlines() if "seed 2" in line]
    assert row[4:] == ["running", "30/1,200", "1:02:03", "2", "12_2", "node1"]
    assert "[red] boom" in said


def test_a_cell_launched_again_is_shown_once(squeue: Path) -> None:
    first = launch(slurm=True)
    set_status(first, 0, state="failed", reason="boom")
    second = launch(slurm=True)
    second.note_jobs({index: f"13_{index}" for index in range(len(CELLS))})
    squeue.write_text("".join(f"13_{index}|PENDING|(Priority)\n" for index in range(7)))
    jobs = find_jobs(Path("runs"))
    assert [job.state for job in jobs] == ["queued"] * 7
    assert {job.slurm for job in jobs} == {f"13_{index}" for index in range(7)}


def test_states_of_local_cells(work: Path) -> None:
    launched = launch(slurm=False)
    assert {job.state for job in find_jobs(Path("runs"))} == {"queued"}, "this process, which launched them, runs"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        set_status(launched, 0, job="", host=socket.gethostname(), pid=other.pid)
        set_status(launched, 1, job="", state="failed", reason="boom")
        set_status(launched, 2, job="", state="failed", reason="of an earlier launch", updated=1.0)
        states = [job.state for job in find_jobs(Path("runs"))]
        assert states == ["running", "failed", "queued", "queued", "queued", "queued", "queued"]
        other.communicate(b"\n")
    launched.content["pid"] = other.pid
    launched.file.write_text(launched.file.read_text().replace(f'"pid": {os.getpid()}', f'"pid": {other.pid}'))
    assert [job.state for job in find_jobs(Path("runs"))] == ["stopped", "failed", *["stopped"] * 5]


def test_cancel_ends_what_is_active(squeue: Path, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launched = launch(slurm=True)
    launched.note_jobs(launched.jobs, data="11")
    squeue.write_text("12_0|PENDING|(Dependency)\n12_3|RUNNING|node1\n")
    set_status(launched, 4, state="failed", reason="boom")
    assert main(["jobs", "--cancel"]) == 0
    assert (work / "cancelled").read_text().split() == ["--quiet", "11", "12_0", "12_3"]
    squeue.write_text("")
    states = [job.state for job in find_jobs(Path("runs"))]
    assert states == ["cancelled"] * 4 + ["failed"] + ["cancelled"] * 2


def test_logs_are_found_by_words_of_the_name(squeue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launched = launch(slurm=True)
    launched.run_folder(3).mkdir(parents=True)
    (launched.run_folder(3) / "log.txt").write_text("epoch 1\n")
    assert main(["jobs", "--logs", "listops", "seed 3"]) == 0
    assert capsys.readouterr().out == "epoch 1\n"
    assert main(["jobs", "--logs", "listops"]) == 2
    assert "7 cells' names hold listops" in capsys.readouterr().err
    assert main(["jobs", "--logs", "seed 2"]) == 2
    assert "has not begun" in capsys.readouterr().err
    assert main(["jobs", "--logs", "image"]) == 2
    assert "No cell's name holds image" in capsys.readouterr().err


def test_without_launches_or_slurm_it_says_so(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["jobs"]) == 2
    assert "Nothing was launched in runs" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "")
    command = ["lra", "--model", "s4d", "--scale", "smoke"]
    assert main([*command, "--slurm"]) == 2
    assert "There is no SLURM here" in capsys.readouterr().err
    assert not list(work.iterdir())
    assert main([*command, "--slurm", "--workers", "2"]) == 2
    assert main([*command, "--workers", "0"]) == 2
    assert not list(work.iterdir())
