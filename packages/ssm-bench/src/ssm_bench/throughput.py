"""Does the loader keep ahead of training? ``bench data status --speed`` measures both on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import torch
from ssm_data import batches
from ssm_data.contract import Batch, Prepared
from ssm_models.model import build_model

from ssm_bench.config import Recipe
from ssm_bench.task import interface

WORKERS = 2
SECONDS = 2.0
STEPS = 3
ENOUGH = 5.0  # times as fast as training: then workers that are busy otherwise do not hold it up


class Speed(NamedTuple):
    """Batches a second that the loader delivers with two workers, and that a training step on this device consumes."""

    loaded: float
    trained: float

    @property
    def ratio(self) -> float:
        return self.loaded / self.trained


def measure(prepared: Prepared, recipe: Recipe) -> Speed:
    """Train batches of the recipe: read for two seconds, after those that were read ahead; and three steps of training.

    A step is the forward and backward pass of the recipe's model on a batch, without the optimiser.
    """
    settings = recipe.trainer
    loader = batches.loader(
        prepared,
        "train",
        settings.batch_size,
        seed=recipe.seed,
        workers=WORKERS,
        drop_last=settings.drop_last,
        bucket=settings.bucket,
    )
    endless = _batches(loader)
    for _ in range(1 + WORKERS * (loader.prefetch_factor or 0)):
        batch = next(endless)
    start, read = time.perf_counter(), 0
    while (seconds := time.perf_counter() - start) < SECONDS:
        next(endless)
        read += 1
    return Speed(read / seconds, 1 / _step(batch, prepared, recipe))


def _batches(loader: Any) -> Iterator[Batch]:
    """Those of one epoch after the other."""
    for epoch in count():
        loader.batch_sampler.set_epoch(epoch)
        yield from loader


def _step(batch: Batch, prepared: Prepared, recipe: Recipe) -> float:
    """Seconds of a step, the least of some."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build_model(recipe.model, interface(prepared.spec)).to(device).train()
    x = batch.x.to(device)
    lengths = None if batch.lengths is None else batch.lengths.to(device)
    seconds = []
    for _ in range(1 + STEPS):
        start = time.perf_counter()
        model(x, lengths).square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
