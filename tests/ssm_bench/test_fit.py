"""Which models fit which task, and where the recipe of a pair comes from."""

from dataclasses import replace
from pathlib import Path

import pytest
from ssm_bench.catalog import Benchmark, ModelName, benchmark, benchmarks, models
from ssm_bench.fit import find_fit, first_fitting, interface
from ssm_bench.recipe import compose_data
from ssm_testing.benchmarks import write_benchmark
from ssm_testing.runs import LAYER, SPEC

LRA = benchmark("lra")


def fit(one: Benchmark, task: str, model: str) -> tuple[str, str]:
    found = find_fit(one, task, ModelName.parse(model))
    return found.recipe, found.note


def test_a_pair_of_a_paper_names_its_source() -> None:
    recipe, note = fit(LRA, "listops", "s4d")
    assert recipe == "paper"
    assert "arXiv:2206.11893" in note


def test_a_pair_of_no_paper_has_the_recipe_of_its_family() -> None:
    assert fit(LRA, "listops", "s4d-real")[0] == "family"
    recipe, note = fit(LRA, "listops", "lru")
    assert recipe == "family"
    for part in (LRA.tasks["listops"].part("families", "lru"), LRA.tasks["listops"].content["training"]):
        assert part["source"] in note


def test_a_family_that_the_task_does_not_know_has_the_training_of_the_task(tmp_path: Path) -> None:
    one = Benchmark(write_benchmark(tmp_path))
    assert fit(one, "copying", "s4") == ("paper", "ours (the training of the task: ours)")
    assert fit(one, "copying", "s4-fout") == ("family", "ours (the training of the task: ours)")
    assert fit(one, "copying", "s5") == ("task", "ours")


def test_a_model_of_images_does_not_fit_sequences() -> None:
    recipe, note = fit(LRA, "listops", "s4nd")
    assert recipe == "none"
    assert note.endswith(".")


def test_a_variant_names_its_own_source() -> None:
    recipe, note = fit(LRA, "listops", "s4d@v4")
    assert recipe == "paper"
    assert note.startswith("version 4")


def test_a_layer_of_ones_own_has_the_training_of_the_task(work: Path) -> None:
    (work / "mine.py").write_text(LAYER)
    assert fit(LRA, "listops", "mine.py:Mean")[0] in ("task", "family")


@pytest.mark.parametrize("name", benchmarks())
def test_every_task_has_a_paper_or_a_family_to_begin_with(name: str) -> None:
    one = benchmark(name)
    for task in one.tasks:
        assert find_fit(one, task, ModelName.parse(first_fitting(one, task))).recipe in ("paper", "family")
        # At least the sequence models of the zoo fit.
        assert sum(find_fit(one, task, ModelName.parse(model)).recipe != "none" for model in models()) >= 15


def test_the_interface_is_that_of_the_data() -> None:
    io = interface(compose_data(LRA, "retrieval", "paper").expected())
    assert (io.tokens, io.pair, io.d_output, io.l_max) == (True, True, 2, 4000)
    images = replace(SPEC, axes=(4, 8), l_max=32)
    assert interface(images).l_max == (4, 8)
