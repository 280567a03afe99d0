"""A launched plan is the plan, runs its own code, and what ends a worker is told apart. Needs no SLURM."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from ssm_bench import status
from ssm_bench.catalog import benchmarks
from ssm_bench.errors import RunError, UserError
from ssm_bench.launch import supervisor as supervisor_module
from ssm_bench.launch.launched import Launched
from ssm_bench.launch.profile import Profile, find_profile, read_profile
from ssm_bench.launch.slurm import plan_arrays
from ssm_bench.launch.supervisor import FRUITLESS, Supervisor, run_task
from ssm_bench.launch.worker import AGAIN, DONE, FAILED
from ssm_bench.plan import Cell, make_plan
from ssm_bench.preemption import SIGNALS, Notice, Preempted
from ssm_bench.record import Record, code_version
from ssm_bench.status import Status
from ssm_data.contract import Place

LRA = benchmarks()["lra"]


def plan(*words: str, models: Sequence[str] = ("s4d",), seeds: Sequence[int] = (0, 1)) -> list[Cell]:
    return make_plan(LRA, models, ["listops", "image"], "smoke", seeds, words)


def launch(cells: list[Cell], out: Path) -> Launched:
    return Launched.create(cells, Place(None, out / "cache"), out, ["lra", "--model", "s4d"])


def test_cells_are_composed_again_as_they_were(work: Path) -> None:
    (work / "mine.py").write_text("class Layer: ...\n")
    words = ["model.dropout=0.25", "data.limit={train:96,val:32,test:32}", "checkpoint_minutes=0", "workers=2"]
    cells = plan(*words, models=["s4d", "mine.py:Layer"])
    launched = Launched(launch(cells, work).folder)
    assert len(launched) == len(cells) == 8
    assert [launched.cell(index) for index in range(8)] == cells
    assert launched.cell(0).runtime.workers == 2
    launched.check_file(7)
    (work / "mine.py").write_text("class Layer: pass\n")
    launched.check_file(0)
    with pytest.raises(RunError, match=r"mine\.py:Layer was edited after"):
        launched.check_file(7)


def test_points_of_a_sweep_are_composed_again(work: Path) -> None:
    cells = make_plan(LRA, ["s4d"], ["image"], "smoke", [0], ["optimizer.lr=0.1,0.2"], sweep=True)
    launched = launch(cells, work)
    assert [launched.cell(index) for index in range(2)] == cells
    assert launched.cell(1).sweep == ("optimizer.lr",)


def test_another_cell_than_was_launched_is_refused(work: Path) -> None:
    launched = launch(plan(), work)
    content = json.loads(launched.file.read_text())
    content["cells"][1]["overrides"].append("optimizer.lr=0.5")
    launched.file.write_text(json.dumps(content))
    assert Launched(launched.folder).cell(0) == plan()[0]
    with pytest.raises(RunError, match="has changed since it was launched"):
        Launched(launched.folder).cell(1)


def test_names_tell_cells_apart_by_what_they_do_not_share(work: Path) -> None:
    cells = plan("model.d_model=8", "optimizer.lr=0.1") + plan("model.d_model=8", "optimizer.lr=0.2")
    launched = launch(cells, work)
    assert launched.name(0) == "lra/listops s4d seed 0 optimizer.lr=0.1"
    assert len({launched.name(index) for index in range(len(launched))}) == len(cells)


def test_a_launch_runs_its_copy_of_the_code(work: Path) -> None:
    launched = launch(plan(), work)
    code = launched.folder / "code"
    (code / "code-version").write_text("marked\n")
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "import ssm_bench, ssm_core, ssm_models, ssm_data, ssm_kernels\n"
            "from ssm_bench.catalog import benchmarks_root\nfrom ssm_bench.record import code_version\n"
            "for each in (ssm_bench, ssm_core, ssm_models, ssm_data, ssm_kernels): print(each.__file__)\n"
            "print(benchmarks_root()); print(code_version())",
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(launched.code.paths)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert all(Path(file).is_relative_to(code) for file in found[:-1]), found
    assert found[-1] == "marked"
    assert launched.content["code"] == code_version()


def worker(launched: Launched, line: str) -> str:
    """What starts a worker that is a line of Python."""
    script = launched.folder / "worker"
    script.write_text(f"#!{sys.executable}\nimport os, sys, signal\nfrom pathlib import Path\n{line}\n")
    script.chmod(0o755)
    return str(script)


class Ended(Supervisor):
    """A supervisor whose worker is a line of Python."""

    def __init__(self, launched: Launched, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(supervisor_module.sys, "executable", worker(launched, line))
            super().__init__(launched, 0)


@pytest.fixture
def handlers() -> Iterator[None]:
    """What handles the notices to stop, as it was before."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


