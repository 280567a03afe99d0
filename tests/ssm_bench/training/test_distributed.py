"""Several processes that share each batch compute what one does; they end, fail and resume together."""

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from ssm_bench.catalog import benchmark
from ssm_bench.cli import main
from ssm_bench.config import Runtime
from ssm_bench.errors import Preempted, RunError, UserError
from ssm_bench.plan import make_plan
from ssm_bench.status import Status
from ssm_bench.training import distributed
from ssm_bench.training.checkpoint import read_checkpoint

#: Sizes of which no split is shared equally: the last batches hold 10, 3 and 3 examples for two processes.
COMMAND = [
    *["lra", "--model", "s4d", "--task", "listops", "--scale", "smoke"],
    "model.d_model=8",
    "model.d_state=4",
    "trainer.epochs=4",
    "trainer.batch_size=16",
    "trainer.drop_last=false",
    "data.limit={train:314,val:51,test:67}",
    "must_beat_chance=false",
    "accelerator=cpu",
]
STEPS = 20


def test_two_processes_killed_and_resumed_compute_what_one_does(work: Path) -> None:
    """ListOps: batch norm over padded sequences, the last shares unequal."""
    assert main([*COMMAND, "--out", "one"]) == 0
    shared = [*COMMAND, "devices=2", "checkpoint_minutes=0"]
    _kill_within_an_epoch([*shared, "--out", "two"], work / "two")
    assert not list((work / "two").rglob("record.json"))
    assert main([*shared, "--out", "two"]) == 0
    [one], [two] = (list((work / out).rglob("record.json")) for out in ("one", "two"))
    one, two = json.loads(one.read_text()), json.loads(two.read_text())
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["hash"] == two["hash"]
    assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-5)
    assert (two["steps"], two["epochs"]) == (4 * STEPS, 4)
    [one], [two] = (list((work / out).rglob("metrics.csv")) for out in ("one", "two"))
    one, two = ([line.split(",") for line in file.read_text().splitlines()] for file in (one, two))
    assert one[0] == two[0]
    for first, second in zip(one[1:], two[1:], strict=True):
        assert [float(value) for value in second] == pytest.approx([float(value) for value in first], rel=1e-5)


def _kill_within_an_epoch(words: list[str], out: Path) -> None:
    code = "import sys; from ssm_bench.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            assert process.poll() is None, "the run ended before it could be killed"
            for file in out.rglob("last.ckpt"):
                os.killpg(process.pid, signal.SIGSTOP)
                if read_checkpoint(file)["global_step"] % STEPS:
                    os.killpg(process.pid, signal.SIGKILL)
                    return
                os.killpg(process.pid, signal.SIGCONT)
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError("no checkpoint was written in five minutes")


