"""The LightningModule of every benchmark: loss and metrics by the data's spec, optimiser, schedule. Imports torch."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import numpy as np
import torch
from ssm_data.collate import NO_TARGET
from ssm_data.contract import Batch, Spec
from ssm_models.config import Interface
from ssm_models.optim import constant, cosine_warmup, linear_warmup, multistep, parameter_groups
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils._pytree import tree_map_only

from ssm_bench import processes
from ssm_bench.config import Recipe
from ssm_bench.errors import RunError
from ssm_bench.metrics import METRICS


def interface(spec: Spec) -> Interface:
    """What a model must take and give for this data."""
    return Interface(
        tokens=spec.tokens,
        d_input=spec.d_input,
        d_output=spec.d_output,
        l_max=spec.axes or spec.l_max,
        pair=spec.pair,
        l_output=spec.l_output,
    )


def target_sums(spec: Spec, outputs: Tensor, y: Tensor) -> Tensor:
    """Number of targets, the sum of their losses, and that of their hits or absolute errors, (3,).

    The loss is the cross entropy in nats of classes (or of their probabilities) and of labels, and the squared error of
    values.

    Args:
        outputs: (..., d_output).
        y: see :class:`ssm_data.contract.Batch`.
    """
    if spec.target == "value":
        error = outputs.float() - y
        return _sums(y.numel(), error.square(), error.abs())
    if spec.target == "labels":
        loss = F.binary_cross_entropy_with_logits(outputs.float(), y, reduction="none")
        return _sums(y.numel(), loss, (outputs > 0) == (y > 0.5))
    if y.is_floating_point():
        loss = F.cross_entropy(outputs.float(), y, reduction="none")
        return _sums(len(y), loss, outputs.argmax(-1) == y.argmax(-1))
    outputs, y = outputs.flatten(0, -2), y.flatten()
    loss = F.cross_entropy(outputs.float(), y, ignore_index=NO_TARGET, reduction="none")
    return _sums((y != NO_TARGET).sum(), loss, outputs.argmax(-1) == y)


def _sums(count: int | Tensor, losses: Tensor, others: Tensor) -> Tensor:
    # The sum is made on the device; a GPU would be waited for to copy a number to it.
    return torch.stack([losses.new_zeros(()) + count, losses.sum(), others.sum()])


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

    The loss is the mean over the targets of the whole batch, and a metric the mean over all targets of a split,
    whatever the batches and however many processes share them.

    Randomness in a training step (dropout) is a function of seed, step and process alone, so a run that is cut off and
    resumed computes the same numbers as one that is not.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, spec: Spec, steps_per_epoch: int) -> None:
        super().__init__()
        if recipe.trainer.carry_state and not spec.stream:
            raise RunError("trainer.carry_state is for streams of text; these data are single examples.")
        if spec.metric in ("perplexity", "bits") and getattr(recipe.model, "bidirectional", False):
            raise RunError(
                "Of the next token a bidirectional model has seen the answer; set model.bidirectional=false."
            )
        self.model = model
        self.recipe = recipe
        self.spec = spec
        self.steps_per_epoch = steps_per_epoch
        # Of this process. Those of training outlive an epoch that is cut off; see on_save_checkpoint.
        self._sums = {split: torch.zeros(3) for split in ("train", "val", "test")}
        # Of the rows of a stream, between two of its windows; None: at rest.
        self._state: Any = None

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
        outputs = self._carry(x) if self.recipe.trainer.carry_state else self.model(x, lengths)
        sums = target_sums(self.spec, outputs, y)
        # In double precision the order of the batches does not show; Apple's GPUs have none.
        exact = torch.float32 if sums.device.type == "mps" else torch.float64
        self._sums[split] = self._sums[split].to(sums.device) + sums.detach().to(exact)
        return sums

    def _carry(self, x: Tensor) -> Tensor:
        model: Any = self.model
        # That of a resumed run was read before the device was chosen.
        carried = tree_map_only(Tensor, lambda each: each.to(x.device), self._state)
        outputs, after = model.chunk(x, model.backbone.initial_state(len(x)) if carried is None else carried)
        self._state = tree_map_only(Tensor, Tensor.detach, after)
        return outputs

    def on_validation_epoch_start(self) -> None:
        self._state = None

    def on_validation_epoch_end(self) -> None:
        self._state = None
        values = self._log("val")
        if isinstance(plateau := self.lr_schedulers(), ReduceLROnPlateau):
            plateau.step(values[self.spec.metric])

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        # Lightning would step a plateau after the checkpoint of its epoch was written.
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()

    def on_train_epoch_end(self) -> None:
        self._log("train")

    def on_test_epoch_start(self) -> None:
        self._state = None

    def on_test_epoch_end(self) -> None:
        self._log("test")

    def _log(self, split: str) -> dict[str, float]:
        values = metrics(self.spec, processes.total(self._sums[split]))
        self.log_dict({f"{split}/{name}": value for name, value in values.items()})
        self._sums[split] = torch.zeros(3)
        return values

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_sums"] = processes.total(self._sums["train"]).cpu()
        checkpoint["states"] = processes.gather(tree_map_only(Tensor, Tensor.cpu, self._state))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        states = checkpoint["states"]
        if self.recipe.trainer.carry_state and len(states) != self.trainer.world_size:
            raise RunError(f"The carried states are those of {len(states)} processes; go on with as many.")
        self._state = states[processes.rank() % len(states)]
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
        scheduler = self._schedule(optimizer)
        if isinstance(scheduler, ReduceLROnPlateau):
            options = {"interval": "epoch", "monitor": f"val/{self.spec.metric}"}
        else:
            options = {"interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, **options}}

    def _schedule(self, optimizer: torch.optim.Optimizer) -> LRScheduler | ReduceLROnPlateau:
        schedule = self.recipe.scheduler
        if schedule.name == "plateau":
            mode = METRICS[self.spec.metric].mode
            return ReduceLROnPlateau(optimizer, mode, factor=schedule.factor, patience=schedule.patience)
        if schedule.name == "multistep":
            return multistep(
                optimizer, [self.steps_per_epoch * epoch for epoch in schedule.milestones], schedule.factor
            )
        if schedule.name == "constant":
            return constant(optimizer, schedule.warmup_steps)
        total = schedule.total_steps or self.recipe.trainer.epochs * self.steps_per_epoch
        decay = cosine_warmup if schedule.name == "cosine_warmup" else linear_warmup
        return decay(optimizer, schedule.warmup_steps, total)
