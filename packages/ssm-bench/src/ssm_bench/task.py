"""The LightningModule of every benchmark: loss and metrics by the data's spec, optimiser, schedule. Imports torch."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import numpy as np
import torch
from ssm_data.contract import Batch, Spec
from ssm_models.config import Interface
from ssm_models.optim import constant, cosine_warmup, linear_warmup, parameter_groups
from torch import Tensor, nn
from torch.nn import functional as F

from ssm_bench import processes
from ssm_bench.config import Recipe

#: A target that is none, where sequences are padded.
NO_TARGET = -100


def interface(spec: Spec) -> Interface:
    """What a model must take and give for this data."""
    return Interface(tokens=spec.tokens, d_input=spec.d_input, d_output=spec.d_output, l_max=spec.l_max, pair=spec.pair)


def class_sums(logits: Tensor, y: Tensor) -> Tensor:
    """Number of targets, their cross entropy in nats, and hits.

    Args:
        logits: (..., classes).
        y: integers (...), -100 where there is no target.
    """
    logits, y = logits.flatten(0, -2), y.flatten()
    loss = F.cross_entropy(logits, y, ignore_index=NO_TARGET, reduction="sum")
    return torch.stack([(y != NO_TARGET).sum(), loss, (logits.argmax(-1) == y).sum()])


def value_sums(values: Tensor, y: Tensor) -> Tensor:
    """Number of targets, their squared and their absolute errors; both arguments are real and of one shape."""
    error = values.float() - y
    return torch.stack([torch.tensor(y.numel(), device=y.device), error.square().sum(), error.abs().sum()])


def metrics(spec: Spec, sums: Tensor) -> dict[str, float]:
    """Loss and metrics from the sums over all targets."""
    count, first, second = sums.tolist()
    loss, other = first / count, second / count
    if spec.target == "value":
        return {"loss": loss, "mse": loss, "rmse": math.sqrt(loss), "mae": other}
    values = {"loss": loss, "accuracy": other}
    if spec.metric == "perplexity":
        values["perplexity"] = float(np.exp(loss))
    elif spec.metric == "bits":
        values["bits"] = loss / math.log(2)
    return values


def seed_of(seed: int, step: int) -> int:
    """The seed of this process in a training step: none is that of another step or process."""
    return int(np.random.SeedSequence([seed, step, processes.rank()]).generate_state(1, np.uint64)[0])


class Task(L.LightningModule):
    """Training and evaluation of a model on data of a spec.

    The loss is the mean cross entropy or squared error over the targets of the whole batch, and a metric the mean over
    all targets of a split, whatever the batches and however many processes share them.

    Randomness in a training step (dropout) is a function of seed, step and process alone, so a run that is cut off and
    resumed computes the same numbers as one that is not.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, spec: Spec, steps_per_epoch: int) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.spec = spec
        self.steps_per_epoch = steps_per_epoch
        # Of this process. Those of training outlive an epoch that is cut off; see on_save_checkpoint.
        self._sums = {split: torch.zeros(3) for split in ("train", "val", "test")}

    def on_train_epoch_start(self) -> None:
        # Lightning tells the epoch to samplers, but not to batch samplers.
        loader: Any = self.trainer.train_dataloader
        loader.batch_sampler.set_epoch(self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        torch.manual_seed(seed_of(self.recipe.seed, self.global_step))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.spec.lengths:
            batch = self._as_long_as_all(batch)
        count, loss, _ = self._step("train", batch)
        # Gradients are averaged over the processes, whose shares may differ in targets.
        return loss * (self.trainer.world_size / processes.total(count.detach()))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._step("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._step("test", batch)

    def _as_long_as_all(self, batch: Batch) -> Batch:
        """Padded to the longest sequence of all processes, as one process would: batch norms count padding too."""
        x, y, lengths = batch
        extra = processes.largest(x.shape[1]) - x.shape[1]
        return Batch(F.pad(x, (0, extra)), F.pad(y, (0, extra), value=NO_TARGET) if self.spec.l_output else y, lengths)

    def _step(self, split: str, batch: Batch) -> Tensor:
        x, y, lengths = batch
        outputs = self.model(x, lengths)
        sums = class_sums(outputs, y) if self.spec.target == "class" else value_sums(outputs, y)
        # In double precision the order of the batches does not show; Apple's GPUs have none.
        exact = torch.float32 if sums.device.type == "mps" else torch.float64
        self._sums[split] = self._sums[split].to(sums.device) + sums.detach().to(exact)
        return sums

    def on_train_epoch_end(self) -> None:
        self._log("train")

    def on_validation_epoch_end(self) -> None:
        self._log("val")

    def on_test_epoch_end(self) -> None:
        self._log("test")

    def _log(self, split: str) -> None:
        values = metrics(self.spec, processes.total(self._sums[split]))
        self.log_dict({f"{split}/{name}": value for name, value in values.items()})
        self._sums[split] = torch.zeros(3)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_sums"] = processes.total(self._sums["train"]).cpu()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # What all processes had seen goes on in the first one.
        self._sums["train"] = checkpoint["train_sums"] if processes.rank() == 0 else torch.zeros(3)

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