#: What child processes import.
TOGETHER = """
import os
import time

import torch
from ssm_bench.errors import Preempted, RunError
from ssm_bench.training import distributed
from ssm_bench.training.batch_norms import share_batch_norms
from ssm_models.modules.norms import BatchNorm


def share(world_size):
    torch.manual_seed(0)
    whole, cotangent = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    norm = BatchNorm(4).double()
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, 4))
    if world_size > 1:
        share_batch_norms(norm)
    x = whole[distributed.rank() :: world_size].requires_grad_()
    y = norm(x)
    (y.sin() * cotangent[distributed.rank() :: world_size]).sum().backward()
    grads = {"x": x.grad, "weight": norm.weight.grad, "bias": norm.bias.grad}
    return {"y": y.detach(), "grads": grads, **dict(norm.named_buffers())}


def save():
    torch.save(share(2), f"{distributed.rank()}.pt")
    return distributed.rank()


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("cannot be pickled")


class Foreign(Exception):
    # Its constructor takes other arguments than its message, so it cannot be made again from it.

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


ERRORS = {
    "sentence": RunError("The second one cannot."),
    "error": ValueError("The second one cannot."),
    "unpicklable": Unpicklable("The second one cannot."),
    "foreign": Foreign("The second one", "its fellow"),
}


def fail(how, where):
    # Fail in rank 1, while rank 0 computes alone or waits for rank 1.
    if distributed.rank() == 1:
        time.sleep(1)
        if how in ERRORS:
            raise ERRORS[how]
        if how == "exit":
            os._exit(9)
        os.kill(os.getpid(), 9)
    if where == "alone":
        time.sleep(300)
    distributed.all_reduce_sum(torch.ones(3))


def fail_and_report(how, where):
    try:
        with distributed.report_first_failure():
            fail(how, where)
    except Exception as error:
        with open(f"{distributed.rank()}.txt", "w") as file:
            file.write(str(error))
        raise


def fail_by_itself():
    with distributed.report_first_failure():
        distributed.all_reduce_sum(torch.ones(3))
        raise ValueError(f"rank {distributed.rank()}")


def stop():
    # Rank 1 has ended while rank 0 still saves.
    if distributed.rank() == 0:
        time.sleep(2)
        with open("saved", "w"):
            pass
    raise Preempted


def failing(value):
    raise ValueError(value)


def collect():
    rank = distributed.rank()
    values = torch.tensor([1.0, 10.0]) * (rank + 1)
    caught = ""
    try:
        distributed.call_on_rank_zero(lambda: failing(f"from rank {rank}"))
    except ValueError as error:
        caught = str(error)
    seen = {
        "sum": distributed.all_reduce_sum(values).tolist(),
        "unchanged": values.tolist(),
        "max": distributed.all_reduce_max(7 - rank),
        "gathered": distributed.all_gather({"rank": rank}),
        "zero": distributed.call_on_rank_zero(lambda: f"from rank {rank}"),
        "caught": caught,
        "is zero": distributed.is_rank_zero(),
    }
    return distributed.all_gather(seen)
"""
TWO = Runtime(devices=2, accelerator="cpu")


@pytest.fixture
def together(work: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (work / "together.py").write_text(TOGETHER)
    monkeypatch.syspath_prepend(work)
    monkeypatch.delitem(sys.modules, "together", raising=False)
    return importlib.import_module("together")


def test_batch_norm_of_two_processes_is_that_of_one(together: ModuleType) -> None:
    """Shares of 3 and 2 rows: output, every gradient, running statistics."""

    close = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)
    assert distributed.spawn(TWO, together.save) == 0
    one, parts = together.share(1), [torch.load(f"{rank}.pt") for rank in (0, 1)]
    for rank, part in enumerate(parts):
        close(part["y"], one["y"][rank::2])
        close(part["grads"]["x"], one["grads"]["x"][rank::2])
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            close(part[name], one[name])
    for name in ("weight", "bias"):
        close(parts[0]["grads"][name] + parts[1]["grads"][name], one["grads"][name])


def test_collective_operations(together: ModuleType) -> None:
    first, second = distributed.spawn(TWO, together.collect)
    assert first.pop("unchanged") == [1.0, 10.0]
    assert second.pop("unchanged") == [2.0, 20.0]
    assert (first.pop("is zero"), second.pop("is zero")) == (True, False)
    assert first == second
    assert first == {
        "sum": [3.0, 30.0],
        "max": 7,
        "gathered": [{"rank": 0}, {"rank": 1}],
        "zero": "from rank 0",
        "caught": "from rank 0",
    }


def test_a_process_alone_is_rank_zero() -> None:
    values = torch.tensor([1.0, 2.0])
    assert distributed.all_reduce_sum(values) is values
    assert distributed.all_reduce_max(3) == 3
    assert distributed.all_gather("a") == ["a"]
    assert distributed.call_on_rank_zero(lambda: 5) == 5
    assert distributed.rank() == 0
    assert distributed.is_rank_zero()
    with pytest.raises(ValueError, match="mine"), distributed.report_first_failure():
        raise ValueError("mine")


