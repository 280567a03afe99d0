"""The problems that are measured."""

import dataclasses

import pytest
from ssm_bench.catalog import benchmark
from ssm_bench.recipe import compose_recipe
from ssm_bench.speed import models
from ssm_bench.speed.grid import NAMES, grid, length_sweep
from ssm_core.backends import OPERATORS
from ssm_models.options import to_options
from ssm_testing.problems import TRAINED


def test_every_operator_is_in_the_grid():
    assert set(OPERATORS) <= set(NAMES)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_grid_has_every_name_and_the_sizes_of_the_papers(device):
    assert {problem.name for problem in grid(device)} == set(NAMES)
    for problem in grid(device):
        if problem.name in TRAINED:
            suite, task, model = models.TRAINED[problem.name]
            recipe, _ = compose_recipe(benchmark(suite), task, model, "paper", None, [])
            assert (recipe.model.d_model, to_options(recipe.model)["d_state"]) == (problem.H, problem.N)
            assert getattr(recipe.data, "l_max", recipe.data.expected().l_max) == problem.L
            whole = problem.layers == recipe.model.n_layers
            assert whole == (device == "cuda" or task == "path-x")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_sweep_varies_length_alone(device):
    for name in {problem.name for problem in length_sweep(device)}:
        problems = [problem for problem in length_sweep(device) if problem.name == name]
        assert len({problem.L for problem in problems}) == len(problems) >= 3
        assert len({dataclasses.replace(problem, L=0) for problem in problems}) == 1
