"""Record and compare the checksums of the original files from which a cache entry was prepared.

The record is a file of the entry in the format of sha256sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ssm_data import parallel
from ssm_data.cache import CHECKSUMS, checksum

NAME = f"originals{CHECKSUMS}"


def record(folder: Path, originals: Iterable[Path], progress: bool) -> None:
    """Write the checksums of the originals, including all files of folders, to the entry that is being built."""
    files = [file for path in originals for file in _files(path)]
    if not files:
        return
    tracked = parallel.tracked(files, len(files), title="Recording checksums of the originals", progress=progress)
    lines = [f"{checksum(file)}  {file.resolve()}\n" for file in tracked]
    (folder / NAME).write_text("".join(lines), encoding="utf-8", errors="surrogateescape")


def verify(folder: Path, progress: bool) -> list[str]:
    """Return a sentence for each original file that is missing or has changed since the entry was prepared.

    If all original files are missing, return an empty list: the entry does not need them.
    """
    path = folder / NAME
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    recorded = {Path(file): digest for digest, _, file in (line.partition("  ") for line in lines)}
    if not any(file.exists() for file in recorded):
        return []
    sentences = []
    title = "Comparing the originals"
    for file, digest in parallel.tracked(recorded.items(), len(recorded), title=title, progress=progress):
        if not file.is_file():
            sentences.append(f"{file}, from which {folder} was prepared, is no longer there; put it back.")
        elif checksum(file) != digest:
            sentences.append(f"{file} is not what it was when {folder} was prepared from it; get the original again.")
    return sentences


def _files(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path] if path.is_file() else []
