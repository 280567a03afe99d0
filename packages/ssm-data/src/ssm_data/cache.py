"""Store prepared arrays on disk: atomically, under a lock, with checksums; open them memory-mapped.

An entry is a folder of ``.npy`` files and a ``meta.json`` with the size and SHA-256 of each file. It is built in a
temporary folder beside its final path, under a lock, and renamed when it is complete. A killed preparation therefore
leaves no incomplete entry. If two processes prepare the same entry, the second one waits and finds it complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tokenize
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from filelock import FileLock

from ssm_data.errors import DataError

#: Part of every fingerprint in every record of a run; it must never change.
DIGEST_FORMAT = 3
META = "meta.json"
#: Arrays up to this many bytes are compared with their checksum whenever they are opened.
SMALL = 2**20
#: Exceptions that numpy raises for an array file whose header is damaged.
DAMAGED = (
    OSError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    SyntaxError,
    ArithmeticError,
    MemoryError,
    tokenize.TokenError,
)
#: Suffix of files that record the origin of an entry; they are not part of its contents.
CHECKSUMS = ".sha256"


def digest(value: Any, number: int = DIGEST_FORMAT) -> str:
    """Return a short hash of a JSON value and a format number; it is the same on every machine."""
    text = json.dumps([number, value], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A complete entry.

    Attributes:
        meta: notes of the writer.
        files: size and SHA-256 of each file, by name.
    """

    folder: Path
    meta: dict[str, Any]
    files: dict[str, tuple[int, str]]

    @cached_property
    def size(self) -> int:
        """Return the size on disk, in bytes."""
        return sum(size for size, _ in self.files.values())

    @cached_property
    def fingerprint(self) -> str:
        """Return the hash of the contents."""
        return digest({name: sha for name, (_, sha) in self.files.items()})

    def array(self, name: str) -> np.ndarray:
        """Open a stored array, memory-mapped and read-only.

        Raises:
            DataError: its file is damaged.
        """
        path = self.folder / f"{name}.npy"
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except DAMAGED as error:
            raise self._damaged(path, f" ({error})") from error
        # Only verify() compares large arrays, because reading them takes long.
        if path.stat().st_size <= SMALL and checksum(path) != self.files[path.name][1]:
            raise self._damaged(path, ": its checksum differs")
        return values

    def _damaged(self, path: Path, how: str) -> DataError:
        return DataError(f"{path} is damaged{how}; delete the folder {self.folder} and prepare the data again.")

    def verify(self) -> list[str]:
        """Read all files; return a sentence for each file that differs from what was written."""
        return [
            f"{self.folder / name} does not have its recorded checksum; "
            f"delete the folder {self.folder} and prepare the data again."
            for name, (_, expected) in self.files.items()
            if checksum(self.folder / name) != expected
        ]


@dataclass
class Writer:
    """Collect the arrays and notes of an entry that is being built."""

    folder: Path
    meta: dict[str, Any] = field(default_factory=dict)

    def array(self, name: str, values: np.ndarray) -> None:
        """Store an array."""
        with (self.folder / f"{name}.npy").open("wb") as file:
            # numpy writes to a real file without Python's file object; on a full disk its error names no file.
            np.save(SimpleNamespace(write=file.write), values, allow_pickle=False)

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.memmap:
        """Create an array on disk that the caller fills piece by piece."""
        path = self.folder / f"{name}.npy"
        values = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        if hasattr(os, "posix_fallocate"):  # on a full disk this raises; otherwise the process would be killed later
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return values


def find(folder: Path) -> Entry | None:
    """Return the entry at ``folder`` if it is complete, else None; compare file sizes, but do not read the arrays."""
    try:
        stored = json.loads((folder / META).read_text())
        files = {name: (int(size), str(sha)) for name, (size, sha) in stored["files"].items()}
        if stored.keys() != {"key", "meta", "files", "digest"}:
            return None
        if stored["digest"] != digest([stored["key"], stored["meta"], stored["files"]]):
            return None
        if any((folder / name).stat().st_size != size for name, (size, _) in files.items()):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    return Entry(folder, stored["meta"], files)


def build(folder: Path, key: dict[str, Any], write: Callable[[Writer], None]) -> Entry:
    """Build the entry at ``folder`` with ``write``, unless another process has built it in the meantime.

    Raises:
        DataError: a disk is full, or a file cannot be read or written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            entry = find(folder)
            if entry is None:
                entry = _build_locked(folder, key, write)
            return entry
    except OSError as error:
        raise DataError(
            f"The data cannot be prepared in {folder.parent}: {error}; if the disk is full or the folder is "
            "not writable, free space or choose another cache folder with SSM_DATA_CACHE."
        ) from error


def _build_locked(folder: Path, key: dict[str, Any], write: Callable[[Writer], None]) -> Entry:
    partial = folder.with_name(f"{folder.name}.partial")
    _remove(partial)  # a killed preparation may have left it
    partial.mkdir()
    try:
        writer = Writer(partial)
        write(writer)
        paths = sorted(path for path in partial.iterdir() if path.suffix != CHECKSUMS)
        files = {path.name: (path.stat().st_size, checksum(path)) for path in paths}
        stored = {"key": key, "meta": writer.meta, "files": files}
        _write_synced(partial / META, {**stored, "digest": digest([key, writer.meta, files])})
        _remove(folder)  # incomplete or damaged: find() refused it
        os.replace(partial, folder)
    except BaseException:
        _remove(partial)
        raise
    return Entry(folder, writer.meta, files)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _write_synced(path: Path, value: Any) -> None:
    with path.open("w") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
