"""The LightningModule of every benchmark: loss and metrics for data of a spec, optimiser, schedule. Imports torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from ssm_data.collate import NO_TARGET
from ssm_data.contract import Batch, Spec
from ssm_models.optim import constant, cosine_warmup, linear_warmup, multistep, parameter_groups
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils._pytree import tree_map_only

from ssm_bench import run_folder
from ssm_bench.config import Recipe
from ssm_bench.errors import RunError
from ssm_bench.metrics import METRICS
from ssm_bench.training import distributed
from ssm_bench.training.checkpoint import write_checkpoint
from ssm_bench.training.losses import metrics, target_sums
from ssm_bench.training.non_finite import DivergedError, LossWatch, find_origin


def seed_of(seed: int, step: int) -> int:
    """Return the seed of this rank for a training step; every step and every rank has another seed."""
    return int(np.random.SeedSequence([seed, step, distributed.rank()]).generate_state(1, np.uint64)[0])


class TrainingModule(L.LightningModule):
    """Training and evaluation of a model on data of a spec.

    The loss is the mean over the targets of the whole batch, and a metric is the mean over all targets of a split;
    neither depends on how many processes share the batches.

    Randomness in a training step (dropout) depends only on seed, step and rank, so a run that is stopped and resumed
    computes the same numbers as an uninterrupted run.

    Args:
        run_hash: hash of the run, which is written into its checkpoints.
        folder: the run folder. A snapshot is written there if a loss is not finite.

    Raises:
        DivergedError: in training or evaluation, a loss or a metric is not finite.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, spec: Spec, steps_per_epoch: int, run_hash: str, folder: Path
    ) -> None:
        super().__init__()
        if recipe.trainer.carry_state and not spec.stream:
            raise RunError("trainer.carry_state is for streams of text; these data are single examples.")
        if spec.metric in ("perplexity", "bits") and recipe.model.bidirectional:
            raise RunError("A bidirectional model sees the token that it must predict; set model.bidirectional=false.")
        self.model = model
        self.recipe = recipe
        self.spec = spec
        self.steps_per_epoch = steps_per_epoch
        self.run_hash = run_hash
        self.folder = folder
        self._watch = LossWatch()
        self._batch: Batch | None = None
        # Sums of this rank. A checkpoint within an epoch contains the training sums; see on_save_checkpoint.
        self._sums = {split: torch.zeros(3) for split in ("train", "val", "test")}
        # The state of each row of a stream between two windows; None before the first window.
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
        self._batch = batch
        count, loss, _ = self._step("train", batch)
        totals = distributed.all_reduce_sum(torch.stack([count, loss]).detach())
        # Every process watches the loss of the whole batch, so that all of them stop at the same step.
        self._watch.note(totals[1] / totals[0])
        # DDP averages the gradients over the ranks, but each rank may have another number of targets.
        return loss * (self.trainer.world_size / totals[0])

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if not self._watch.is_finite():
            assert self._batch is not None
            within = self.global_step % self.steps_per_epoch
            self._stop_diverged(
                f"The loss of step {self.global_step + 1:,} (epoch {self.current_epoch + 1}, batch {within + 1:,} of "
                f"{self.steps_per_epoch:,}) is not finite",
                self._batch,
            )

    def _stop_diverged(self, what: str, batch: Batch | None) -> None:
        """Write weights and batch into the run folder, and end the run with a sentence about what happened.

        Args:
            what: the first clause of the sentence.
            batch: the batch of this rank that gives a number that is not finite; None if there is none.

        Raises:
            DivergedError: always.
        """
        step, file = self.global_step, self.folder / run_folder.NON_FINITE
        snapshot = {
            "run_hash": self.run_hash,
            "global_step": step,
            "state_dict": {name: value.detach().cpu().clone() for name, value in self.state_dict().items()},
        }

        def forward() -> None:
            torch.manual_seed(seed_of(self.recipe.seed, step))
            if batch is not None:
                self.model(batch.x, batch.lengths)

        mine = None if batch is None else tuple(None if each is None else each.cpu() for each in batch)
        seen = distributed.all_gather((find_origin(self.model, forward), mine))
        # Choose a rank that has a batch, if possible one for which the layer was found.
        origin, found = max(seen, key=lambda one: (one[1] is not None, "first layer" in one[0]))
        if distributed.is_rank_zero():
            write_checkpoint(file, snapshot | {"batch": found})
        raise DivergedError(
            f"{what}; {origin}. The weights and the batch are in {file}. Lower optimizer.lr, or set "
            "trainer.gradient_clip."
        )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._step("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._step("test", batch)

    def _as_long_as_all(self, batch: Batch) -> Batch:
        """Pad a batch to the longest sequence of all ranks, as one rank would, because batch norms count padding."""
        x, y, lengths = batch
        extra = distributed.all_reduce_max(x.shape[1]) - x.shape[1]
        return Batch(F.pad(x, (0, extra)), F.pad(y, (0, extra), value=NO_TARGET) if self.spec.l_output else y, lengths)

    def _step(self, split: str, batch: Batch) -> Tensor:
        x, y, lengths = batch
        outputs = self._carry(x) if self.recipe.trainer.carry_state else self.model(x, lengths)
        sums = target_sums(self.spec, outputs, y)
        # In double precision the order of the batches does not change the sum. Apple's GPUs have no double precision.
        exact = torch.float32 if sums.device.type == "mps" else torch.float64
        self._sums[split] = self._sums[split].to(sums.device) + sums.detach().to(exact)
        return sums

    def _carry(self, x: Tensor) -> Tensor:
        model: Any = self.model
        # The state of a resumed run was read before the device was chosen.
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
        # Lightning would step ReduceLROnPlateau only after it has written the checkpoint of the epoch.
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()

    def on_train_epoch_end(self) -> None:
        self._log("train")

    def on_test_epoch_start(self) -> None:
        self._state = None

    def on_test_epoch_end(self) -> None:
        self._log("test")

    def _log(self, split: str) -> dict[str, float]:
        values = metrics(self.spec, distributed.all_reduce_sum(self._sums[split]))
        self._sums[split] = torch.zeros(3)
        bad = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
        if bad:
            number, batch = self._find_batch(split)
            where = f" (batch {number + 1:,} of its process is the first such)" if batch is not None else ""
            # The test comes after the last epoch, with the weights of the best one.
            when = (
                "With the weights of the best epoch"
                if split == "test"
                else f"After step {self.global_step:,} (epoch {self.current_epoch + 1})"
            )
            self._stop_diverged(f"{when} the {split} split gives {', '.join(bad)}{where}", batch)
        self.log_dict({f"{split}/{name}": value for name, value in values.items()})
        return values

    def _find_batch(self, split: str) -> tuple[int, Batch | None]:
        """Return number and content of the first evaluation batch whose loss is not finite; (0, None) without one."""
        loader: Any = {"val": self.trainer.val_dataloaders, "test": self.trainer.test_dataloaders}.get(split)
        with torch.no_grad():
            for number, each in enumerate(loader or ()):
                batch = self.transfer_batch_to_device(each, self.device, 0)
                sums = target_sums(self.spec, self.model(batch.x, batch.lengths), batch.y)
                if not sums.isfinite().all():
                    return number, batch
        return 0, None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["run_hash"] = self.run_hash
        checkpoint["train_sums"] = distributed.all_reduce_sum(self._sums["train"]).cpu()
        checkpoint["states"] = distributed.all_gather(tree_map_only(Tensor, Tensor.cpu, self._state))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        states = checkpoint["states"]
        if self.recipe.trainer.carry_state and len(states) != self.trainer.world_size:
            raise RunError(
                f"{len(states)} processes carried states in the saved run, and this one has "
                f"{self.trainer.world_size}; resume it with devices and nodes as before."
            )
        self._state = states[distributed.rank() % len(states)]
        # The checkpoint holds the sums over all ranks; rank 0 continues with them.
        self._sums["train"] = checkpoint["train_sums"] if distributed.is_rank_zero() else torch.zeros(3)

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
