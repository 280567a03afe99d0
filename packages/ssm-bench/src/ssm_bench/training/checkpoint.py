"""Checkpoint files with a checksum. They are written atomically, and reading a file never runs code from it.

A file is the ZIP archive that ``torch.save`` writes. The comment of the archive is the SHA-256 of everything before the
comment. ``torch.load(file, weights_only=True)`` reads the file like any other checkpoint.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from ssm_bench import run_folder
from ssm_bench.errors import RunError
from ssm_bench.files import write_bytes_atomically

_MARK = b"sha256:"
_COMMENT_BYTES = len(_MARK) + hashlib.sha256().digest_size * 2


class DamagedError(RunError):
    """A checkpoint file is damaged, or it is not a checkpoint of this run."""


def write_checkpoint(file: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint with its checksum, so that a reader sees the old or the new one, never a part."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    payload = buffer.getbuffer()
    # The last field of a ZIP archive without a comment is the comment's length.
    payload[-2:] = _COMMENT_BYTES.to_bytes(2, "little")
    write_bytes_atomically(file, payload, _MARK + hashlib.sha256(payload).hexdigest().encode())


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, with its tensors on the CPU. No code that the file names is executed.

    Raises:
        DamagedError: the checksum is missing or wrong, or the file holds more than tensors and plain values.
    """
    data = file.read_bytes()
    payload, comment = memoryview(data)[:-_COMMENT_BYTES], data[-_COMMENT_BYTES:]
    if comment != _MARK + hashlib.sha256(payload).hexdigest().encode():
        raise DamagedError(f"{file} is damaged: its checksum is missing or does not fit its content.")
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises errors of many kinds here; the checksum is right, so another program wrote this file.
        raise DamagedError(f"{file} is not a checkpoint of a run: {str(error).splitlines()[0]}") from error


def find_checkpoint(folder: Path, run_hash: str, say: Callable[[str], None]) -> Path | None:
    """Return the newest undamaged training state of a run folder, or None if the run must begin from the start.

    A damaged file is set aside, and the training state before the last one is used. If the weights of the best epoch
    are missing or damaged, the run begins from the start, because only training can produce them again.

    Args:
        run_hash: hash of the run; a training state of another run is set aside, too.
        say: called with a sentence about each file that was set aside.
    """
    usable = []
    for name in (run_folder.LAST, run_folder.PREVIOUS):
        content = _usable(folder / name, run_hash, say)
        if content is not None:
            usable.append((folder / name, content))
    best = folder / run_folder.BEST
    for file, content in usable:
        # Before the first epoch is complete, there is no best epoch.
        if not _epochs_done(content) or _usable(best, run_hash, say) is not None:
            return file
        say(f"{best} is missing or was damaged, so {file.name} cannot be used.")
    return None


def _usable(file: Path, run_hash: str, say: Callable[[str], None]) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        content = read_checkpoint(file)
        if content.get("run_hash") != run_hash:
            raise DamagedError(f"{file} belongs to another run.")
    except DamagedError as error:
        say(f"{error} It is kept as {run_folder.set_aside(file).name}.")
        return None
    return content


def _epochs_done(content: Mapping[str, Any]) -> int:
    from ssm_bench.training.callbacks import Keeper

    return len(content["callbacks"][Keeper.__qualname__]["rows"])


class CheckedCheckpointIO(CheckpointIO):
    """Lightning's plugin for checkpoint files, which writes and reads each file with its checksum."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)
