"""The run folder: the names of its files, its lock, its damaged files, and whether its run is done.

Every module that uses a run folder takes names and decisions from here. Does not import torch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ssm_bench.errors import BusyError
from ssm_bench.files import read_json

#: The resolved recipe, as YAML.
RECIPE = "recipe.yaml"
#: One row an epoch: losses, metrics, learning rate.
CURVES = "metrics.csv"
#: The weights of the best validation epoch.
BEST = "best.ckpt"
#: The whole training state, from which an unfinished run is resumed.
LAST = "last.ckpt"
#: The training state before the last one; it is used if the last one is damaged.
PREVIOUS = "previous.ckpt"
#: The next training state while it is being written.
PARTIAL = "last.partial"
#: Weights and batch of the step at which a number stopped being finite.
NON_FINITE = "non-finite.ckpt"
#: The result. If it exists, the run is done.
RECORD = "record.json"
#: Who runs the cell, how far it is, and what went wrong.
STATUS = "status.json"
#: The output of every attempt of a launched cell.
LOG = "log.txt"
#: The traceback of an unexpected error.
ERROR = "error.txt"
#: The folder of the W&B logger.
WANDB = "wandb"
#: The process that runs the cell holds this lock.
LOCK = ".lock"
#: A partly written status file that is older than this many seconds was left by a killed process.
LEFT_SECONDS = 60.0
#: This is appended to the name of a damaged file, so that the file is kept but not read again.
DAMAGED = ".damaged"


@contextmanager
def hold(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold the run folder, which is created if necessary, until the context ends.

    Partly written files of killed processes are deleted.

    Args:
        wait: seconds to wait for another process that holds it.

    Raises:
        BusyError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / LOCK).acquire(timeout=wait)
    except Timeout:
        raise BusyError(f"Another process is running this cell in {folder}.") from None
    with lock:
        _remove_halves(folder)
        yield


def _remove_halves(folder: Path) -> None:
    """Delete the temporary files of processes that were killed while they wrote; a training state may be large."""
    for half in (*folder.glob(".*.*.[0-9]*"), folder / PARTIAL):
        # The supervisor of a cell process writes the status, too, and does not hold the folder.
        with suppress(FileNotFoundError):
            if not half.name.startswith(f".{STATUS}.") or time.time() - half.stat().st_mtime > LEFT_SECONDS:
                half.unlink()


def is_done(folder: Path) -> bool:
    """Return whether the run is finished: its record exists, is valid JSON, and belongs to this folder.

    Only this function decides whether a run is finished. A run that diverged is finished, too; its record says that it
    diverged.
    """
    content = read_json(folder / RECORD)
    return isinstance(content, dict) and folder.name.endswith(f"-{content.get('hash')}")


def reason_of_divergence(folder: Path) -> str:
    """Return why a finished run has no result; empty if it has one."""
    content = read_json(folder / RECORD)
    return content.get("reason", "") if content.get("outcome") == "diverged" else ""


def remove_training_states(folder: Path) -> list[str]:
    """Delete the training states of a finished run, and return the names of those that were there."""
    left = [name for name in (LAST, PREVIOUS) if (folder / name).is_file()]
    for name in left:
        (folder / name).unlink(missing_ok=True)
    return left


def is_unfinished(folder: Path) -> bool:
    """Return whether the run was started and can be resumed."""
    return not is_done(folder) and any((folder / name).is_file() for name in (LAST, PREVIOUS))


def set_aside(file: Path) -> Path:
    """Rename a damaged file, so that nothing reads it again, and return its new name."""
    target = file.with_name(file.name + DAMAGED)
    file.replace(target)
    return target


def warn_and_set_aside(file: Path, sentence: str) -> None:
    """Log a sentence about a damaged file as a warning, and rename the file; for files that nothing depends on."""
    try:
        kept = f"It is kept as {set_aside(file).name}."
    except OSError as error:  # for example a folder of another user
        kept = f"It could not be renamed ({error.strerror})."
    logging.getLogger(__name__).warning("%s %s", sentence, kept)
