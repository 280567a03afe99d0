"""Carries out one cell in its run folder: prepare data, train, evaluate, leave one record. Imports torch."""

from __future__ import annotations

import logging
import platform
import resource
import sys
import warnings
from contextlib import ExitStack
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path
from typing import Any, Literal, cast

import lightning as L
import torch
from filelock import FileLock, Timeout
from lightning.pytorch.strategies import DDPStrategy
from rich.console import Console
from ssm_data import batches
from ssm_data.contract import Place, Prepared
from ssm_models.model import build_model

from ssm_bench import processes
from ssm_bench.allocator import keep_freed_memory
from ssm_bench.callbacks import LAST, Keeper, Progressing, Reporting
from ssm_bench.config import Recipe, Runtime
from ssm_bench.errors import BusyError, RunError
from ssm_bench.metrics import METRICS
from ssm_bench.plan import Cell
from ssm_bench.recipe import as_dict, as_yaml
from ssm_bench.record import Record, code_version, package_versions, write_atomically
from ssm_bench.status import attempt
from ssm_bench.task import Task, interface
from ssm_bench.training.batch_norms import share_batch_norms

#: Writing 5 here makes the kernel forget the process's peak memory (proc(5)).
LINUX_RESET = Path("/proc/self/clear_refs")
PRECISION: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}


class DataModule(L.LightningDataModule):
    """The prepared data as loaders; training batches are a function of (seed, epoch) and start where a run stopped."""

    def __init__(self, prepared: Prepared, recipe: Recipe, runtime: Runtime) -> None:
        super().__init__()
        self.prepared = prepared
        self.recipe = recipe
        self.runtime = runtime

    def train_dataloader(self) -> torch.utils.data.DataLoader:
        loader = self._loader("train", self.recipe.trainer.drop_last)
        sampler = cast(batches.Batches, loader.batch_sampler)
        if self.trainer is not None:
            loop: Any = self.trainer.fit_loop
            done = loop.epoch_loop.batch_progress.current.ready
            # Lightning asks for the batches before it counts the epoch that a checkpoint was written at the end of.
            sampler.start_at(loop.epoch_progress.current.processed, done if done < len(sampler) else 0)
        return loader

    def val_dataloader(self) -> torch.utils.data.DataLoader:
        return self._loader("val", drop_last=False)

    def test_dataloader(self) -> torch.utils.data.DataLoader:
        return self._loader("test", drop_last=False)

    def _loader(self, split: str, drop_last: bool) -> torch.utils.data.DataLoader:
        return batches.loader(
            self.prepared,
            split,
            self.recipe.trainer.batch_size,
            seed=self.recipe.seed,
            workers=self.runtime.workers,
            pin_memory=processes.on_gpus(self.runtime),
            drop_last=drop_last,
            bucket=self.recipe.trainer.bucket,
            rank=processes.rank(),
            world_size=self.runtime.processes,
        )


def run_cell(cell: Cell, place: Place, out: Path, console: Console, wait: float = 0.0) -> Record:
    """The record of the cell: the one on disk if it is done, else that of a run started or resumed now.

    Args:
        wait: seconds to wait for a process that is at the cell.

    Raises:
        BusyError: another process is at this cell.
        RunError: training diverged, or a run that must beat chance did not.
        ssm_data.contract.DataError: the data cannot be had.
    """
    if not processes.join(cell.runtime):
        return processes.start(cell.runtime, _one_of_several, cell, place, out, console.quiet, wait)
    if processes.rank() > 0:
        console = Console(quiet=True)
    folder = cell.folder(out)
    done = processes.of_first(lambda: Record.read(folder))
    if done is not None:
        return done
    with ExitStack() as held:
        record = processes.of_first(lambda: _claim(folder, wait, held))
        if record is None:
            prepared = cell.recipe.data.prepare(place, progress=console.is_terminal)
            record = _run(cell, prepared, folder, console)
            if processes.rank() == 0:
                record.write(folder)
                (folder / LAST).unlink(missing_ok=True)
    return record


def _one_of_several(cell: Cell, place: Place, out: Path, quiet: bool, wait: float) -> Record:
    return run_cell(cell, place, out, Console(highlight=False, quiet=quiet), wait)


