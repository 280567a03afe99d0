"""``bench jobs`` tells the state of every cell from the files and squeue alone. Scripts stand for SLURM's commands."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from ssm_bench.catalog import benchmarks
from ssm_bench.cli import main
from ssm_bench.launch.jobs import Job, find_job, find_jobs
from ssm_bench.launch.launched import Launched
from ssm_bench.launch.slurm_submit import unlaunched
from ssm_bench.plan import Cell, make_plan
from ssm_bench.process_identity import own_start, start_of
from ssm_bench.status import Status
from ssm_data.contract import Place

HERE = socket.gethostname()


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return make_plan(benchmarks()["lra"], ["s4d"], ["listops"], "smoke", range(7), ["model.d_model=8"])


@pytest.fixture
def launch(cells: list[Cell], work: Path) -> Callable[[bool], Launched]:
    """Return a function that launches seven cells, for SLURM or locally, without starting any."""

    def launch(slurm: bool) -> Launched:
        profile = work / "profile.yaml" if slurm else None
        launched = Launched.create(cells, Place(None, Path("cache")), Path("runs"), ["lra"], profile)
        if slurm:
            launched.note_jobs({index: f"12_{index}" for index in range(len(cells))})
        return launched

    return launch


class Queue:
    """Scripts in the place of squeue and scancel."""

    def __init__(self, folder: Path) -> None:
        self.file, self.cancelled = folder / "queue", folder / "cancelled"
        self.file.write_text("")
        (folder / "bin").mkdir()
        for name, line in (("squeue", f"cat {self.file}"), ("scancel", f'echo "$@" >>{self.cancelled}')):
            script = folder / "bin" / name
            script.write_text(f"#!/bin/sh\n{line}\n")
            script.chmod(0o755)

    def hold(self, launched: Launched, *rows: str, name: str = "", began: str = "N/A") -> None:
        """Put jobs of a launch into the queue, each as ``ID|STATE|REASON``."""
        with self.file.open("a") as file:
            for row in rows:
                job, state, reason = row.split("|")
                file.write(f"{job}|{state}|{name or launched.job_name}|{began}|{reason}\n")


@pytest.fixture
def queue(work: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    made = Queue(work)
    monkeypatch.setenv("PATH", f"{work / 'bin'}:{os.environ['PATH']}")
    return made


@pytest.fixture
def process() -> Iterator[subprocess.Popen]:
    """A process that runs until the test ends, or until it is told to end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def set_status(launched: Launched, index: int, **values: object) -> None:
    now = time.time()
    usual = {"state": "running", "host": "node1", "pid": 1, "job": f"12_{index}", "attempt": 1, "fruitless": 1}
    folder = launched.run_folder(index)
    folder.mkdir(parents=True, exist_ok=True)
    Status(**(usual | {"began": now, "updated": now} | values)).write(folder)  # type: ignore[arg-type]


def finish(launched: Launched, index: int) -> None:
    """Make the run of a cell done, as far as its state is concerned."""
    folder = launched.run_folder(index)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").write_text(json.dumps({"hash": folder.name.rpartition("-")[2]}))


def launched_by(launched: Launched, pid: int, start: str) -> None:
    """Change the process that is noted as the one that launched the cells."""
    content = json.loads(launched.file.read_text())
    launched.file.write_text(json.dumps(content | {"pid": pid, "start": start}))


def jobs() -> list[Job]:
    return find_jobs(Path("runs"))


def test_states_of_submitted_cells(queue: Queue, launch: Callable[[bool], Launched], cells: list[Cell]) -> None:
    launched = launch(True)
    queue.hold(launched, "12_0|PENDING|(Resources)", "12_1|RUNNING|node1", "12_2|RUNNING|node2")
    queue.hold(launched, "12_3|PENDING|(BeginTime)")
    set_status(launched, 2, step=30, total=120, seconds_left=90.0)
    set_status(launched, 3, state="stopped", attempt=2, step=50, total=120, reason="told to stop")
    set_status(launched, 4, state="failed", reason="RuntimeError: boom")
    set_status(launched, 5, step=70, total=120)
    states = {job.index: (job.state, job.note) for job in jobs()}
    assert states[0] == ("queued", "12_0 Resources")
    assert states[1] == ("running", "12_1 node1")
    assert states[2] == ("running", "12_2 node1")
    assert states[3] == ("queued", "12_3 BeginTime, told to stop")
    assert states[4] == ("failed", "RuntimeError: boom")
    assert states[5][0] == states[6][0] == "failed"
    assert "ended without a word; last seen at step 70" in states[5][1]
    assert "ended before the cell began" in states[6][1]
    finish(launched, 5)
    assert {job.index: job.state for job in jobs()}[5] == "done"
    # Neither done, nor queued, nor running: only these would be submitted again.
    assert unlaunched(cells, Path("runs")) == [cells[4], cells[6]]


