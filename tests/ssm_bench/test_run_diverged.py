"""A number that is not finite ends a run at its step: the sentence names step, batch and layer, and nothing counts."""

import json
import re
from pathlib import Path

import pytest
import torch
from ssm_bench.cli import main
from ssm_bench.training.checkpoint import read_checkpoint
from ssm_testing.runs import TINY, TINY_LAYER, files_below, read_record, read_records

#: A layer whose outputs are not finite from a call in training, or in evaluation, on.
LAYER = """
import torch


class Breaks(torch.nn.Module):
    def __init__(self, d_model, at=1000000, evaluation=False, value="nan"):
        super().__init__()
        self.at, self.evaluation, self.value = at, evaluation, float(value)
        self.mix = torch.nn.Linear(d_model, d_model)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, u):
        if self.training:
            self.calls += 1
        if (self.calls >= self.at and self.training) or (self.evaluation and not self.training):
            u = u * self.value
        return self.mix(u.cumsum(1) / 100)
"""


@pytest.fixture
def layer(work: Path) -> list[str]:
    """The command of a layer that breaks, six steps an epoch for two epochs."""
    (work / "mine.py").write_text(LAYER)
    return ["lra", "--model", "mine.py:Breaks", *TINY_LAYER]


def diverged(work: Path, capsys: pytest.CaptureFixture[str]) -> tuple[dict, str]:
    """Check what every run that diverged leaves, and return its record and what the command said."""
    said = capsys.readouterr().out
    record = read_record(work)
    assert record["outcome"] == "diverged"
    assert record["metrics"] == {}
    assert record["reason"] in said
    assert "1 of 1 runs gave no result" in said
    assert re.search(r"mine\.py:Breaks.* +1 +diverged|s4d.* +1 +diverged", said)
    snapshot = next(work.rglob("non-finite.ckpt"))
    assert str(snapshot.relative_to(work)) in record["reason"]
    content = read_checkpoint(snapshot)
    assert content["run_hash"] == record["hash"]
    assert content["global_step"] == record["steps"]
    assert content["state_dict"]
    assert not [name for name in files_below(work) if name.endswith(("last.ckpt", "previous.ckpt", "error.txt"))]
    status = json.loads(next(work.rglob("status.json")).read_text())
    assert status["state"] == "done"
    return record, said


@pytest.mark.parametrize(
    ("value", "at", "epoch", "batch"),
    [("nan", 1, 1, 1), ("nan", 3, 1, 3), ("nan", 9, 2, 3), ("nan", 12, 2, 6), ("inf", 9, 2, 3), ("-inf", 9, 2, 3)],
)
def test_a_run_ends_at_the_first_step_that_is_not_finite(
    value: str, at: int, epoch: int, batch: int, layer: list[str], work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*layer, f"model.args={{at:{at},value:'{value}'}}"]) == 1
    record, _ = diverged(work, capsys)
    assert record["reason"].startswith(
        f"The loss of step {at} (epoch {epoch}, batch {batch} of 6) is not finite; the first layer with such a number"
    )
    assert "Breaks" in record["reason"] or "CustomLayer" in record["reason"]
    assert record["steps"] == at - 1, "the step has changed no weight"
    content = read_checkpoint(next(work.rglob("non-finite.ckpt")))
    x, y, _ = content["batch"]
    assert len(x) == len(y) == 16
    for name, weight in content["state_dict"].items():
        # A batch norm has taken the batch into its statistics before the loss was known.
        assert weight.isfinite().all() or "running" in name


