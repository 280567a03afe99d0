"""A plan as SLURM arrays, on a real SLURM of two virtual nodes: whatever interrupts a run, its record is the same.

A run that a test interrupts must last long enough. Its layer sleeps as long as the variable PACE says, which is no part
of its recipe.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ssm_bench.catalog import benchmarks
from ssm_bench.errors import UserError
from ssm_bench.launch import slurm_submit
from ssm_bench.launch.jobs import Job, find_jobs
from ssm_bench.plan import make_plan
from ssm_bench.status import Status
from ssm_data.contract import Place, default_cache

SCRIPT = Path(__file__).parents[2] / "slurm" / "local-cluster"
LACKING = [
    program for program in ("munged", "slurmctld", "slurmd") if not shutil.which(program, path="/usr/sbin:/sbin")
]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a SLURM cluster of its own needs root"),
    pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)} (apt-get install slurm-wlm munge)"),
]

TINY = ["model.d_model=8", "trainer.batch_size=16", "must_beat_chance=false", "checkpoint_minutes=0"]
SHORT = [*TINY, "model.d_state=4", "trainer.epochs=2", "data.limit={train:96,val:32,test:32}"]
#: 15 epochs of 12 steps.
LONG = [*TINY, "model.n_layers=1", "trainer.epochs=15", "data.limit={train:192,val:32,test:32}"]
LAYERS = """
import os
import time

import torch


class Slow(torch.nn.Module):
    def __init__(self, d_model):
        super().__init__()
        # The gradient of a bias before a batch norm is rounding noise, which Adam would scale up to a full step.
        self.mix = torch.nn.Linear(d_model, d_model, bias=False)

    def forward(self, u):
        if self.training:
            time.sleep(float(os.environ.get("PACE", 0)))
        return torch.nn.functional.dropout(self.mix(u.cumsum(1) / 100), 0.2, self.training)


class Plain(Slow):
    def forward(self, u):
        if self.training:
            time.sleep(float(os.environ.get("PACE", 0)))
        return self.mix(u.cumsum(1) / 100)


class Wrong(Slow):
    def forward(self, u):
        return u if "MENDED" in os.environ else u[:, :1]


class Broken(Plain):
    def forward(self, u):
        if os.environ.get("SLURM_PROCID") == "1":
            raise ValueError("the layer of rank 1 is broken")
        return super().forward(u)


class Hungry(Slow):
    def forward(self, u):
        torch.empty(2**36)
        return super().forward(u)
