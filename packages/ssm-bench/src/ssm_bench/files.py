"""Write files atomically and durably; write strict JSON, and read JSON. Does not import torch."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def read_json(file: Path) -> Any:
    """Return the content of a JSON file, or None if it does not exist or is damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None


def as_json(content: Any, indent: int | None = 2) -> str:
    """Return strict JSON. Raise a ValueError for NaN and infinity, which JSON does not have."""
    return json.dumps(content, indent=indent, allow_nan=False, default=str) + "\n"


def write_atomically(file: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new text, never a part, even after a power failure."""
    write_bytes_atomically(file, text.encode())


def write_bytes_atomically(file: Path, *parts: bytes | memoryview) -> None:
    """Write the parts, one after the other, so that a reader sees the old or the new file, never a part."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            for part in parts:
                stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power failure; do nothing on a system that cannot sync a folder."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
