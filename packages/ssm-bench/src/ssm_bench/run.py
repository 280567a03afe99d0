"""Run one cell in its run folder: prepare data, train, evaluate, write one record. Imports torch."""

from __future__ import annotations

import logging
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from rich.console import Console
from ssm_data.contract import Place, Prepared, Spec
from ssm_models.model import build_model

from ssm_bench import run_folder
from ssm_bench.allocator import keep_freed_memory
from ssm_bench.config import Runtime
from ssm_bench.errors import RunError
from ssm_bench.files import write_atomically
from ssm_bench.fit import interface
from ssm_bench.memory import peak_memory, reset_peak_memory
from ssm_bench.metrics import METRICS
from ssm_bench.plan import Cell
from ssm_bench.provenance import code_version, package_versions
from ssm_bench.recipe import as_dict, as_yaml
from ssm_bench.record import SCHEMA, Record, finished_record
from ssm_bench.status import attempt, fail
from ssm_bench.training import distributed, wandb_logger
from ssm_bench.training.batch_norms import share_batch_norms
from ssm_bench.training.callbacks import Keeper, Progressing, Reporting
from ssm_bench.training.checkpoint import CheckedCheckpointIO, DamagedError, find_checkpoint, read_checkpoint
from ssm_bench.training.data import DataModule
from ssm_bench.training.module import TrainingModule
from ssm_bench.training.non_finite import DivergedError

PRECISION: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}


def run_cell(
    cell: Cell, place: Place, out: Path, console: Console, command: Sequence[str], wait: float = 0.0
) -> Record:
    """Start or resume the run of a cell and return its record. If the run is done, only read its record.

    Args:
        console: shows the progress of training.
        command: the words after ``bench`` on the command line, for the record.
        wait: seconds to wait for another process that runs the cell.

    Raises:
        BusyError: another process runs this cell.
        RunError: the run cannot give a result, or a run that must beat chance did not.
        ssm_data.contract.DataError: the data cannot be prepared.
    """
    if not distributed.join_process_group(cell.runtime):
        try:
            return distributed.spawn(
                cell.runtime, _run_as_one_of_several, cell, place, out, console.quiet, command, wait
            )
        except distributed.RankEndedError as error:
            # Rank 0 writes the status, but it may be the rank that ended, or it may not know why another rank ended.
            fail(cell.folder(out), str(error))
            raise
    if not distributed.is_rank_zero():
        console = Console(quiet=True)
    folder = cell.folder(out)

    def say(sentence: str) -> None:
        console.print(f"{cell.name}: {sentence}", highlight=False, markup=False, soft_wrap=True)

    with ExitStack() as held:
        record = distributed.call_on_rank_zero(lambda: _claim(folder, wait, held, say))
        if record is None:
            with distributed.report_first_failure():
                prepared = cell.recipe.data.prepare(place, progress=console.is_terminal)
                record = _run(cell, prepared, folder, console, command, say)
                if distributed.is_rank_zero():
                    record.write(folder)
                    run_folder.remove_training_states(folder)
                    (folder / run_folder.ERROR).unlink(missing_ok=True)
    return record


def _run_as_one_of_several(
    cell: Cell, place: Place, out: Path, quiet: bool, command: Sequence[str], wait: float
) -> Record:
    return run_cell(cell, place, out, Console(highlight=False, quiet=quiet), command, wait)


def _claim(folder: Path, wait: float, held: ExitStack, say: Callable[[str], None]) -> Record | None:
    """Hold the run folder until ``held`` is closed. If the run is done when the folder is held, return its record.

    A record that is damaged or belongs to another run is set aside.
    """
    held.enter_context(run_folder.hold(folder, wait))
    done = finished_record(folder)
    if done is not None:
        return done
    file = folder / run_folder.RECORD
    if file.is_file():
        say(f"{file} is damaged or belongs to another run; it is kept as {run_folder.set_aside(file).name}.")
    held.enter_context(attempt(folder))
    return None


def _run(
    cell: Cell,
    prepared: Prepared,
    folder: Path,
    console: Console,
    command: Sequence[str],
    say: Callable[[str], None],
) -> Record:
    recipe, runtime, spec = cell.recipe, cell.runtime, prepared.spec
    _quiet()
    if distributed.is_rank_zero():
        write_atomically(folder / run_folder.RECIPE, as_yaml(recipe))
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    data = DataModule(prepared, recipe, runtime)
    model = build_model(recipe.model, interface(spec))
    module = TrainingModule(model, recipe, spec, data.steps_per_epoch, cell.hash, folder)
    if runtime.processes > 1:
        share_batch_norms(module)
    monitor = f"val/{spec.metric}"
    keeper = Keeper(folder, cell.hash, monitor, METRICS[spec.metric].mode, runtime.checkpoint_minutes)
    trainer = _make_trainer(cell, folder, [keeper, Reporting(folder), Progressing(console, cell.name, monitor)], say)
    device = trainer.strategy.root_device
    if recipe.trainer.precision == "16" and device.type != "cuda":
        raise RunError(f"trainer.precision=16 needs a GPU, and this run is on {device.type}; set bf16 or 32.")
    if device.type == "cpu":
        keep_freed_memory()
    reset_peak_memory(device)

    resumed = distributed.call_on_rank_zero(lambda: find_checkpoint(folder, cell.hash, say))
    if resumed is not None:
        say(f"resuming from {resumed}")
    outcome: dict[str, Any]
    try:
        outcome = {"metrics": _train_and_test(trainer, module, data, keeper, resumed)}
    except DivergedError as error:
        outcome = {"outcome": "diverged", "reason": str(error), "metrics": {}}
    finally:
        if runtime.logger == "wandb":
            wandb_logger.finish()
    record = Record(
        schema=SCHEMA,
        benchmark=recipe.benchmark,
        task=recipe.task,
        model=recipe.model_name,
        scale=recipe.scale,
        seed=recipe.seed,
        metric=spec.metric,
        chance=spec.chance,
        parameters=sum(p.numel() for p in module.model.parameters()),
        steps=trainer.global_step,
        epochs=trainer.current_epoch,
        wall_seconds=round(keeper.wall_seconds, 2),
        samples_per_second=round(runtime.processes * keeper.examples / max(keeper.train_seconds, 1e-9), 2),
        peak_memory_bytes=peak_memory(device),
        device=_device(trainer),
        hash=cell.hash,
        recipe=as_dict(recipe),
        overrides=list(cell.overrides),
        data_fingerprint=spec.fingerprint,
        data_sizes=dict(spec.sizes),
        code=code_version(),
        packages=package_versions(),
        command=" ".join(["bench", *command]),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        processes=runtime.processes,
        sweep=list(cell.sweep),
        **outcome,
    )
    if recipe.must_beat_chance and not record.diverged:
        _check_beats_chance(record, spec)
    return record


