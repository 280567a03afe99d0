"""The loaders of a run: steps an epoch, evaluation of every example, and where a resumed run begins."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ssm_bench.config import Runtime, TrainerConfig
from ssm_bench.training.data import DataModule
from ssm_data import DATASETS
from ssm_data.contract import Place
from ssm_testing.runs import recipe

SIZES = {"train": 50, "val": 21, "test": 13}


def module(tmp_path: Path, loader_workers: int = 0, **trainer: Any) -> DataModule:
    data = DATASETS["copying"](miniature=True, limit=SIZES)
    prepared = data.prepare(Place(None, tmp_path), progress=False)
    chosen = recipe(data, trainer=TrainerConfig(**{"batch_size": 8} | trainer))
    return DataModule(prepared, chosen, Runtime(loader_workers=loader_workers))


@pytest.mark.parametrize(("drop_last", "steps"), [(True, 6), (False, 7)])
def test_a_partial_batch_is_dropped_in_training_alone(drop_last: bool, steps: int, tmp_path: Path) -> None:
    data = module(tmp_path, drop_last=drop_last)
    assert data.steps_per_epoch == steps == len(list(data.train_dataloader()))
    assert sum(len(batch.y) for batch in data.val_dataloader()) == 21
    assert sum(len(batch.y) for batch in data.test_dataloader()) == 13


def batches(data: DataModule, epoch: int, processed: int, ready: int) -> list[torch.Tensor]:
    """Return the batches of an epoch that Lightning has begun, as its loops count them."""
    progress = SimpleNamespace(current=SimpleNamespace(ready=ready))
    loop = SimpleNamespace(
        epoch_loop=SimpleNamespace(batch_progress=progress),
        epoch_progress=SimpleNamespace(current=SimpleNamespace(processed=processed)),
    )
    data.trainer = SimpleNamespace(fit_loop=loop)  # type: ignore[assignment]
    loader: Any = data.train_dataloader()
    loader.batch_sampler.set_epoch(epoch)
    return [batch.x for batch in loader]


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_a_resumed_epoch_has_the_batches_that_are_left(loader_workers: int, tmp_path: Path) -> None:
    """Also with loader processes, for which torch asks twice for the iterator of the sampler."""
    whole = batches(module(tmp_path), 1, 1, 0)
    left = batches(module(tmp_path, loader_workers), 1, 1, 4)
    assert len(left) == 2
    for one, other in zip(left, whole[4:], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_the_epoch_after_a_checkpoint_at_the_end_of_one_is_whole(loader_workers: int, tmp_path: Path) -> None:
    whole = batches(module(tmp_path), 1, 1, 0)
    after = batches(module(tmp_path, loader_workers), 1, 0, 6)
    assert len(after) == len(whole) == 6
    for one, other in zip(after, whole, strict=True):
        assert torch.equal(one, other)