def test_the_table(queue: Queue, launch: Callable[[bool], Launched], capsys: pytest.CaptureFixture[str]) -> None:
    launched = launch(True)
    queue.hold(launched, *(f"12_{index}|RUNNING|node1" for index in range(7) if index != 4))
    set_status(launched, 2, attempt=3, step=30, total=1200, seconds_left=3723.0)
    set_status(launched, 4, state="failed", reason="RuntimeError: [red] boom [/x]")
    assert main(["jobs"]) == 0
    said = capsys.readouterr().out
    assert "6 running, 1 failed" in said
    [row] = [line.split() for line in said.splitlines() if "seed 2" in line]
    assert row[4:] == ["running", "30/1,200", "1:02:03", "2", "12_2", "node1"]
    assert "[red] boom [/x]" in said


def test_a_cell_launched_again_is_shown_once(queue: Queue, launch: Callable[[bool], Launched]) -> None:
    first = launch(True)
    set_status(first, 0, state="failed", reason="boom")
    second = launch(True)
    second.note_jobs({index: f"13_{index}" for index in range(7)})
    queue.hold(second, *(f"13_{index}|PENDING|(Priority)" for index in range(7)))
    assert [job.state for job in jobs()] == ["queued"] * 7
    assert {job.slurm for job in jobs()} == {f"13_{index}" for index in range(7)}


def test_states_of_local_cells(launch: Callable[[bool], Launched], process: subprocess.Popen) -> None:
    launched = launch(False)
    assert {job.state for job in jobs()} == {"queued"}, "this process, which launched them, runs"
    set_status(launched, 0, job="", host=HERE, pid=process.pid, start=start_of(process.pid))
    set_status(launched, 1, job="", state="failed", reason="boom")
    set_status(launched, 2, job="", state="failed", reason="of an earlier launch", updated=1.0)
    states = [job.state for job in jobs()]
    assert states == ["running", "failed", "queued", "queued", "queued", "queued", "queued"]
    process.communicate(b"\n")
    launched_by(launched, process.pid, "ended")
    assert [job.state for job in jobs()] == ["stopped", "failed", *["stopped"] * 5]


def test_a_process_on_another_machine_counts_until_it_is_silent(launch: Callable[[bool], Launched]) -> None:
    launched = launch(False)
    set_status(launched, 0, job="", host="elsewhere")
    set_status(launched, 1, job="", host="elsewhere", updated=time.time() - 3600)
    assert [job.state for job in jobs()][:2] == ["running", "queued"]


def test_a_reused_process_id_is_a_stranger(
    launch: Callable[[bool], Launched], process: subprocess.Popen, capsys: pytest.CaptureFixture[str]
) -> None:
    launched = launch(False)
    set_status(launched, 0, job="", host=HERE, pid=process.pid, start=own_start())
    set_status(launched, 1, job="", host=HERE, pid=process.pid)
    launched_by(launched, process.pid, own_start())
    assert {job.state for job in jobs()} == {"stopped"}
    assert main(["jobs", "--cancel"]) == 0
    assert "0 cells told to end" in capsys.readouterr().out
    time.sleep(0.2)
    assert process.poll() is None


def test_a_reused_job_number_is_a_stranger(
    queue: Queue, launch: Callable[[bool], Launched], capsys: pytest.CaptureFixture[str]
) -> None:
    launched = launch(True)
    queue.hold(launched, "12_0|RUNNING|node1", "12_1|PENDING|(Priority)", name="theirs")
    # A job that began an hour after the status was written is not the one that wrote it.
    later = datetime.fromtimestamp(time.time() + 3600).isoformat(timespec="seconds")
    queue.hold(launched, "99|RUNNING|node1", name="theirs", began=later)
    set_status(launched, 2, job="99")
    queue.file.write_text(queue.file.read_text() + "Welcome to the cluster\n")
    assert {job.state for job in jobs()} == {"failed"}
    assert main(["jobs", "--cancel"]) == 0
    assert "0 cells told to end" in capsys.readouterr().out
    assert not queue.cancelled.exists()


def test_a_job_that_began_before_its_status_runs_it(queue: Queue, launch: Callable[[bool], Launched]) -> None:
    """A command inside of a job of the user's own: its name is not ours."""
    launched = launch(True)
    set_status(launched, 2, job="99")
    earlier = datetime.fromtimestamp(time.time() - 60).isoformat(timespec="seconds")
    queue.hold(launched, "99|RUNNING|node1", name="theirs", began=earlier)
    assert jobs()[2].state == "running"


def test_cancel_ends_what_is_active(
    queue: Queue, launch: Callable[[bool], Launched], capsys: pytest.CaptureFixture[str]
) -> None:
    launched = launch(True)
    queue.hold(launched, "12_0|PENDING|(Dependency)", "12_3|RUNNING|node1")
    set_status(launched, 4, state="failed", reason="boom")
    assert main(["jobs", "--cancel"]) == 0
    assert "2 cells told to end" in capsys.readouterr().out
    # By name: jobs of the same numbers that are not ours stay, and the job that prepares the data ends, too.
    assert queue.cancelled.read_text().split() == ["--quiet", f"--user={os.getuid()}", f"--name={launched.job_name}"]
    queue.file.write_text("")
    assert [job.state for job in jobs()] == ["cancelled"] * 4 + ["failed"] + ["cancelled"] * 2


