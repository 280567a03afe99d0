"""Loader against training."""

import pytest
from ssm_bench.catalog import benchmark
from ssm_bench.recipe import compose_recipe
from ssm_bench.speed import loaders
from ssm_data.contract import Place, default_cache


def test_the_loader_and_training_are_timed_in_batches_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "SECONDS", 0.1)
    recipe, _ = compose_recipe(
        benchmark("lra"), "image", "s4d", "smoke", None, ["model.d_model=4", "model.n_layers=1", "trainer.batch_size=4"]
    )
    speed = loaders.loader_speed(recipe.data.prepare(Place(None, default_cache()), progress=False), recipe)
    assert speed.loaded > 0
    assert speed.trained > 0
    assert speed.ratio == speed.loaded / speed.trained