@pytest.mark.parametrize(
    ("how", "where", "kind", "said"),
    [
        ("sentence", "alone", RunError, "(?m)^The second one cannot.$"),
        ("exit", "alone", RunError, "^Process 1 of 2 ended with exit status 9.$"),
        ("error", "together", ValueError, "(?m)^The second one cannot.$"),
        ("unpicklable", "together", RunError, "The second one cannot."),
        ("foreign", "together", RunError, "The second one and its fellow"),
        ("kill", "together", RunError, "^Process 1 of 2 was ended by SIGKILL.$"),
    ],
)
def test_the_error_of_the_rank_that_failed_is_raised_and_the_others_end(
    how: str, where: str, kind: type[Exception], said: str, together: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "alone":
        monkeypatch.setattr(distributed, "END_SECONDS", 1.0)
    began = time.monotonic()
    with pytest.raises(kind, match=said):
        distributed.spawn(TWO, together.fail, how, where)
    assert time.monotonic() - began < 200
    assert not multiprocessing.active_children()


def test_rank_zero_learns_why_the_other_rank_failed(together: ModuleType, work: Path) -> None:
    """Otherwise its log and status would tell of a closed connection."""
    with pytest.raises(ValueError, match="The second one cannot"):
        distributed.spawn(TWO, together.fail_and_report, "error", "together")
    assert (work / "1.txt").read_text() == "The second one cannot."
    assert (work / "0.txt").read_text() == "Rank 1 of 2 failed: ValueError: The second one cannot."


def test_ranks_that_fail_together_tell_of_one_of_them(together: ModuleType) -> None:
    with pytest.raises((ValueError, RunError), match=r"rank [01]$"):
        distributed.spawn(TWO, together.fail_by_itself)


def test_a_rank_may_finish_saving_when_another_was_told_to_stop_and_has_ended(together: ModuleType, work: Path) -> None:
    with pytest.raises(Preempted):
        distributed.spawn(TWO, together.stop)
    assert (work / "saved").exists()


LAYER = """
import os

import torch


class Broken(torch.nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.mix = torch.nn.Linear(d_model, d_model)

    def forward(self, u):
        if os.environ.get("LOCAL_RANK") == "1":
            if "DIE" in os.environ:
                os._exit(3)
            raise ValueError("the layer of rank 1 is broken")
        return self.mix(u)
"""


@pytest.mark.parametrize(
    ("die", "said"), [(False, "the layer of rank 1 is broken"), (True, "Process 1 of 2 ended with exit status 3.")]
)
def test_the_status_and_the_command_name_the_true_error(
    die: bool, said: str, work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "mine.py").write_text(LAYER)
    if die:
        monkeypatch.setenv("DIE", "1")
    words = [word for word in COMMAND if not word.startswith("model.d_state")]
    words[words.index("s4d")] = "mine.py:Broken"
    assert main([*words, "devices=2"]) == 1
    assert said in capsys.readouterr().out
    [file] = work.rglob("status.json")
    status = Status.read(file.parent)
    assert status is not None
    assert status.state == "failed"
    assert said in status.reason
    assert "onnection" not in status.reason


def test_processes_draw_their_own_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    from ssm_bench.training.module import seed_of

    seen = {}
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        seen |= {(seed, step, rank): seed_of(seed, step) for seed in range(3) for step in range(50)}
    assert len(set(seen.values())) == len(seen) == 450
    assert seed_of(2, 49) == seen[2, 49, 2]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["devices=3"], "trainer.batch_size=32 cannot be shared equally by 3 processes"),
        (["devices=4", "nodes=3"], r"12 processes \(devices=4, nodes=3\)"),
        (["devices=0"], "devices=0 is not valid"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_anything_is_written(words: list[str], named: str) -> None:
    with pytest.raises(UserError, match=named):
        make_plan(benchmark("lra"), ["s4d"], ["listops"], "smoke", [], words)


def test_several_nodes_need_srun(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "nodes=2"]) == 1
    assert "needs srun" in capsys.readouterr().out


def test_a_batch_norm_that_would_not_share_is_refused() -> None:
    from ssm_bench.training.batch_norms import share_batch_norms
    from ssm_models.modules.norms import BatchNorm

    with pytest.raises(ValueError, match=r"1 is torch's BatchNorm1d"):
        share_batch_norms(torch.nn.Sequential(BatchNorm(3), torch.nn.BatchNorm1d(3)))
