"""What a run asks of a machine with a GPU, here one that only says so."""

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from ssm_bench import run
from ssm_bench.config import Recipe, Runtime, TrainerConfig
from ssm_bench.memory import peak_memory, reset_peak_memory
from ssm_bench.plan import Cell
from ssm_data import DATASETS
from ssm_data.contract import Place
from ssm_testing.runs import recipe

GPU = torch.device("cuda", 1)


def tiny() -> Recipe:
    data = DATASETS["copying"](miniature=True, limit={"train": 16, "val": 8, "test": 8})
    model = {"n_layers": 1, "d_model": 4, "d_state": 4}
    return recipe(data, model, trainer=TrainerConfig(batch_size=8))


def test_a_run_on_the_cpu_leaves_the_gpu_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = tiny()
    prepared = chosen.data.prepare(Place(None, tmp_path), progress=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for accelerator in ("cpu", "auto"):
        runtime = Runtime(accelerator=accelerator)
        assert run.DataModule(prepared, chosen, runtime).val_dataloader().pin_memory == (accelerator == "auto")
    reset_peak_memory(torch.device("cpu"))
    assert peak_memory(torch.device("cpu")) > 2**20  # of the process


def test_a_gpu_adds_in_a_fixed_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And new memory is not filled for it. A CPU does so as it is."""

    class Made(Exception):
        pass

    def trainer(**options: Any) -> None:
        raise Made(options["deterministic"])

    chosen = tiny()
    prepared = chosen.data.prepare(Place(None, tmp_path), progress=False)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.setattr(run.L, "Trainer", trainer)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for accelerator, expected in (("cpu", None), ("auto", "warn")):
        cell = Cell(chosen, Runtime(accelerator=accelerator))
        with pytest.raises(Made) as made:
            run._run(cell, prepared, tmp_path, Console(quiet=True), [], print)
        assert made.value.args == (expected,)
        assert torch.utils.deterministic.fill_uninitialized_memory == (expected is None)
