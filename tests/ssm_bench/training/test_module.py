"""The harness for every kind of data: schedules, streams, and a run of each kind that learns."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from ssm_bench.config import Recipe, Runtime, SchedulerConfig, TrainerConfig
from ssm_bench.errors import RunError
from ssm_bench.fit import interface
from ssm_bench.plan import Cell
from ssm_bench.run import run_cell
from ssm_bench.training.losses import metrics
from ssm_bench.training.module import TrainingModule
from ssm_data import DATASETS
from ssm_data.contract import Batch, Place, Spec
from ssm_models.model import build_model
from ssm_testing.runs import SPEC, random_batch, recipe
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def module_of(model: torch.nn.Module, chosen: Recipe, spec: Spec, steps_per_epoch: int = 1) -> TrainingModule:
    return TrainingModule(model, chosen, spec, steps_per_epoch, "00000000", Path())


CHANGES = pytest.mark.parametrize(
    "change",
    [
        {"l_output": 12},
        {"l_output": 3},
        {"tokens": False, "target": "value", "d_output": 2},
        {"tokens": False, "target": "value", "l_output": 5},
        {"pair": True, "lengths": True},
        {"tokens": False, "target": "labels", "d_output": 7},
    ],
    ids=str,
)


@CHANGES
def test_a_loss_on_a_gpu_is_not_waited_for(change: dict) -> None:
    """Nothing of a training step is copied between the host and the device, here of fake tensors."""

    class Gives(torch.nn.Module):
        def forward(self, x: torch.Tensor, lengths: None) -> torch.Tensor:
            return x

    class Copies(TorchDispatchMode):
        found = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            devices = {each.device.type for each in tree_leaves((args, result)) if isinstance(each, torch.Tensor)}
            self.found += len(devices) > 1 or func is torch.ops.aten._local_scalar_dense.default
            return result

    spec = replace(SPEC, **change)
    module = module_of(Gives(), recipe(DATASETS["copying"](miniature=True)), spec)
    with FakeTensorMode():
        _, y, _ = random_batch(spec, 3)
        y = y.to("cuda")
        outputs = torch.zeros(*((3, spec.l_output) if spec.l_output else (3,)), spec.d_output, device="cuda")
        module._sums["train"] = torch.zeros(3, device="cuda")
        with Copies() as copies:
            module._step("train", Batch(outputs, y, None))
    assert module._sums["train"].device.type == "cuda"
    assert copies.found == 0


def learning_rates(schedule: SchedulerConfig, values: list[float], metric: str = "accuracy") -> list[float]:
    """The rate of each epoch of three steps whose validation metrics are given."""
    data = DATASETS["copying"](miniature=True)
    module = module_of(torch.nn.Linear(1, 1), recipe(data, scheduler=schedule), replace(SPEC, metric=metric), 3)
    made = module.configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    rates = []
    for value in values:
        rates.append(optimizer.param_groups[0]["lr"])
        for _ in range(3):
            optimizer.step()
            if made["lr_scheduler"]["interval"] == "step":
                scheduler.step()
        if made["lr_scheduler"]["interval"] == "epoch":
            scheduler.step(value)
    return rates


def test_multistep_falls_after_its_epochs() -> None:
    schedule = SchedulerConfig(name="multistep", milestones=(2, 3), factor=0.5)
    assert learning_rates(schedule, [0.0] * 5) == pytest.approx([0.01, 0.01, 0.005, 0.0025, 0.0025])


@pytest.mark.parametrize(("metric", "sign"), [("accuracy", 1), ("perplexity", -1)])
def test_plateau_falls_when_patience_ends(metric: str, sign: int) -> None:
    """Better at epochs 0, 1 and 4; two worse ones are borne, the third is not."""
    values = [sign * value for value in (1.0, 2.0, 1.5, 1.5, 3.0, 2.0, 2.0, 2.0, 2.0)]
    rates = learning_rates(SchedulerConfig(name="plateau", patience=2, factor=0.1), values, metric)
    assert rates == pytest.approx([0.01] * 8 + [0.001])


def test_a_schedule_with_settings_of_another_is_refused() -> None:
    with pytest.raises(ValueError, match="no warm-up"):
        SchedulerConfig(name="plateau", warmup_steps=10)
    with pytest.raises(ValueError, match="milestones"):
        SchedulerConfig(name="multistep")
    with pytest.raises(ValueError, match="milestones"):
        SchedulerConfig(milestones=(3,))


FEW = {"train": 256, "val": 64, "test": 64}
#: Metric, options of the data, options of the model, training.
KINDS = {
    "copying": ("accuracy", {"memory": 4}, {}, TrainerConfig(batch_size=32, epochs=6)),
    "delay": ("mse", {"l_max": 100, "lag": 5}, {}, TrainerConfig(batch_size=32, epochs=1)),
    "reconstruct": ("mse", {"l_max": 100, "memory": 5}, {"decoder": "last"}, TrainerConfig(batch_size=32, epochs=1)),
    "adding": ("mse", {"l_max": 10}, {}, TrainerConfig(batch_size=16, epochs=4)),
    "etth": ("mse", {"limit": FEW}, {}, TrainerConfig(batch_size=16, epochs=3)),
    "wikitext-2": ("perplexity", {"l_max": 32}, {}, TrainerConfig(batch_size=8, epochs=1, carry_state=True)),
    "text8": ("bits", {"l_max": 64}, {}, TrainerConfig(batch_size=8, epochs=1)),
    "sc09": ("bits", {"limit": FEW}, {}, TrainerConfig(batch_size=8, epochs=4)),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_data_learns_from_end_to_end(name: str, tmp_path: Path) -> None:
    metric, data, model, trainer = KINDS[name]
    chosen = recipe(DATASETS[name](miniature=True, **data), model, trainer=trainer, must_beat_chance=True)
    cell = Cell(chosen, Runtime(accelerator="cpu"))
    record = run_cell(cell, Place(None, tmp_path / "cache"), tmp_path / "runs", Console(quiet=True), ["any"])
    assert record.metric == metric
    with next(tmp_path.rglob("metrics.csv")).open() as file:
        rows = [float(row[f"val/{metric}"]) for row in csv.DictReader(file)]
    best = max if metric == "accuracy" else min
    assert record.metrics[f"val/{metric}"] == pytest.approx(best(rows))
    assert rows[int(record.metrics["best_epoch"])] == best(rows)


def stream_metric(tmp_path: Path, batch_size: int, carry: bool) -> float:
    """Perplexity of an untrained model."""
    data = DATASETS["text8"](miniature=True, l_max=16, limit={"train": 200, "val": 500, "test": 500})
    prepared = data.prepare(Place(None, tmp_path), progress=False)
    trainer = TrainerConfig(batch_size=batch_size, carry_state=carry)
    chosen = recipe(data, trainer=trainer)
    torch.manual_seed(0)
    module = module_of(build_model(chosen.model, interface(prepared.spec)), chosen, prepared.spec).eval()
    from ssm_data.batches import loader

    with torch.no_grad():
        for batch in loader(prepared, "test", batch_size, seed=0):
            module._step("test", batch)
    return metrics(prepared.spec, module._sums["test"])["bits"]


def test_a_carried_state_is_one_long_context(tmp_path: Path) -> None:
    """Windows of 16 with the state carried give what one window of all 500 gives; without it they do not."""
    data = DATASETS["text8"](miniature=True, l_max=500, limit={"train": 500, "val": 500, "test": 500})
    prepared = data.prepare(Place(None, tmp_path), progress=False)
    chosen = recipe(data)
    torch.manual_seed(0)
    model = build_model(chosen.model, interface(prepared.spec)).eval()
    tokens = torch.from_numpy(prepared.split("test").tokens[:501].astype("int64"))
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(tokens[None, :-1])[0], tokens[1:]).item() / math.log(2)
    assert stream_metric(tmp_path, 1, carry=True) == pytest.approx(loss, rel=1e-5)
    assert abs(stream_metric(tmp_path, 1, carry=False) - loss) > 1e-4


def test_the_state_of_a_stream_outlives_an_interruption(tmp_path: Path) -> None:
    data = DATASETS["text8"](miniature=True, l_max=16)
    spec = data.prepare(Place(None, tmp_path), progress=False).spec
    chosen = recipe(data, trainer=TrainerConfig(batch_size=3, carry_state=True))
    first, second = (module_of(build_model(chosen.model, interface(spec)), chosen, spec) for _ in range(2))
    second.load_state_dict(first.state_dict())
    x = torch.randint(spec.d_input, (3, 32))
    first._carry(x[:, :16])
    checkpoint: dict = {}
    first.on_save_checkpoint(checkpoint)
    second.trainer = SimpleNamespace(world_size=1)
    second.on_load_checkpoint(checkpoint)
    assert torch.equal(first._carry(x[:, 16:]), second._carry(x[:, 16:]))
    second.trainer = SimpleNamespace(world_size=2)
    with pytest.raises(RunError, match=r"1 processes carried states.*has 2"):
        second.on_load_checkpoint(checkpoint)


def test_the_state_of_a_resumed_stream_goes_to_the_device() -> None:
    """A checkpoint is read before the model is moved."""

    class Adds(torch.nn.Module):
        def chunk(self, x: torch.Tensor, state: tuple) -> tuple:
            return x + state[0], state

    module = module_of(Adds(), recipe(DATASETS["copying"](miniature=True)), SPEC)
    module.trainer = SimpleNamespace(world_size=1)
    with FakeTensorMode():
        module.on_load_checkpoint({"states": [(torch.zeros(3), None)], "train_sums": torch.zeros(3)})
        assert module._carry(torch.zeros(3, device="cuda")).device.type == "cuda"


def test_what_makes_no_sense_is_refused() -> None:
    data = DATASETS["copying"](miniature=True)
    with pytest.raises(RunError, match="streams"):
        module_of(torch.nn.Identity(), recipe(data, trainer=TrainerConfig(carry_state=True)), SPEC)
    with pytest.raises(RunError, match="bidirectional"):
        module_of(torch.nn.Identity(), recipe(data, {"bidirectional": True}), replace(SPEC, metric="bits"))
