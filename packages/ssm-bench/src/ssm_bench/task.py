"""The LightningModule of sequence classification: loss, metrics, optimiser. Imports torch."""

from __future__ import annotations

from typing import Any, cast

import lightning as L
import torch
from ssm_data.contract import Batch, Spec
from ssm_models.config import Interface
from ssm_models.optim import constant, cosine_warmup, linear_warmup, parameter_groups
from torch import nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from ssm_bench.config import Recipe


def interface(spec: Spec) -> Interface:
    """What a model must take and give for this data."""
    return Interface(tokens=spec.tokens, d_input=spec.d_input, d_output=spec.d_output, l_max=spec.l_max, pair=spec.pair)


class ClassificationTask(L.LightningModule):
    """Cross entropy and accuracy; metrics are exact means over examples, whatever the batches.

    Randomness in a training step (dropout) is a function of seed and step alone, so a run that is cut off and
    resumed computes the same numbers as one that is not.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, classes: int, steps_per_epoch: int) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.steps_per_epoch = steps_per_epoch
        self.loss = nn.CrossEntropyLoss()
        self.meters = nn.ModuleDict(
            {
                f"{split}_meters": MetricCollection(
                    {"loss": MeanMetric(), "accuracy": MulticlassAccuracy(classes, average="micro")},
                    compute_groups=False,
                )
                for split in ("train", "val", "test")
            },
        )
        # An epoch that is resumed in its middle goes on with the sums of its first part.
        cast(MetricCollection, self.meters["train_meters"]).persistent(True)

    def on_train_epoch_start(self) -> None:
        # Lightning tells the epoch to samplers, but not to batch samplers.
        loader: Any = self.trainer.train_dataloader
        loader.batch_sampler.set_epoch(self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        torch.manual_seed((self.recipe.seed << 32) + self.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        return self._step("train", batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._step("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._step("test", batch)

    def _step(self, split: str, batch: Batch) -> torch.Tensor:
        x, y, lengths = batch
        logits = self.model(x, lengths)
        loss = self.loss(logits, y)
        meters: Any = self.meters[f"{split}_meters"]
        meters["loss"].update(loss.detach(), weight=len(y))
        meters["accuracy"].update(logits.detach(), y)
        return loss

    def on_train_epoch_end(self) -> None:
        self._log("train")

    def on_validation_epoch_end(self) -> None:
        self._log("val")

    def on_test_epoch_end(self) -> None:
        self._log("test")

    def _log(self, split: str) -> None:
        meters: Any = self.meters[f"{split}_meters"]
        self.log_dict({f"{split}/{name}": value for name, value in meters.compute().items()})
        meters.reset()

    def configure_optimizers(self) -> Any:
        settings = self.recipe.optimizer
        groups = parameter_groups(
            self.model,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            decay_norms_and_biases=settings.decay_norms_and_biases,
        )
        optimizer: torch.optim.Optimizer
        if settings.name == "sgd":
            optimizer = torch.optim.SGD(groups, lr=settings.lr, weight_decay=settings.weight_decay)
        else:
            kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
            optimizer = kind(groups, lr=settings.lr, weight_decay=settings.weight_decay, betas=settings.betas)
        schedule = self.recipe.scheduler
        total = schedule.total_steps or self.recipe.trainer.epochs * self.steps_per_epoch
        if schedule.name == "constant":
            scheduler = constant(optimizer, schedule.warmup_steps)
        else:
            decay = cosine_warmup if schedule.name == "cosine_warmup" else linear_warmup
            scheduler = decay(optimizer, schedule.warmup_steps, total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
