"""What a run asks of a machine with a GPU, here one that only says so."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from ssm_bench import estimate, run
from ssm_bench.callbacks import Keeper
from ssm_bench.cli import main
from ssm_bench.config import Recipe, Runtime, TrainerConfig
from ssm_bench.plan import Cell
from ssm_data import DATASETS
from ssm_data.contract import Place
from ssm_models.zoo import ZOO

GPU = torch.device("cuda", 1)


def tiny() -> Recipe:
    return Recipe(
        benchmark="any",
        version=1,
        task="copying",
        model_name="s4d",
        recipe="none",
        scale="smoke",
        seed=0,
        data=DATASETS["copying"](miniature=True, limit={"train": 16, "val": 8, "test": 8}),
        model=ZOO["s4d"](n_layers=1, d_model=4, d_state=4),
        trainer=TrainerConfig(batch_size=8),
    )


def test_a_run_on_the_cpu_leaves_the_gpu_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny()
    prepared = recipe.data.prepare(Place(None, tmp_path), progress=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for accelerator in ("cpu", "auto"):
        runtime = Runtime(accelerator=accelerator)
        assert run.DataModule(prepared, recipe, runtime).val_dataloader().pin_memory == (accelerator == "auto")
    run._reset_peak_memory(torch.device("cpu"))
    assert run._peak_memory(torch.device("cpu")) > 2**20  # of the process


def test_a_gpu_adds_in_a_fixed_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And new memory is not filled for it. A CPU does so as it is."""

    class Made(Exception):
        pass

    def trainer(**options: Any) -> None:
        raise Made(options["deterministic"])

    recipe = tiny()
    prepared = recipe.data.prepare(Place(None, tmp_path), progress=False)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.setattr(run.L, "Trainer", trainer)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for accelerator, expected in (("cpu", None), ("auto", "warn")):
        cell = Cell(recipe, Runtime(accelerator=accelerator))
        with pytest.raises(Made) as made:
            run._run(cell, prepared, tmp_path, Console(quiet=True))
        assert made.value.args == (expected,)
        assert torch.utils.deterministic.fill_uninitialized_memory == (expected is None)


def test_peak_memory_is_that_of_the_device_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[Any] = []
    monkeypatch.setattr(torch.cuda, "init", lambda: log.append("there are allocators"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", log.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: log.append(device) or 5)
    run._reset_peak_memory(GPU)
    assert run._peak_memory(GPU) == 5
    assert log == ["there are allocators", GPU, GPU]


def test_a_batch_that_is_too_large_is_told(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def short(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(estimate, "_time", short)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Small GPU")
    words = ["lra", "--model", "s4d", "--task", "listops", "--scale", "paper", "--dry-run", "devices=2"]
    assert main(words) == 0
    assert "a batch of 25 takes more memory than Small GPU has" in capsys.readouterr().out


def test_time_in_training_holds_what_the_gpu_has_not_done_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: time.sleep(0.2))
    keeper = Keeper(tmp_path, "val/accuracy", "max", 15.0)
    trainer: Any = SimpleNamespace(is_last_batch=True, strategy=SimpleNamespace(root_device=GPU))
    batch: Any = SimpleNamespace(y=torch.zeros(3))
    module: Any = None
    keeper.on_train_batch_start(trainer, module, batch, 0)
    keeper.on_train_batch_end(trainer, module, None, batch, 0)
    assert keeper.train_seconds >= 0.2
    assert keeper.examples == 3
