"""Get original files from the network, and compare them with their published checksums.

The URL, the size and the checksum of a download stand in the file of its data set, as :class:`Published`.
"""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ssm_data.cache import checksum
from ssm_data.errors import DataError

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
