"""What ends a cell process is told apart: its own fault, a stop, a kill, lack of memory. Needs no SLURM."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ssm_bench import status
from ssm_bench.launch import supervisor as supervisor_module
from ssm_bench.launch.launched import Launched
from ssm_bench.launch.supervisor import AGAIN, DONE, FAILED, FRUITLESS, Supervisor, run_task
from ssm_bench.plan import Cell
from ssm_bench.status import Status
from ssm_bench.training.preemption import SIGNALS


@pytest.fixture
def launched(plan: Callable[..., list[Cell]], launch: Callable[..., Launched]) -> Launched:
    return launch(plan())


def executable(launched: Launched, line: str) -> str:
    """Return a program that stands for Python, as a cell process that is one line of Python."""
    script = launched.folder / "python"
    script.write_text(f"#!{sys.executable}\nimport os, sys, signal\nfrom pathlib import Path\n{line}\n")
    script.chmod(0o755)
    return str(script)


class Ended(Supervisor):
    """A supervisor whose cell process is a line of Python."""

    def __init__(self, launched: Launched, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(supervisor_module.sys, "executable", executable(launched, line))
            super().__init__(launched, 0)


@pytest.fixture
def handlers() -> Iterator[None]:
    """Restore the handlers of the stop signals after the test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


KILL = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(
    ("line", "code", "reason"),
    [
        ("sys.exit(0)", DONE, None),
        ("sys.exit(1)", FAILED, "The process ended with exit status 1; see "),
        ("import nothing_of_that_name", FAILED, "The process ended with exit status 1; see "),
        ("sys.exit(2)", FAILED, "The process ended with exit status 2; see "),
        ("sys.exit(75)", AGAIN, ""),
        (KILL, AGAIN, "ended by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGUSR2)", AGAIN, "ended by SIGUSR2"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", FAILED, "The process crashed with SIGSEGV."),
    ],
)
def test_ends_of_a_cell_process(
    line: str, code: int, reason: str | None, launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Ended(launched, line, monkeypatch).wait() == code
    left = Status.read(launched.run_folder(0))
    if reason is None:
        assert left is None
    else:
        assert left is not None
        assert left.reason.startswith(reason)
        assert (left.state == "failed") == (code == FAILED)
        assert bool(left.reason) == bool(reason)


def test_a_cell_that_is_done_without_a_result_stays_done(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that diverged: its process ends with 1, and its record says why."""
    folder = launched.run_folder(0)
    says = f"from ssm_bench.status import attempt\nwith attempt(Path({str(folder)!r})): pass\nsys.exit(1)"
    assert Ended(launched, says, monkeypatch).wait() == FAILED
    left = Status.read(folder)
    assert left is not None
    assert (left.state, left.reason) == ("done", "")


def test_what_a_cell_process_says_itself_stays(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = launched.run_folder(0)
    says = (
        f"from ssm_bench.status import begin, fail; f = Path({str(folder)!r}); begin(f); fail(f, 'boom'); sys.exit(1)"
    )
    for attempt in (1, 2):
        assert Ended(launched, says, monkeypatch).wait() == FAILED
        left = Status.read(folder)
        assert left is not None
        assert (left.reason, left.attempt) == ("boom", attempt)
    # A failure of an earlier attempt does not explain this one.
    assert Ended(launched, "sys.exit(1)", monkeypatch).wait() == FAILED
    left = Status.read(folder)
    assert left is not None
    assert (left.reason[:11], left.attempt) == ("The process", 3)


@pytest.mark.parametrize(
    ("number", "code", "said"), [(0, AGAIN, AGAIN), (0, FAILED, FAILED), (1, AGAIN, DONE), (1, FAILED, FAILED)]
)
def test_of_several_tasks_the_first_alone_asks_for_another_start(
    number: int, code: int, said: int, launched: Launched, monkeypatch: pytest.MonkeyPatch, handlers: None
) -> None:
    monkeypatch.setenv("SLURM_PROCID", str(number))
    monkeypatch.setattr(supervisor_module.sys, "executable", executable(launched, f"sys.exit({code})"))
    with pytest.raises(SystemExit) as end:
        run_task(launched.file, 0)
    assert end.value.code == said


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_comes_while_the_cell_process_is_started_asks_for_another_start(
    number: int, launched: Launched, monkeypatch: pytest.MonkeyPatch, handlers: None
) -> None:
    """submitit has its own handlers until then, which would end the job for good."""
    for each in SIGNALS:
        signal.signal(each, lambda number, frame: pytest.fail("the handler of submitit"))

    class Interrupted(Supervisor):
        def __init__(self, launched: Launched, index: int) -> None:
            signal.raise_signal(number)
            super().__init__(launched, index)

    monkeypatch.setattr(supervisor_module, "Supervisor", Interrupted)
    monkeypatch.setattr(supervisor_module.sys, "executable", executable(launched, "import time; time.sleep(60)"))
    with pytest.raises(SystemExit) as end:
        run_task(launched.file, 0)
    assert end.value.code == AGAIN


def test_a_cell_that_never_gets_anywhere_fails(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = [Ended(launched, KILL, monkeypatch).wait() for _ in range(FRUITLESS)]
    assert codes == [AGAIN] * (FRUITLESS - 1) + [FAILED]
    left = Status.read(launched.run_folder(0))
    assert left is not None
    assert (left.state, left.attempt) == ("failed", FRUITLESS)
    assert "before it could save any progress" in left.reason
    # Asked for again after its failure, it counts anew.
    assert Ended(launched, KILL, monkeypatch).wait() == AGAIN


def test_progress_makes_attempts_count_anew(work: Path) -> None:
    for _ in range(FRUITLESS):
        status.begin(work).change(work, fruitless=0, step=3)
    now = Status.read(work)
    assert now is not None
    assert (now.attempt, now.fruitless, now.step) == (FRUITLESS, 0, 3)


@pytest.mark.parametrize("content", ["", '{"state": "run', "null", "[]", '{"state": 3}'])
def test_a_damaged_status_does_not_stop_a_cell(
    content: str, launched: Launched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = launched.run_folder(0)
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(content)
    assert Ended(launched, KILL, monkeypatch).wait() == AGAIN
    assert f"{folder / 'status.json'} is damaged" in caplog.text
    assert (folder / "status.json.damaged").read_text() == content
    left = Status.read(folder)
    assert left is not None
    assert (left.attempt, left.reason) == (1, "ended by SIGKILL")


def test_lack_of_memory_is_told_from_a_kill(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    group = Path(f"/sys/fs/cgroup/memory/ssm-bench-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError:
        pytest.skip("needs a memory control group (version 1) that this user may create")
    try:
        (group / "memory.limit_in_bytes").write_text(str(64 * 2**20))
        line = f"Path({str(group / 'cgroup.procs')!r}).write_text(str(os.getpid())); bytearray(256 * 2**20)"
        assert Ended(launched, line, monkeypatch).wait() == FAILED
        left = Status.read(launched.run_folder(0))
        assert left is not None
        assert left.reason.startswith("Out of memory")
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    """Remove a control group, which is possible only a moment after its last process has ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            return group.rmdir()
        except OSError:
            time.sleep(0.1)
    return group.rmdir()
