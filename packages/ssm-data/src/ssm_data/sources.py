"""Where original files come from: the user's folder, an archive in it, the network.

Archives are read member by member and never unpacked, so no member can leave a trace outside; a member
that tries to, or that is larger than any of the published ones, is refused.
"""

from __future__ import annotations

import contextlib
import fnmatch
import lzma
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ssm_data.cache import checksum
from ssm_data.errors import DataError

ARCHIVES = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar", ".zip")
MEMBER_LIMIT = 1 << 30
TIMEOUT = 30
CHUNK = 1 << 20

Found = TypeVar("Found")


@dataclass(frozen=True)
class Published:
    """A file as its authors publish it: ``size`` in bytes, ``digest`` its MD5 or SHA-256 in hexadecimal digits."""

    url: str
    size: int
    digest: str

    @property
    def algorithm(self) -> str:
        return "md5" if len(self.digest) == 32 else "sha256"

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


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


def download(source: Published, folder: Path, progress: bool) -> Path:
    """Fetches an archive into ``folder``, goes on where a broken download stopped, and verifies it.

    Raises:
        DataError: no connection, or the file is not the published one.
    """
    target = folder / source.name
    partial = folder / f"{source.name}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{source.name}.lock"):
        if target.exists():
            return target
        try:
            _fetch(source, partial, progress)
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            raise DataError(f"{source.url} ({source.size:,} bytes) cannot be downloaded: {error}.") from error
        if (found := checksum(partial, source.algorithm)) != source.digest:
            partial.unlink()
            raise DataError(
                f"{source.url} gave a file with {source.algorithm} {found} "
                f"where {source.digest} is published; try again."
            )
        partial.replace(target)
    return target


def _fetch(source: Published, partial: Path, progress: bool) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    if have >= source.size:
        return
    request = urllib.request.Request(source.url, headers={"Range": f"bytes={have}-"} if have else {})
    columns: tuple[Any, ...] = (TextColumn(source.name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with ExitStack() as stack:
        reply = stack.enter_context(urllib.request.urlopen(request, timeout=TIMEOUT))
        if reply.status != 206:  # the server sends it from the start
            have = 0
        file = stack.enter_context(partial.open("ab" if have else "wb"))
        bar = stack.enter_context(Progress(*columns, console=Console(stderr=True), disable=not progress))
        task = bar.add_task("", total=source.size, completed=have)
        while chunk := reply.read(CHUNK):
            file.write(chunk)
            have += len(chunk)
            bar.update(task, completed=have)
    if have < source.size:
        raise ConnectionError(f"the connection broke off after {have:,} bytes; the next attempt goes on there")


def hub(repository: str, split: str, configuration: str | None = None) -> Any:
    """A split of a data set on the Hugging Face hub, as a ``datasets.Dataset``.

    Raises:
        DataError: it cannot be reached. With ``HF_HUB_OFFLINE=1`` the hub's local cache is used.
    """
    import datasets

    try:
        if not datasets.config.HF_HUB_OFFLINE:  # its own client would try for a long time
            _reach(datasets.config.HF_ENDPOINT)
        return datasets.load_dataset(repository, configuration, split=split)
    except (OSError, ValueError, RuntimeError, HTTPException) as error:  # the client's many errors
        raise DataError(f"{repository} cannot be had from the hub: {str(error).splitlines()[0]}.") from error


def _reach(url: str) -> None:
    """Raises URLError if nothing answers there; any answer will do."""
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT).close()


def first_of(attempts: Iterable[Callable[[], Found]], how_to: str) -> Found:
    """The result of the first attempt that succeeds.

    Raises:
        DataError: none did; says why each failed, and ``how_to`` get the data by hand.
    """
    reasons = []
    for attempt in attempts:
        try:
            return attempt()
        except DataError as error:
            reasons.append(str(error))
    raise DataError(" ".join([*reasons, how_to]))
