"""Find original files in the user's folder, and read archives without unpacking them.

Archives are read member by member, so no member can leave a trace outside. A member whose path leaves the archive, or
that is larger than any published one, is refused.
"""

from __future__ import annotations

import contextlib
import fnmatch
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from ssm_data.errors import DataError

ARCHIVES = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar", ".zip")
MEMBER_LIMIT = 1 << 30


def folder_with(root: Path | None, places: Iterable[str], names: Iterable[str]) -> Path | None:
    """The first of ``places`` under ``root`` that holds all ``names``."""
    if root is None:
        return None
    names = tuple(names)
    for place in places:
        if all((root / place / name).exists() for name in names):
            return root / place
    return None


def archive(root: Path | None, stems: Iterable[str]) -> Path | None:
    """The first archive under ``root`` that is called after one of ``stems``."""
    if root is None:
        return None
    candidates = (root / f"{stem}{suffix}" for stem in stems for suffix in ARCHIVES)
    return next((path for path in candidates if path.is_file()), None)


def read_folder(root: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Path below ``root`` and content of each file that matches ``pattern``, in the order of the paths."""
    for path in sorted(root.glob(pattern)):
        yield path.relative_to(root).as_posix(), path.read_bytes()


def read_archive(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file in a tar or zip archive that matches ``pattern`` (``*`` matches ``/`` too).

    Raises:
        DataError: the archive is truncated or broken, or holds a member that no genuine one has.
    """
    for name, _, read in _members(path, pattern):
        with _readable(path):
            content = read()
        yield name, content


def archive_names(path: Path, pattern: str) -> list[str]:
    """Names of the files in an archive that match ``pattern``; reads a tar archive to its end.

    Raises:
        DataError: as :func:`read_archive`.
    """
    return [name for name, _ in archive_sizes(path, pattern)]


def archive_sizes(path: Path, pattern: str) -> list[tuple[str, int]]:
    """Names and sizes in bytes of the files in an archive that match ``pattern``; reads a tar archive to its end.

    Raises:
        DataError: as :func:`read_archive`.
    """
    return [(name, size) for name, size, _ in _members(path, pattern)]


def _members(path: Path, pattern: str) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    every = _zip_members(path) if path.suffix == ".zip" else _tar_members(path)
    with _readable(path):
        for name, size, read in every:
            parts = PurePosixPath(name)
            if parts.is_absolute() or ".." in parts.parts:
                raise DataError(f"{path} holds the unsafe member {name!r} and was not read further.")
            if not fnmatch.fnmatchcase(name, pattern):
                continue
            if size > MEMBER_LIMIT:
                raise DataError(f"{path} holds the member {name!r} of {size:,} bytes; too large.")
            yield name, size, read


def _tar_members(path: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    with tarfile.open(path, "r|*") as tar:
        for member in tar:
            name = member.name if member.isfile() else f"{member.name}/"
            yield name, member.size, lambda member=member: tar.extractfile(member).read()  # type: ignore[misc, union-attr]


def _zip_members(path: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            yield member.filename, member.file_size, lambda member=member: archive.read(member)  # type: ignore[misc]


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        raise DataError(
            f"{path} cannot be read to its end ({error}); the archive is truncated or broken: get it again."
        ) from error
