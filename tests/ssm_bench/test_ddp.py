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
from ssm_bench.errors import RunError, UserError
from ssm_bench.plan import make_plan

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
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert process.poll() is None, "the run ended before it could be killed"
            for file in out.rglob("last.ckpt"):
                os.killpg(process.pid, signal.SIGSTOP)
                if torch.load(file, map_location="cpu", weights_only=False)["global_step"] % STEPS:
                    os.killpg(process.pid, signal.SIGKILL)
                    return
                os.killpg(process.pid, signal.SIGCONT)
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError("no checkpoint was written in two minutes")


#: What child processes import.
TOGETHER = """
import os
import time

import torch
from ssm_bench import processes
from ssm_bench.errors import RunError
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
    x = whole[processes.rank() :: world_size].requires_grad_()
    y = norm(x)
    (y.sin() * cotangent[processes.rank() :: world_size]).sum().backward()
    grads = {"x": x.grad, "weight": norm.weight.grad, "bias": norm.bias.grad}
    return {"y": y.detach(), "grads": grads, **dict(norm.named_buffers())}


def save():
    torch.save(share(2), f"{processes.rank()}.pt")
    return processes.rank()


def fail(how):
    if processes.rank() == 1:
        if how == "raise":
            raise RunError("The second one cannot.")
        os._exit(9)
    time.sleep(300)
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
    from ssm_bench import processes

    close = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)
    assert processes.start(TWO, together.save) == 0
    one, parts = together.share(1), [torch.load(f"{rank}.pt") for rank in (0, 1)]
    for rank, part in enumerate(parts):
        close(part["y"], one["y"][rank::2])
        close(part["grads"]["x"], one["grads"]["x"][rank::2])
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            close(part[name], one[name])
    for name in ("weight", "bias"):
        close(parts[0]["grads"][name] + parts[1]["grads"][name], one["grads"][name])


@pytest.mark.parametrize(
    ("how", "said"), [("raise", "The second one cannot."), ("die", "Process 1 of 2 ended with exit status 9.")]
)
def test_a_process_that_fails_ends_the_others(how: str, said: str, together: ModuleType) -> None:
    from ssm_bench import processes

    began = time.monotonic()
    with pytest.raises(RunError, match=said):
        processes.start(TWO, together.fail, how)
    assert time.monotonic() - began < 200
    assert not multiprocessing.active_children()


def test_processes_draw_their_own_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    from ssm_bench import processes
    from ssm_bench.task import seed_of

    seen = {}
    for rank in range(3):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        seen |= {(seed, step, rank): seed_of(seed, step) for seed in range(3) for step in range(50)}
    assert len(set(seen.values())) == len(seen) == 450
    assert seed_of(2, 49) == seen[2, 49, 2]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["devices=3"], "trainer.batch_size=32 cannot be shared equally by 3 processes"),
        (["devices=4", "nodes=3"], r"12 processes \(devices=4, nodes=3\)"),
        (["devices=0"], "devices is 0"),
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
