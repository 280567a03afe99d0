"""What a dry run says of a cell."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ssm_bench.catalog import benchmark
from ssm_bench.cli import main
from ssm_bench.config import Recipe
from ssm_bench.plan import Cell, make_plan
from ssm_bench.speed import estimate
from ssm_data.contract import Place, default_cache

SMALL = ["model.d_model=4", "model.n_layers=1"]
LAYER = "from torch import nn\nclass Mix(nn.Module):\n    def __init__(self, d): super().__init__()\n"


def cell(model: str = "s4d", scale: str = "paper", *overrides: str) -> Cell:
    (only,) = make_plan(benchmark("lra"), [model], ["listops"], scale, [], [*SMALL, *overrides])
    return only


def preview(cell: Cell, out: Path) -> str:
    return estimate.preview_cell(cell, Place(None, default_cache()), out)


def test_a_preview_is_the_recipe_with_comments_and_prints_nothing(tmp_path: Path, capsys: Any) -> None:
    text = preview(cell(), tmp_path)
    recipe = yaml.safe_load(text)
    assert recipe["model"]["d_model"] == 4
    comments = [line for line in text.splitlines() if line.startswith("#")]
    words = ("hash ", "data: ", "run folder: ", "parameters", "time: about ")
    assert len(comments) == len(words)
    assert all(word in line for word, line in zip(words, comments, strict=True))
    assert "(not started)" in text
    assert not list(tmp_path.iterdir())
    assert not capsys.readouterr().out


def test_the_time_is_that_of_all_steps_and_evaluations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """96,000 examples in batches of 50, and 4,000 in each evaluation at a third of a training step."""
    monkeypatch.setattr(estimate, "_step", lambda *_: (3.0, "a machine"))
    text = preview(cell("s4d", "paper", "trainer.batch_size=50", "trainer.epochs=2"), tmp_path)
    seconds = 2 * (96_000 / 50 * 3.0 + 4_000 / 50 * 1.0)
    assert f"about {seconds / 3600:.1f} hours on this machine (3,840 steps of 3 s and 2 evaluations; a machine," in text


def test_a_part_of_the_batch_is_measured_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe: Recipe = cell("s4d", "paper", "trainer.batch_size=48").recipe
    spec = recipe.data.expected()
    monkeypatch.setattr(estimate, "best_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(estimate, "step_seconds", lambda model, spec, batch, device: len(batch.x))
    assert estimate.MEASURED_ELEMENTS // spec.l_max < 24
    seconds, _ = estimate._step(torch.nn.Identity(), spec, recipe, processes=2)
    assert seconds == 24


def test_a_batch_that_is_too_large_is_told(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def short(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(estimate, "_step", short)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Small GPU")
    words = ["lra", "--model", "s4d", "--task", "listops", "--scale", "paper", "--dry-run", "devices=2", *SMALL]
    assert main(words) == 0
    assert "a batch of 25 takes more memory than Small GPU has" in capsys.readouterr().out


@pytest.mark.parametrize("scale", ["paper", "smoke"])
def test_a_layer_that_cannot_be_imported_is_a_sentence(scale: str, work: Path, capsys: Any) -> None:
    (work / "own.py").write_text(f"1 / 0\n{LAYER}")
    words = ["lra", "--model", "own.py:Mix", "--task", "listops", "--scale", scale, "--dry-run", *SMALL]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "own.py, line 1: ZeroDivisionError" in said
    assert len(said.splitlines()) == 1


def test_a_layer_that_cannot_run_is_a_sentence_with_the_file_of_the_traceback(work: Path) -> None:
    (work / "own.py").write_text(f"{LAYER}    def forward(self, u): return u @ u\n")
    text = preview(cell(f"{work}/own.py:Mix"), work / "runs")
    line = next(
        line for line in text.splitlines() if line.startswith("# time: not known, because a training step fails")
    )
    log = Path(line.rpartition("traceback in ")[2].rstrip(")"))
    assert "return u @ u" in log.read_text()