def _claim(folder: Path, wait: float, held: ExitStack) -> Record | None:
    """Take the run folder until ``held`` ends; the record if another process has left one by then."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held.enter_context(FileLock(folder / ".lock").acquire(timeout=wait))
    except Timeout:
        raise BusyError(f"Another process is at it in {folder}.") from None
    held.enter_context(attempt(folder))
    return Record.read(folder)


def _run(cell: Cell, prepared: Prepared, folder: Path, console: Console) -> Record:
    recipe, runtime, spec = cell.recipe, cell.runtime, prepared.spec
    _quiet()
    if processes.rank() == 0:
        write_atomically(folder / "recipe.yaml", as_yaml(recipe))
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    monitor = f"val/{spec.metric}"
    data = DataModule(prepared, recipe, runtime)
    steps = len(data._loader("train", recipe.trainer.drop_last))
    module = Task(build_model(recipe.model, interface(spec)), recipe, spec, steps)
    several = runtime.processes > 1
    if several:
        share_batch_norms(module)
    keeper = Keeper(folder, monitor, METRICS[spec.metric].mode, runtime.checkpoint_minutes)
    trainer = L.Trainer(
        accelerator=runtime.accelerator,
        devices=runtime.devices,
        num_nodes=runtime.nodes,
        # Buffers are equal without being sent: constants, and statistics that batch norms share.
        strategy=DDPStrategy(forward_sync_buffers=False) if several else "auto",
        plugins=processes.environment(runtime),
        use_distributed_sampler=False,
        deterministic=_in_order(runtime),
        precision=PRECISION[recipe.trainer.precision],
        max_epochs=recipe.trainer.epochs,
        gradient_clip_val=recipe.trainer.gradient_clip,
        logger=_wandb(cell, folder) if runtime.logger == "wandb" else False,
        callbacks=[keeper, Reporting(folder), Progressing(console, cell.name, monitor)],
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    device = trainer.strategy.root_device
    if device.type == "cpu":
        keep_freed_memory()
    resumed = processes.of_first(keeper.last.is_file)
    if resumed:
        console.print(f"{cell.name}: resuming from {keeper.last}", highlight=False)
    _reset_peak_memory(device)
    try:
        trainer.fit(module, data, ckpt_path=keeper.last if resumed else None, weights_only=False)
    except SystemExit:
        # Lightning turns an interrupt into an exit; the command has a sentence for it.
        raise KeyboardInterrupt from None
    best = keeper.best
    if not all(map(_finite, (best["train/loss"], best["val/loss"]))):
        raise RunError("The loss is not finite at the best epoch; lower optimizer.lr.")
    weights = torch.load(keeper.best_file, map_location="cpu", weights_only=True)
    module.load_state_dict(weights["state_dict"])
    tested = trainer.test(module, data, verbose=False)[0]
    metrics = {name: value for name, value in best.items() if name.startswith("val/")} | dict(tested)
    metrics["best_epoch"] = best["epoch"]
    record = Record(
        benchmark=recipe.benchmark,
        task=recipe.task,
        model=recipe.model_name,
        scale=recipe.scale,
        seed=recipe.seed,
        metric=spec.metric,
        metrics={name: float(value) for name, value in metrics.items()},
        chance=spec.chance,
        parameters=sum(p.numel() for p in module.model.parameters()),
        steps=trainer.global_step,
        epochs=trainer.current_epoch,
        wall_seconds=round(keeper.wall_seconds, 2),
        samples_per_second=round(runtime.processes * keeper.examples / keeper.train_seconds, 2),
        peak_memory_bytes=_peak_memory(device),
        device=_device(trainer),
        hash=cell.hash,
        recipe=as_dict(recipe),
        overrides=list(cell.overrides),
        data_fingerprint=spec.fingerprint,
        data_sizes=dict(spec.sizes),
        code=code_version(),
        packages=package_versions(),
        command=" ".join(["bench", *sys.argv[1:]]),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        processes=runtime.processes,
        sweep=list(cell.sweep),
    )
    if recipe.must_beat_chance:
        _check_beats_chance(record, spec.sizes["test"])
    return record


def _check_beats_chance(record: Record, examples: int) -> None:
    """A pipeline that learns nothing must not look like one that works.

    Accuracy must be four standard errors above chance, which chance alone passes once in thirty thousand runs; a
    metric of which less is better must be a tenth below that of the best constant guess.
    """
    metric = METRICS[record.metric]
    if metric.lower_is_better:
        needed = 0.9 * record.chance
    else:
        needed = record.chance + 4 * sqrt(record.chance * (1 - record.chance) / examples)
    if metric.best(record.value, needed) != record.value:
        raise RunError(
            f"Test {record.metric} {record.value:.3f} is not clearly {'below' if metric.lower_is_better else 'above'} "
            f"chance (that needs {needed:.3f}): the model did not learn."
        )


def _wandb(cell: Cell, folder: Path) -> L.pytorch.loggers.WandbLogger:
    """A W&B run whose id is the cell's hash, so a resumed run goes on in the same one; offline without a key."""
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    return WandbLogger(
        project=f"ssm-bench-{cell.recipe.benchmark}",
        name=cell.name,
        id=f"{cell.recipe.task}-{cell.hash}",
        save_dir=folder,
        mode="online" if wandb.login(prompt=False) else "offline",
        config=as_dict(cell.recipe),
    )


def _finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")


def _in_order(runtime: Runtime) -> Literal["warn"] | None:
    """Whether torch must be told to add in a fixed order, as the gradient of an embedding does not on a GPU. Of what it
    cannot do so, in a layer of the user's, it warns."""
    if not processes.on_gpus(runtime):
        return None
    # It would fill all new memory, too, at a cost; nothing here reads any before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return "warn"


def _reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.init()  # before it no device has an allocator
        torch.cuda.reset_peak_memory_stats(device)
    elif LINUX_RESET.exists():
        LINUX_RESET.write_text("5")


def _peak_memory(device: torch.device) -> int:
    """Bytes since the reset; since the start of the process where the system cannot reset them (macOS)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if LINUX_RESET.exists():
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return 1024 * int(fields["VmHWM"].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _device(trainer: L.Trainer) -> str:
    if trainer.strategy.root_device.type == "cuda":
        name = torch.cuda.get_device_name(trainer.strategy.root_device)
        return f"{trainer.world_size} x {name}" if trainer.world_size > 1 else name
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _quiet() -> None:
    """Lightning's hints on things that the harness has decided."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for text in (
        ".*does not have many workers.*",
        ".*not resumable.*",
        ".*smaller than the logging interval.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*sync_dist=True.*",
        ".*`srun` command is available.*",
    ):
        warnings.filterwarnings("ignore", text)
