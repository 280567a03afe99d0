"""What a run keeps and shows while it trains: checkpoints, curves, progress. Imports torch."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ssm_bench import run_folder
from ssm_bench.errors import Preempted
from ssm_bench.files import sync_folder, write_atomically
from ssm_bench.status import Status
from ssm_bench.training.checkpoint import write_checkpoint
from ssm_bench.training.preemption import notice

#: Seconds between two updates of the status file.
STATUS_SECONDS = 5.0
#: Number of steps after which the ranks agree again on whether to save; each agreement costs time.
STEPS_BETWEEN_AGREEMENTS = 10


class Keeper(Checkpoint):
    """Writes checkpoints and curves of one run folder.

    ``last.ckpt`` is a whole training state, written after each epoch and every ``minutes`` within one;
    ``previous.ckpt`` is the one before it. ``best.ckpt`` holds the weights of the epoch with the best validation metric
    (the earlier epoch if two are equal). Each file replaces its predecessor in one step. The counters of this class are
    part of ``last.ckpt``, so a resumed run continues them. A run that is told to stop saves at the end of the current
    batch; if that is the last batch of the epoch, or validation is running, it saves at the end of the epoch.

    (The base is ``Checkpoint`` because Lightning calls such callbacks after the module has logged its epoch.)

    Args:
        folder: the run folder.
        run_hash: hash of the run, for the weights of the best epoch.
        monitor, mode: the validation metric that chooses the best epoch, and whether its ``min`` or ``max`` is best.
        minutes: minutes between two saves within an epoch.

    Attributes:
        rows: one dict per epoch: epoch, step, learning rate and every logged metric.
        best: the row of the best epoch.
        train_seconds: time inside training batches, without loading and evaluation. On a GPU it is the time that the
            process spends on launching work and on waiting for it.
        examples: training examples seen.
        wall_seconds: time since training began, without interruptions.
    """

    def __init__(self, folder: Path, run_hash: str, monitor: str, mode: Literal["min", "max"], minutes: float) -> None:
        self.folder = folder
        self.run_hash = run_hash
        self.monitor = monitor
        self.mode = mode
        self.minutes = minutes
        self.rows: list[dict[str, Any]] = []
        self.train_seconds = 0.0
        self.examples = 0
        self._earlier_seconds = 0.0
        self._began = self._saved = self._since = time.perf_counter()

    @property
    def best(self) -> dict[str, Any]:
        return (min if self.mode == "min" else max)(self.rows, key=lambda row: row[self.monitor])

    @property
    def wall_seconds(self) -> float:
        return self._earlier_seconds + time.perf_counter() - self._began

    def state_dict(self) -> dict[str, Any]:
        return {
            "rows": list(self.rows),
            "train_seconds": self.train_seconds,
            "examples": self.examples,
            "wall_seconds": self.wall_seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])
        self.train_seconds = state_dict["train_seconds"]
        self.examples = state_dict["examples"]
        self._earlier_seconds = state_dict["wall_seconds"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        notice.defer()
        self._saved = time.perf_counter()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        device = trainer.strategy.root_device
        if trainer.is_last_batch and device.type == "cuda":
            torch.cuda.synchronize(device)  # the work that is still queued belongs to training
        now = time.perf_counter()
        self.train_seconds += now - self._since
        self.examples += len(batch.y)
        # The last batch is saved with its epoch, after validation.
        if trainer.is_last_batch:
            return
        stop = self._any(trainer, notice.received)
        if stop or self._any(trainer, now - self._saved > 60 * self.minutes):
            self._save_last(trainer)
            self._saved = now
        if stop:
            raise Preempted

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        row: dict[str, Any] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        row |= {name: float(value) for name, value in trainer.callback_metrics.items()}
        row["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append(row)
        if self.best is row:
            self._save_best(trainer)
        if trainer.is_global_zero:
            self._write_curves()
        self._save_last(trainer)
        self._saved = time.perf_counter()
        if _agree(trainer, notice.received):
            raise Preempted

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        notice.release()

    def _any(self, trainer: L.Trainer, wish: bool) -> bool:
        """Return whether any rank has this wish; False at the steps at which the ranks do not ask each other."""
        if trainer.world_size > 1 and trainer.global_step % STEPS_BETWEEN_AGREEMENTS:
            return False
        return _agree(trainer, wish)

    def _save_last(self, trainer: L.Trainer) -> None:
        last = self.folder / run_folder.LAST
        temporary = self.folder / run_folder.PARTIAL
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            if last.is_file():
                last.replace(self.folder / run_folder.PREVIOUS)
            temporary.replace(last)
            sync_folder(self.folder)

    def _save_best(self, trainer: L.Trainer) -> None:
        state = trainer.strategy.lightning_module_state_dict()
        if trainer.is_global_zero:
            content = {
                "run_hash": self.run_hash,
                "epoch": trainer.current_epoch,
                "global_step": trainer.global_step,
                "state_dict": state,
            }
            write_checkpoint(self.folder / run_folder.BEST, content)

    def _write_curves(self) -> None:
        text = io.StringIO()
        names = {name for row in self.rows for name in row}
        columns = ["epoch", "step", *sorted(names - {"epoch", "step"})]
        writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.folder / run_folder.CURVES, text.getvalue())


def _agree(trainer: L.Trainer, wish: bool) -> bool:
    return trainer.strategy.reduce_boolean_decision(wish, all=False)


class Reporting(L.Callback):
    """Writes the status file of a run folder: steps done, time left, and whether progress was saved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._status: Status | None = None
        self._began = 0.0
        self._first = 0
        self._written = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._status = Status.read(self.folder) if trainer.is_global_zero else None
        self._began = time.perf_counter()
        self._first = trainer.global_step
        self._write(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if time.perf_counter() - self._written > STATUS_SECONDS:
            self._write(trainer)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._status is not None and trainer.global_step > self._first:
            self._status = self._status.change(self.folder, fruitless=0, step=trainer.global_step)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        if self._status is None:
            return
        now, step, total = time.perf_counter(), trainer.global_step, int(trainer.estimated_stepping_batches)
        done = step - self._first
        left = (now - self._began) / done * (total - step) if done else None
        self._status = self._status.change(self.folder, step=step, total=total, seconds_left=left)
        self._written = now


class Progressing(L.Callback):
    """Shows a live bar with the validation metric on a terminal; elsewhere prints about ten lines per run."""

    def __init__(self, console: Console, title: str, monitor: str) -> None:
        self.console = console
        self.title = title
        self.monitor = monitor
        self._bar: Progress | None = None
        self._task: Any = None
        self._scores = ""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self.console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[scores]}"),
            console=self.console,
            transient=True,
        )
        total = int(trainer.estimated_stepping_batches)
        self._task = self._bar.add_task(self.title, total=total, completed=trainer.global_step, scores="")
        self._bar.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=trainer.global_step, scores=self._scores)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        value = float(trainer.callback_metrics[self.monitor])
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or 0
        self._scores = f"epoch {epoch}/{epochs}  {self.monitor} {value:.3f}"
        if self._bar is None and (epoch == epochs or epoch % max(1, epochs // 10) == 0):
            self.console.print(f"{self.title}: {self._scores}", highlight=False, markup=False)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
