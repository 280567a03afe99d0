"""Compare the speed of the loader with the speed of training, for ``bench data status --speed``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

from ssm_data import batches
from ssm_data.contract import Batch, Prepared
from ssm_models.model import build_model

from ssm_bench.config import Recipe
from ssm_bench.fit import interface
from ssm_bench.speed.timer import best_device, rate
from ssm_bench.speed.training_step import step_seconds

#: Number of loader processes.
LOADER_WORKERS = 2
#: Seconds for which batches are read.
SECONDS = 2.0
#: A loader should be this many times as fast as training, because other work may slow down its processes.
ENOUGH = 5.0


class LoaderSpeed(NamedTuple):
    """Batches per second that the loader delivers, and that training on this device consumes."""

    loaded: float
    trained: float

    @property
    def ratio(self) -> float:
        return self.loaded / self.trained


def loader_speed(prepared: Prepared, recipe: Recipe) -> LoaderSpeed:
    """Time the loader of the recipe's training batches, and training steps of the recipe's model on such a batch.

    Batches that the loader has read before the measurement starts are not counted. A training step is the forward and
    the backward pass, without the optimiser.
    """
    settings = recipe.trainer
    loader = batches.loader(
        prepared,
        "train",
        settings.batch_size,
        seed=recipe.seed,
        workers=LOADER_WORKERS,
        drop_last=settings.drop_last,
        bucket=settings.bucket,
    )
    endless = _batches(loader)
    for _ in range(1 + LOADER_WORKERS * (loader.prefetch_factor or 0)):
        batch = next(endless)
    loaded = rate(lambda: next(endless), SECONDS)
    model = build_model(recipe.model, interface(prepared.spec))
    return LoaderSpeed(loaded, 1 / step_seconds(model, prepared.spec, batch, best_device()))


def _batches(loader: Any) -> Iterator[Batch]:
    """Yield batches without end, epoch after epoch."""
    for epoch in count():
        loader.batch_sampler.set_epoch(epoch)
        yield from loader
