"""Get original files from the network, and compare them with their published checksums.

The module of each data set defines the URL, the size and the checksum of its downloads, as :class:`Published`.
"""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ssm_data.archives import looks_like_a_web_page
from ssm_data.cache import checksum
from ssm_data.errors import DataError

#: Seconds that a server may take to answer.
TIMEOUT = 30
#: Bytes that are read at once.
CHUNK = 1 << 20

Found = TypeVar("Found")


@dataclass(frozen=True)
class Published:
    """A file as its authors publish it.

    Attributes:
        size: size in bytes.
        digest: MD5 or SHA-256 in hexadecimal digits.
    """

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
    """Download a file into ``folder`` and verify its checksum; resume an interrupted download.

    Raises:
        DataError: there is no connection, or the file is not the published one.
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
            with partial.open("rb") as file:
                page = looks_like_a_web_page(file.read(256))
            partial.unlink()
            what = "a web page" if page else f"a file with {source.algorithm} {found}"
            raise DataError(
                f"{source.url} gave {what} instead of the published file, whose {source.algorithm} is {source.digest}; "
                "try again."
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
        if reply.status != 206:  # the server sends the file from its beginning
            have = 0
        file = stack.enter_context(partial.open("ab" if have else "wb"))
        bar = stack.enter_context(Progress(*columns, console=Console(stderr=True), disable=not progress))
        task = bar.add_task("", total=source.size, completed=have)
        while chunk := reply.read(CHUNK):
            file.write(chunk)
            have += len(chunk)
            bar.update(task, completed=have)
    if have < source.size:
        raise ConnectionError(f"the connection broke off after {have:,} bytes; the next attempt resumes there")


def hub(repository: str, split: str, columns: Sequence[str], configuration: str | None = None) -> Any:
    """Return a split of a data set on the Hugging Face hub as a ``datasets.Dataset``.

    With ``HF_HUB_OFFLINE=1`` only the hub's local cache is used.

    Args:
        columns: columns that the split must have.

    Raises:
        DataError: the hub cannot be reached, or does not hold the split.
    """
    import datasets

    try:
        if not datasets.config.HF_HUB_OFFLINE:  # the hub's own client would retry for a long time
            _reach(datasets.config.HF_ENDPOINT)
        rows = datasets.load_dataset(repository, configuration, split=split)
    except Exception as error:  # the client passes on the errors of its HTTP library, which have no common base
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise DataError(f"{repository} cannot be had from the hub: {reason.rstrip('.')}.") from error
    if lacking := [column for column in columns if column not in rows.column_names]:
        raise DataError(f"{repository} on the hub has no column {' and no column '.join(lacking)} in {split}.")
    return rows


def _reach(url: str) -> None:
    """Check that a server answers; an error status is an answer too.

    Raises:
        URLError: the server does not answer.
    """
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT).close()


def first_of(attempts: Iterable[Callable[[], Found]], how_to: str) -> Found:
    """Return the result of the first attempt that succeeds.

    Raises:
        DataError: all attempts failed. The message says why each one failed, and ends with ``how_to``, which says how
            to get the data by hand.
    """
    reasons = []
    for attempt in attempts:
        try:
            return attempt()
        except DataError as error:
            reasons.append(str(error))
    raise DataError(" ".join([*reasons, how_to]))