def _make_trainer(cell: Cell, folder: Path, callbacks: list[L.Callback], say: Callable[[str], None]) -> L.Trainer:
    recipe, runtime = cell.recipe, cell.runtime
    return L.Trainer(
        accelerator=runtime.accelerator,
        devices=runtime.devices,
        num_nodes=runtime.nodes,
        # Buffers need not be broadcast: they are constants, or statistics that batch norms share.
        strategy=DDPStrategy(forward_sync_buffers=False) if runtime.processes > 1 else "auto",
        plugins=[distributed.cluster_environment(runtime), CheckedCheckpointIO()],
        use_distributed_sampler=False,
        deterministic=_deterministic(runtime),
        precision=PRECISION[recipe.trainer.precision],
        max_epochs=recipe.trainer.epochs,
        gradient_clip_val=recipe.trainer.gradient_clip,
        logger=_make_logger(cell, folder, say) if runtime.logger == "wandb" else False,
        callbacks=callbacks,
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )


def _make_logger(cell: Cell, folder: Path, say: Callable[[str], None]) -> Any:
    if not distributed.is_rank_zero():
        return False
    return wandb_logger.make_logger(
        folder,
        project=f"ssm-bench-{cell.recipe.benchmark}",
        name=cell.name,
        run_id=f"{cell.recipe.task}-{cell.hash}",
        config=as_dict(cell.recipe),
        say=say,
    )


def _train_and_test(
    trainer: L.Trainer, module: TrainingModule, data: DataModule, keeper: Keeper, resumed: Path | None
) -> dict[str, float]:
    """Train to the end, test the weights of the best epoch, and return the metrics of validation and test.

    Raises:
        DivergedError: a loss or metric is not finite.
    """
    try:
        trainer.fit(module, data, ckpt_path=resumed, weights_only=True)
    except SystemExit:
        # Lightning turns Ctrl-C into SystemExit. The command line prints a sentence for KeyboardInterrupt.
        raise KeyboardInterrupt from None
    best, file = keeper.best, keeper.folder / run_folder.BEST
    try:
        weights = read_checkpoint(file)
    except (DamagedError, FileNotFoundError) as error:
        raise RunError(f"{error} The same command trains again.") from error
    if weights.get("epoch") != best["epoch"]:
        # A resumed run on another device may find another epoch best than the one that wrote these weights.
        if distributed.is_rank_zero():
            run_folder.set_aside(file)
        raise RunError(
            f"{file} holds the weights of another epoch than the best one, {best['epoch'] + 1}. "
            "The same command trains again."
        )
    module.load_state_dict(weights["state_dict"])
    try:
        tested = trainer.test(module, data, verbose=False)[0]
    except SystemExit:
        raise KeyboardInterrupt from None
    metrics: Mapping[str, float] = {name: value for name, value in best.items() if name.startswith("val/")} | dict(
        tested
    )
    return {name: float(value) for name, value in metrics.items()} | {"best_epoch": float(best["epoch"])}


def _check_beats_chance(record: Record, spec: Spec) -> None:
    """Raise a RunError if the model learned nothing.

    Accuracy must be four standard errors above chance; guessing reaches that once in thirty thousand runs. A metric
    that is better if it is lower must be 10 % below that of the best constant guess.
    """
    metric = METRICS[record.metric]
    if metric.lower_is_better:
        needed = 0.9 * record.chance
    else:
        needed = record.chance + 4 * sqrt(record.chance * (1 - record.chance) / spec.sizes["test"])
    if metric.best(record.value, needed) != record.value:
        raise RunError(
            f"Test {record.metric} {record.value:.3f} is not clearly {'below' if metric.lower_is_better else 'above'} "
            f"chance (that needs {needed:.3f}): the model did not learn."
        )


def _deterministic(runtime: Runtime) -> Literal["warn"] | None:
    """Return Trainer's ``deterministic``: on CUDA the embedding gradient uses atomics and would not be reproducible.

    If a layer of the user's own has an operation that cannot be reproducible, torch warns.
    """
    if not distributed.on_gpus(runtime):
        return None
    # torch would also fill all new memory, which costs time; no code here reads memory before it writes it.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return "warn"


def _device(trainer: L.Trainer) -> str:
    if trainer.strategy.root_device.type == "cuda":
        name = torch.cuda.get_device_name(trainer.strategy.root_device)
        return f"{trainer.world_size} x {name}" if trainer.world_size > 1 else name
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _quiet() -> None:
    """Silence Lightning's hints about settings that the harness has chosen on purpose."""
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
