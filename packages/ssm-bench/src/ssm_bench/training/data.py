"""The prepared data of a run as Lightning's data module."""

from __future__ import annotations

from typing import Any, cast

import lightning as L
from ssm_data import batches
from ssm_data.contract import Prepared
from torch.utils.data import DataLoader

from ssm_bench.config import Recipe, Runtime
from ssm_bench.training import distributed


class DataModule(L.LightningDataModule):
    """Loaders of the prepared data. Training batches depend on seed and epoch only, not on the loading processes."""

    def __init__(self, prepared: Prepared, recipe: Recipe, runtime: Runtime) -> None:
        super().__init__()
        self.prepared = prepared
        self.recipe = recipe
        self.runtime = runtime

    @property
    def steps_per_epoch(self) -> int:
        """Training steps of an epoch."""
        return len(self._loader("train", self.recipe.trainer.drop_last))

    def train_dataloader(self) -> DataLoader:
        loader = self._loader("train", self.recipe.trainer.drop_last)
        sampler = cast(batches.Batches, loader.batch_sampler)
        if self.trainer is not None:
            loop: Any = self.trainer.fit_loop
            done = loop.epoch_loop.batch_progress.current.ready
            # If a checkpoint was written at the end of an epoch, Lightning asks for batches before it counts the epoch.
            sampler.start_at(loop.epoch_progress.current.processed, done if done < len(sampler) else 0)
        return loader

    def val_dataloader(self) -> DataLoader:
        return self._loader("val", drop_last=False)

    def test_dataloader(self) -> DataLoader:
        return self._loader("test", drop_last=False)

    def _loader(self, split: str, drop_last: bool) -> DataLoader:
        return batches.loader(
            self.prepared,
            split,
            self.recipe.trainer.batch_size,
            seed=self.recipe.seed,
            workers=self.runtime.loader_workers,
            pin_memory=distributed.on_gpus(self.runtime),
            drop_last=drop_last,
            bucket=self.recipe.trainer.bucket,
            rank=distributed.rank(),
            world_size=self.runtime.processes,
        )