"""


@dataclass(frozen=True)
class Cluster:
    """A cluster and a user's folder with a profile."""

    folder: Path

    def bench(self, *words: str) -> str:
        """Run the command and return its output."""
        return _bench(self.folder, *words)

    def profile(self, **values: object) -> None:
        usual = {"gpus": 0, "cpus": 1, "memory": 1, "time": 10}
        (self.folder / "profile.yaml").write_text(json.dumps(usual | values))

    def jobs(self) -> list[Job]:
        return find_jobs(self.folder / "runs")

    def finish(self, seconds: float = 600) -> list[Job]:
        """Wait until no cell is queued or running."""
        self.wait_for(lambda: not any(job.active for job in self.jobs()), seconds)
        return self.jobs()

    def wait_for(self, condition: Callable[[], bool], seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, [(job.name, job.state, job.note) for job in self.jobs()]
            time.sleep(0.2)

    def wait_for_step(self, job: Job, step: int) -> Status:
        """Wait until a cell has trained and saved so far."""

        def reached() -> bool:
            status = Status.read(job.folder)
            return status is not None and status.step >= step

        self.wait_for(reached)
        status = Status.read(job.folder)
        assert status is not None
        return status


@pytest.fixture(scope="module")
def running() -> Iterator[None]:
    folder = f"/run/ssm-cluster-{os.getpid()}"
    up = subprocess.run([SCRIPT, "up", folder], capture_output=True, text=True, check=False)
    assert up.returncode == 0, up.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", up.stdout.strip().removeprefix("export SLURM_CONF="))
        yield
        subprocess.run([SCRIPT, "down", folder], check=True)


@pytest.fixture
def cluster(running: None, work: Path) -> Iterator[Cluster]:
    (work / "mine.py").write_text(LAYERS)
    made = Cluster(work)
    made.profile()
    yield made
    slurm_command("scancel", "--user=root")
    made.wait_for(lambda: not slurm_command("squeue", "--noheader").strip())


def _bench(folder: Path, *words: str, status: int = 0, **environment: str) -> str:
    """Run the command, which must end with this exit status, and return its output, errors last."""
    command = [sys.executable, "-c", "import sys; from ssm_bench.cli import main; sys.exit(main())", *words]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def records(out: Path) -> dict[str, dict]:
    """Return what each run computed, by its run folder."""
    found = {}
    for file in sorted(out.rglob("record.json")):
        record = json.loads(file.read_text())
        kept = ("metrics", "steps", "epochs", "parameters", "hash", "data_fingerprint")
        found[str(file.parent.relative_to(out))] = {key: record[key] for key in kept}
    return found


def test_an_array_computes_what_a_local_run_computes(cluster: Cluster) -> None:
    words = ["lra", "--model", "s4d", "--task", "listops", "image", "--seed", "0", "1", "2", *SHORT]
    dry = cluster.bench(*words, "--slurm", "profile.yaml", "--dry-run")
    assert "#SBATCH --array=0-5%6" in dry
    assert "Scale: smoke, because the profile asks for no GPU" in dry
    assert not (cluster.folder / "runs").exists()
    assert "6 cells submitted" in cluster.bench(*words, "--slurm", "profile.yaml")
    # The same plan queues nothing twice, while it runs and when it is done.
    assert "0 cells submitted; 6 of 6" in cluster.bench(*words, "--slurm", "profile.yaml")
    assert [job.state for job in cluster.finish()] == ["done"] * 6
    assert "0 cells submitted; 6 of 6" in cluster.bench(*words, "--slurm", "profile.yaml")
    assert len(cluster.jobs()[0].launched.all(cluster.folder / "runs")) == 1
    _bench(cluster.folder, *words, "--scale", "smoke", "--out", "local", OMP_NUM_THREADS="1")
    assert records(cluster.folder / "runs") == records(cluster.folder / "local")
    assert len(records(cluster.folder / "local")) == 6


def test_disturbed_runs_compute_what_undisturbed_ones_do(cluster: Cluster) -> None:
    words = ["lra", "--model", "mine.py:Slow", "--task", "listops", "--scale", "smoke", *LONG]
    # One cell takes 180 steps of 0.35 s and is told after about a minute, half its time limit, to save: SLURM counts in
    # minutes and looks twice in each.
    cluster.profile(setup=["export PACE=0.35"], time=2, grace=60)
    cluster.bench(*words, "--seed", "4", "--slurm", "profile.yaml")
    cluster.profile(setup=["export PACE=0.2"])
    cluster.bench(*words, "--seed", "0", "1", "2", "3", "--slurm", "profile.yaml")
    _, *others = cluster.jobs()
    for job in others:
        cluster.wait_for_step(job, 1)
    slurm_command("scontrol", "requeue", others[0].slurm)
    slurm_command("scancel", "--signal=USR2", others[1].slurm)
    os.kill(cluster.wait_for_step(others[2], 1).pid, signal.SIGKILL)
    # A node is drained (the jobs on it stay), and then fails.
    node = cluster.wait_for_step(others[3], 3).host
    slurm_command("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    step = cluster.wait_for_step(others[3], 4).step
    cluster.wait_for_step(others[3], step + 3)
    slurm_command("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    slurm_command("scontrol", "update", f"NodeName={node}", "State=RESUME")
    jobs = cluster.finish()
    assert [job.state for job in jobs] == ["done"] * 5, [job.note for job in jobs]
    for job in jobs:
        assert job.status is not None
        assert job.status.attempt >= 2, job.name
        assert "resuming from" in job.log.read_text(), job.name
        assert job.log.read_text().count("epoch 15/15") == 1, job.name
    _bench(cluster.folder, *words, "--seed", *map(str, range(5)), "--out", "undisturbed", OMP_NUM_THREADS="1")
    assert records(cluster.folder / "runs") == records(cluster.folder / "undisturbed")


def test_a_failing_cell_disturbs_no_other_and_is_resubmitted_alone(cluster: Cluster) -> None:
    models = ["mine.py:Slow", "mine.py:Wrong", "mine.py:Hungry"]
    cluster.profile(setup=["ulimit -v 16000000"])
    cluster.bench("lra", "--model", *models, "--task", "listops", "--scale", "smoke", *SHORT[:-3], *LONG[-3:-1],
                  "data.limit={train:64,val:32,test:32}", "--slurm", "profile.yaml")  # fmt: skip
    slow, wrong, hungry = cluster.finish()
    assert [slow.state, wrong.state, hungry.state] == ["done", "failed", "failed"]
    assert "shape" in wrong.note
    assert hungry.note.startswith("Out of memory")
    said = cluster.bench("jobs")
    assert "1 done, 2 failed" in said
    assert "Out of memory" in said
    assert "shape" in cluster.bench("jobs", "--logs", wrong.folder.name)
    done = slow.folder.joinpath("record.json").stat().st_mtime_ns
    # A layer that was edited is another one, so its cell cannot be submitted again.
    (cluster.folder / "mine.py").write_text(f"{LAYERS}\nx = 1\n")
    assert "was edited after it was launched; launch it again" in _bench(
        cluster.folder, "jobs", "--resubmit", "failed", status=2
    )
    (cluster.folder / "mine.py").write_text(LAYERS)
    cluster.profile(setup=["ulimit -v 16000000", "export MENDED=1"])
    assert cluster.bench("jobs", "--resubmit", "failed").count("submitted again") == 2
    slow, wrong, hungry = cluster.finish()
    assert [slow.state, wrong.state, hungry.state] == ["done", "done", "failed"]
    assert slow.folder.joinpath("record.json").stat().st_mtime_ns == done
    assert slow.status is not None
    assert slow.status.attempt == 1


def test_two_arrays_over_the_same_cells_do_each_once(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(benchmarks()["lra"], ["mine.py:Slow"], ["listops"], "smoke", [0, 1], LONG)
    # As if both commands had looked before one of them submitted.
    monkeypatch.setattr(slurm_submit, "unlaunched", lambda plan, out: list(plan))
    cluster.profile(setup=["export PACE=0.02"])
    place, runs = Place(None, default_cache()), cluster.folder / "runs"
    launches = [slurm_submit.submit(plan, place, runs, ["lra"], cluster.folder / "profile.yaml") for _ in range(2)]
    cluster.wait_for(lambda: not slurm_command("squeue", "--noheader").strip())
    assert [job.state for job in cluster.jobs()] == ["done"] * 2
    for job in cluster.jobs():
        assert job.status is not None
        assert job.status.attempt == 1
        assert job.log.read_text().count("== ") == 2, "both arrays came to it"
        assert job.log.read_text().count("epoch 15/15") == 1
    assert len({launched.folder for launched in launches if launched}) == 2


def test_two_processes_of_srun_compute_what_one_does(cluster: Cluster) -> None:
    words = ["lra", "--model", "mine.py:Plain", "--task", "listops", "--scale", "smoke", *LONG, "model.dropout=0"]
    # At their first start the processes sleep, so the stop signal comes before they have installed a handler.
    python, started = cluster.folder / "python", [cluster.folder / f"started{number}" for number in range(2)]
    wait = f'if mkdir "{cluster.folder}/started$SLURM_PROCID" 2>/dev/null; then exec sleep 60; fi'
    python.write_text(f'#!/bin/sh\n{wait}\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    # No name server knows the names of the virtual nodes.
    setup = ["export PACE=0.1", "export MASTER_ADDR=127.0.0.1"]
    cluster.profile(setup=setup, python=str(python))
    cluster.bench(*words, "devices=2", "accelerator=cpu", "--slurm", "profile.yaml")
    [job] = cluster.jobs()
    cluster.wait_for(lambda: all(folder.exists() for folder in started))
    slurm_command("scancel", "--signal=USR2", job.slurm)
    cluster.wait_for_step(job, 5)
    slurm_command("scancel", "--signal=USR2", job.slurm)
    [job] = cluster.finish()
    assert job.state == "done", job.note
    assert job.status is not None
    assert job.status.attempt >= 2
    assert json.loads((job.folder / "record.json").read_text())["processes"] == 2
    _bench(cluster.folder, *words, "--out", "one", OMP_NUM_THREADS="1")
    [two], [one] = records(cluster.folder / "runs").values(), records(cluster.folder / "one").values()
    assert two.pop("metrics") == pytest.approx(one.pop("metrics"), rel=1e-5)
    assert two == one


def test_the_error_of_another_rank_is_told_as_it_is(cluster: Cluster) -> None:
    cluster.profile(setup=["export MASTER_ADDR=127.0.0.1"])
    words = ["lra", "--model", "mine.py:Broken", "--task", "listops", "--scale", "smoke", *LONG, "devices=2"]
    cluster.bench(*words, "accelerator=cpu", "--slurm", "profile.yaml")
    [job] = cluster.finish()
    assert (job.state, job.note) == ("failed", "Rank 1 of 2 failed: ValueError: the layer of rank 1 is broken")
    assert "the layer of rank 1 is broken" in job.log.read_text()
    assert "the layer of rank 1 is broken" in (job.folder / "error.txt").read_text()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"gpus": 1}, "set `gpus: 0` in the profile, or use --slurm local"),
        ({"partition": "nowhere"}, "Set `partition` in the profile"),
        ({"constraint": "fast"}, "Set `constraint` in the profile"),
        ({"sbatch": {"nodelist": "node9"}}, "`exclude` or `nodelist`"),
        ({"sbatch": {"wat": "7"}}, "Correct that option"),
    ],
)
def test_a_refusal_names_the_remedy_and_leaves_nothing(values: dict, said: str, cluster: Cluster) -> None:
    plan = make_plan(benchmarks()["lra"], ["s4d"], ["listops"], "smoke", [0, 1], LONG)
    cluster.profile(**values)
    place, runs = Place(None, default_cache()), cluster.folder / "runs"
    with pytest.raises(UserError, match="SLURM refused the jobs") as error:
        slurm_submit.submit(plan, place, runs, ["lra"], cluster.folder / "profile.yaml")
    assert said in str(error.value)
    assert not cluster.jobs()
    assert not slurm_command("squeue", "--noheader").strip()


def test_a_command_inside_of_a_job_submits_what_it_would_outside(cluster: Cluster) -> None:
    """A job's SLURM_* variables would contradict the memory and the tasks of the jobs that are submitted in it."""
    words = ["lra", "--model", "s4d", "--task", "listops", "--scale", "smoke", *SHORT, "--slurm", "profile.yaml"]
    command = [sys.executable, "-c", "import sys; from ssm_bench.cli import main; sys.exit(main())", *words]
    inside = ["srun", "--mem-per-cpu=100", "--cpus-per-task=2", "--chdir", str(cluster.folder), *command]
    subprocess.run(inside, check=True, cwd=cluster.folder)
    [job] = cluster.finish()
    assert job.state == "done", job.note


def test_a_stranger_with_the_number_of_a_job_is_left_alone(cluster: Cluster) -> None:
    cluster.profile(sbatch={"hold": True})
    cluster.bench("lra", "--model", "s4d", "--task", "listops", "--scale", "smoke", *SHORT, "--slurm", "profile.yaml")
    [job] = cluster.jobs()
    assert job.state == "queued"
    slurm_command("scancel", job.slurm)
    said = slurm_command("sbatch", "--hold", "--job-name=theirs", "--wrap=true")
    stranger = said.split()[-1]
    job.launched.note_jobs({0: stranger})
    assert cluster.jobs()[0].state == "failed"
    assert "0 cells told to end" in cluster.bench("jobs", "--cancel")
    assert stranger in slurm_command("squeue", "--noheader", "--format=%A").split()


def test_jobs_run_the_code_that_was_submitted(cluster: Cluster) -> None:
    cluster.profile(sbatch={"hold": True})
    cluster.bench("lra", "--model", "s4d", "--task", "listops", "--scale", "smoke", *SHORT, "--slurm", "profile.yaml")
    [job] = cluster.jobs()
    assert job.state == "queued"
    (job.launched.folder / "code" / "code-version").write_text("the copy\n")
    waiting = slurm_command("squeue", "--noheader", "--format=%A").split()
    slurm_command("scontrol", "release", ",".join(waiting))
    cluster.finish()
    assert json.loads((job.folder / "record.json").read_text())["code"] == "the copy"


def test_a_thousand_cells(cluster: Cluster) -> None:
    cluster.profile(sbatch={"hold": True})
    words = ["lra", "--model", "s4d", "--task", "listops", "--scale", "smoke", "--seed", *map(str, range(1000)), *SHORT]
    assert "1000 cells submitted" in cluster.bench(*words, "--slurm", "profile.yaml")
    # The cluster takes arrays of 401 at most.
    assert len({job.slurm.split("_")[0] for job in cluster.jobs()}) == 3
    assert "1000 queued" in cluster.bench("jobs")
    assert "1000 cells told to end" in cluster.bench("jobs", "--cancel")
    cluster.wait_for(lambda: not slurm_command("squeue", "--noheader").strip())
    assert {job.state for job in cluster.jobs()} == {"cancelled"}


def slurm_command(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
