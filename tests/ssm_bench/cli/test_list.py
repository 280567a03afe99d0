"""``bench list`` and ``bench show``: every pair with the origin of its recipe."""

import re

import pytest
import yaml
from ssm_bench.catalog import benchmark, benchmarks, models
from ssm_bench.cli import main
from ssm_bench.cli.list import SIGNS


def test_every_pair_is_in_the_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    for one in benchmarks().values():
        part = said[said.index(f"{one.name}: {one.title}") :]
        for model in models():
            row = next(line for line in part.splitlines() if re.match(rf"│ {model} +│", line))
            signs = [cell.strip() for cell in row.strip("│").split("│")][1:]
            assert len(signs) == len(one.tasks)
            assert set(signs) <= set(SIGNS.values())


def test_one_benchmark_has_reasons_and_variants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "lra"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"s4nd: .+\. \(listops, text, retrieval, image, pathfinder, path-x\)", said)
    for task in benchmark("lra").tasks.values():
        for variant in task.content.get("variants") or {}:
            assert f"{task.name} has the variant @{variant} of " in said


@pytest.mark.parametrize(
    ("model", "origin"),
    [
        ("s4d", "A paper ran this pair"),
        ("lru", "No paper ran this pair; these are the settings of the model's family"),
        ("s4d@v4", "A paper ran this pair"),
    ],
)
def test_a_recipe_is_shown_with_its_origin(model: str, origin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "lra", "--model", model, "--task", "listops", "optimizer.lr=0.5"]) == 0
    said = capsys.readouterr().out
    assert origin in said
    shown = yaml.safe_load(said)
    assert shown["optimizer"]["lr"] == 0.5
    assert shown["model"]["name"] == model


def test_a_model_that_does_not_fit_is_refused_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "lra", "--model", "s4nd", "--task", "listops"]) == 2
    assert "s4nd does not fit lra/listops" in capsys.readouterr().err