def test_cancel_tells_the_launcher(
    launch: Callable[[bool], Launched], process: subprocess.Popen, capsys: pytest.CaptureFixture[str]
) -> None:
    launched_by(launch(False), process.pid, start_of(process.pid))
    assert main(["jobs", "--cancel"]) == 0
    assert "7 cells told to end" in capsys.readouterr().out
    assert process.wait(10) == -15
    assert {job.state for job in jobs()} == {"cancelled"}


def test_cancel_tells_a_cell_process_whose_launcher_is_gone(
    launch: Callable[[bool], Launched], process: subprocess.Popen, capsys: pytest.CaptureFixture[str]
) -> None:
    launched = launch(False)
    launched_by(launched, process.pid, "ended")
    set_status(launched, 0, job="", host=HERE, pid=process.pid, start=start_of(process.pid))
    assert main(["jobs", "--cancel"]) == 0
    assert "1 cell told to end" in capsys.readouterr().out
    assert process.wait(10) == -15


def test_cancel_says_what_it_cannot_end(launch: Callable[[bool], Launched], capsys: pytest.CaptureFixture[str]) -> None:
    launched = launch(False)
    launched_by(launched, 1, "ended")
    set_status(launched, 0, job="", host="elsewhere", pid=7)
    assert main(["jobs", "--cancel"]) == 1
    said = capsys.readouterr().out
    assert "process 7 of elsewhere runs it; end it there" in said
    assert "0 cells told to end" in said


def test_a_lost_list_of_jobs_leaves_the_cells_to_be_submitted_again(
    queue: Queue, launch: Callable[[bool], Launched], capsys: pytest.CaptureFixture[str]
) -> None:
    launched = launch(True)
    (launched.folder / "jobs.json").write_text('{"data": null, "cel')
    set_status(launched, 1)
    queue.hold(launched, "12_1|RUNNING|node1")
    states = {job.index: job.state for job in jobs()}
    assert states.pop(1) == "running"
    assert set(states.values()) == {"queued"}, "some job of the launch is there"
    queue.file.write_text("")
    assert {job.state for job in jobs()} == {"failed"}
    assert main(["jobs"]) == 0
    assert "submit it again" in " ".join(capsys.readouterr().out.split())


def test_damaged_files_of_one_launch_leave_the_others_listed(
    queue: Queue, launch: Callable[[bool], Launched], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = launch(True), launch(False)
    first.file.write_text("")
    set_status(second, 0)
    (second.run_folder(0) / "status.json").write_text("")
    assert main(["jobs"]) == 0
    assert "7 queued" in capsys.readouterr().out
    second.file.write_text('{"cells')
    assert main(["jobs"]) == 2
    assert "Nothing was launched in runs" in capsys.readouterr().err


def test_logs_are_found_by_words_of_the_name(
    launch: Callable[[bool], Launched], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    launched = launch(False)
    launched.run_folder(3).mkdir(parents=True)
    (launched.run_folder(3) / "log.txt").write_bytes(b"epoch 1 \xff\xfe [/red]\n\0")
    for words in (["listops", "seed 3"], ["seed3"], ["3"], [launched.run_folder(3).name]):
        assert main(["jobs", "--logs", *words]) == 0
        assert capsysbinary.readouterr().out == b"epoch 1 \xff\xfe [/red]\n\0", words
    for words, said in (
        (["listops"], b"7 cells' names hold listops"),
        (["seed 2"], b"has not begun"),
        (["image"], b"No cell's name holds image"),
        (["[a-z]+", "[/x]"], b"No cell's name holds [a-z]+ [/x]"),
        ([".*"], b"No cell's name holds .*"),
    ):
        assert main(["jobs", "--logs", *words]) == 2
        assert said in capsysbinary.readouterr().err


def test_whole_words_come_first(cells: list[Cell], launch: Callable[[bool], Launched], work: Path) -> None:
    many = make_plan(benchmarks()["lra"], ["s4d"], ["listops"], "smoke", range(12), ["model.d_model=8"])
    Launched.create(many, Place(None, Path("cache")), Path("runs"), ["lra"])
    assert [job.index for job in find_job(jobs(), ["seed 1"])] == [1]
    assert [job.index for job in find_job(jobs(), ["seed 11"])] == [11]
    assert len(find_job(jobs(), ["see", "listop"])) == 12


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


def test_a_cell_that_diverged_is_told_from_one_that_is_done(launch: Callable[[bool], Launched]) -> None:
    launched = launch(False)
    for index, content in enumerate(({"outcome": "done"}, {"outcome": "diverged", "reason": "The loss is nan."})):
        folder = launched.run_folder(index)
        folder.mkdir(parents=True)
        content["hash"] = folder.name.rpartition("-")[2]
        (folder / "record.json").write_text(json.dumps(content))
    jobs = find_jobs(Path("runs"))
    assert [(job.state, job.note) for job in jobs[:2]] == [("done", ""), ("diverged", "The loss is nan.")]
    assert not jobs[1].active