KILL = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(
    ("line", "code", "reason"),
    [
        ("sys.exit(0)", DONE, None),
        ("sys.exit(1)", FAILED, None),
        ("sys.exit(75)", AGAIN, ""),
        (KILL, AGAIN, "ended by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGUSR2)", AGAIN, "ended by SIGUSR2"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", FAILED, "The process crashed with SIGSEGV."),
    ],
)
def test_ends_of_a_worker(
    line: str, code: int, reason: str | None, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = launch(plan(), work)
    assert Ended(launched, line, monkeypatch).wait() == code
    left = Status.read(launched.run_folder(0))
    assert (left.reason if left else None) == reason


@pytest.mark.parametrize(
    ("number", "code", "said"), [(0, AGAIN, AGAIN), (0, FAILED, FAILED), (1, AGAIN, DONE), (1, FAILED, FAILED)]
)
def test_of_several_tasks_the_first_alone_asks_for_another_start(
    number: int, code: int, said: int, work: Path, monkeypatch: pytest.MonkeyPatch, handlers: None
) -> None:
    launched = launch(plan(), work)
    monkeypatch.setenv("SLURM_PROCID", str(number))
    monkeypatch.setattr(supervisor_module.sys, "executable", worker(launched, f"sys.exit({code})"))
    with pytest.raises(SystemExit) as end:
        run_task(launched.file, 0)
    assert end.value.code == said


def test_a_second_notice_leaves_the_end_of_the_first_alone(handlers: None) -> None:
    notice = Notice()
    notice.install()
    with pytest.raises(Preempted):
        signal.raise_signal(SIGNALS[0])
    for number in SIGNALS:
        signal.raise_signal(number)


def test_a_cell_that_never_gets_anywhere_fails(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = launch(plan(), work)
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


def test_lack_of_memory_is_told_from_a_kill(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = Path(f"/sys/fs/cgroup/memory/ssm-bench-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError:
        pytest.skip("needs a memory control group (version 1) that this user may create")
    try:
        (group / "memory.limit_in_bytes").write_text(str(64 * 2**20))
        launched = launch(plan(), work)
        line = f"Path({str(group / 'cgroup.procs')!r}).write_text(str(os.getpid())); bytearray(256 * 2**20)"
        assert Ended(launched, line, monkeypatch).wait() == FAILED
        left = Status.read(launched.run_folder(0))
        assert left is not None
        assert left.reason.startswith("Out of memory")
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    """A control group can be removed a moment after its last process has ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            return group.rmdir()
        except OSError:
            time.sleep(0.1)
    return group.rmdir()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("partitoin: gpu\n", ["'partitoin'", "partition"]),
        ("time: soon\n", ["time", "'soon'"]),
        ("cpus: 0\n", ["cpus is 0"]),
        ("- a\n", ["keys and values"]),
        ("a: [\n", ["not YAML"]),
    ],
)
def test_a_wrong_profile_is_one_sentence(text: str, named: list[str], work: Path) -> None:
    (work / "slurm").mkdir()
    (work / "slurm" / "mine.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        read_profile(find_profile("mine"))
    for word in ["mine.yaml", *named]:
        assert word in str(error.value)


def test_profiles_are_found_by_name_or_path(work: Path) -> None:
    assert read_profile(find_profile("default")) == Profile()
    (work / "slurm").mkdir()
    (work / "slurm" / "mine.yaml").write_text("partition: long\nsetup: [module load cuda]\n")
    expected = Profile(partition="long", setup=("module load cuda",))
    assert find_profile("mine") == find_profile("slurm/mine.yaml") == work / "slurm" / "mine.yaml"
    assert read_profile(find_profile("mine")) == expected
    with pytest.raises(UserError, match=r"'nime'.*mine"):
        find_profile("nime")
    with pytest.raises(UserError, match=r"no profile nowhere\.yaml"):
        find_profile("nowhere.yaml")


def test_arrays_group_what_asks_for_the_same(work: Path) -> None:
    cells = plan(seeds=range(5)) + plan("devices=2", seeds=range(5, 7)) + plan("accelerator=cpu", seeds=range(7, 9))
    arrays = plan_arrays(cells, work, Profile(array_limit=4))
    assert sorted(index for array in arrays for index in array.cells) == list(range(len(cells)))
    assert [(array.devices, array.gpu, len(array.cells)) for array in arrays] == [
        (1, True, 4),
        (1, True, 4),
        (1, True, 2),
        (2, True, 4),
        (1, False, 4),
    ]
    assert {array.minutes for array in arrays} == {None}


def test_time_limits_are_measured_or_the_profiles(work: Path) -> None:
    cells = plan(seeds=[0, 1])
    assert {array.minutes for array in plan_arrays(cells, work, Profile(array_limit=9, time=600))} == {600}
    folder = cells[0].folder(work)
    folder.mkdir(parents=True)
    _record(cells[0], wall_seconds=3600.0).write(folder)
    arrays = plan_arrays(cells, work, Profile(array_limit=9, time=600))
    assert {array.minutes: array.cells for array in arrays} == {120: (0, 1), 600: (2, 3)}
    assert {array.minutes for array in plan_arrays(cells, work, Profile(array_limit=9, time=60))} == {60}


def _record(cell: Cell, wall_seconds: float) -> Record:
    recipe = cell.recipe
    return Record(
        benchmark=recipe.benchmark,
        task=recipe.task,
        model=recipe.model_name,
        scale=recipe.scale,
        seed=recipe.seed,
        metric="accuracy",
        metrics={"test/accuracy": 0.5},
        chance=0.1,
        parameters=1,
        steps=1,
        epochs=1,
        wall_seconds=wall_seconds,
        samples_per_second=1.0,
        peak_memory_bytes=1,
        device="",
        hash=cell.hash,
        recipe={},
        overrides=list(cell.overrides),
        data_fingerprint="",
        data_sizes={},
        code="",
        packages={},
        command="",
        finished="",
    )