def test_a_run_that_diverged_is_done(layer: list[str], work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command computes the same, so it is not run again; the table says so each time."""
    words = [*layer, "model.args={at:3}"]
    assert main(words) == 1
    record = next(work.rglob("record.json"))
    before = record.read_bytes()
    capsys.readouterr()
    assert main(words) == 1
    said = capsys.readouterr().out
    assert "diverged: The loss of step 3" in said
    assert "done before" in said
    assert record.read_bytes() == before
    assert main(["table", "lra", "--format", "markdown"]) == 0
    assert "| diverged |" in capsys.readouterr().out


def test_a_huge_learning_rate(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*TINY, "optimizer.lr=1e30", "scheduler.name=constant", "scheduler.warmup_steps=0"]
    assert main(["lra", "--model", "s4d", *words]) == 1
    record, _ = diverged(work, capsys)
    assert re.match(r"The loss of step \d+ \(epoch \d, batch \d of 6\) is not finite", record["reason"])
    assert "Lower optimizer.lr, or set trainer.gradient_clip." in record["reason"]


def test_only_validation_is_not_finite(layer: list[str], work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*layer, "model.args={evaluation:true}"]) == 1
    record, _ = diverged(work, capsys)
    assert record["reason"].startswith(
        "After step 6 (epoch 1) the val split gives loss nan (batch 1 of its process is the first such)"
    )
    assert "the first layer with such a number is" in record["reason"]
    assert not list(work.rglob("best.ckpt"))


def test_the_number_of_a_model_is_over_the_seeds_that_have_one(
    layer: list[str], work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = LAYER.replace("self.calls >= self.at", "torch.initial_seed() < 0 or self.fails")
    source = source.replace("super().__init__()", "super().__init__(); self.fails = d_model == 8 and SEED()")
    (work / "mine.py").write_text(f"def SEED():\n    return torch.initial_seed() == 1\n{source}")
    assert main([*layer, "--seed", "0", "1", "2"]) == 1
    said = capsys.readouterr().out
    assert "1 of 3 runs gave no result" in said
    outcomes = {each["seed"]: each["outcome"] for each in read_records(work)}
    assert outcomes == {0: "done", 1: "diverged", 2: "done"}
    assert main(["table", "lra", "--format", "json"]) == 0
    [own] = json.loads(capsys.readouterr().out)["own"]
    value = own["values"]["listops"]
    assert (own["seeds"], value["n"], value["diverged"]) == ("3", 2, 1)
    assert main(["table", "lra", "--format", "markdown"]) == 0
    assert "(1 of 3 diverged) |" in capsys.readouterr().out
    numbers = [each["metrics"]["test/accuracy"] for each in read_records(work) if each["outcome"] == "done"]
    assert value["mean"] == pytest.approx(50 * sum(numbers))


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.exhaustive), 1])
def test_two_processes_end_together(rank: int, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the batch of one of them is not finite."""
    source = LAYER.replace("self.calls >= self.at", f"self.calls >= self.at and torch.distributed.get_rank() == {rank}")
    (work / "mine.py").write_text(source)
    words = [*TINY_LAYER, "devices=2", "accelerator=cpu", "model.args={at:4}"]
    assert main(["lra", "--model", "mine.py:Breaks", *words]) == 1
    record, _ = diverged(work, capsys)
    assert record["processes"] == 2
    assert record["reason"].startswith("The loss of step 4 (epoch 1, batch 4 of 6) is not finite; the first layer")
    x, _, _ = read_checkpoint(next(work.rglob("non-finite.ckpt")))["batch"]
    assert len(x) == 8


def test_a_snapshot_repeats_the_fault(layer: list[str], work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its weights and batch give the number again."""
    assert main([*layer, "model.args={at:3}"]) == 1
    content = read_checkpoint(next(work.rglob("non-finite.ckpt")))
    from ssm_bench.catalog import benchmark
    from ssm_bench.fit import interface
    from ssm_bench.plan import make_plan
    from ssm_models.model import build_model

    words = [word for word in TINY_LAYER if "=" in word]
    [cell] = make_plan(benchmark("lra"), ["mine.py:Breaks"], ["listops"], "smoke", [], [*words, "model.args={at:3}"])
    model = build_model(cell.recipe.model, interface(cell.recipe.data.expected()))
    model.load_state_dict({name.removeprefix("model."): value for name, value in content["state_dict"].items()})
    x, _, lengths = content["batch"]
    assert not torch.isfinite(model.train()(x, lengths)).all()
