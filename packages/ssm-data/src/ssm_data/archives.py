"""Find original files in the user's folder, and read archives without unpacking them.

Archives are read member by member, so no member can leave a trace outside. A member whose path leaves the archive, or
that is larger than any published one, is refused.
"""

from __future__ import annotations

import contextlib
import fnmatch
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from ssm_data.errors import DataError

ARCHIVES = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar", ".zip")
MEMBER_LIMIT = 1 << 30
ENCRYPTED = 1  # flag of a member of a zip archive
READABLE_ZIP = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
# What the readers of Python raise for archives that are damaged somewhere.
BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    NotImplementedError,
    IndexError,
    KeyError,
)


def folder_with(root: Path | None, places: Iterable[str], names: Iterable[str]) -> Path | None:
    """Return the first of ``places`` below ``root`` that holds all ``names``, or None."""
    if root is None:
        return None
    names = tuple(names)
    for place in places:
        if all((root / place / name).exists() for name in names):
            return root / place
    return None


def archive(root: Path | None, stems: Iterable[str]) -> Path | None:
    """Return the first archive below ``root`` that is called after one of ``stems``, or None."""
    if root is None:
        return None
    candidates = (root / f"{stem}{suffix}" for stem in stems for suffix in ARCHIVES)
    return next((path for path in candidates if path.is_file()), None)


def of_macos(name: str) -> bool:
    """Tell whether macOS puts a file of this path beside those that it copies or packs: ``._x`` or ``__MACOSX/x``."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or (bool(parts) and parts[-1].startswith("._"))


def files(root: Path, pattern: str) -> list[Path]:
    """Return the files below ``root`` that match ``pattern``, sorted by path, without those of macOS."""
    return [path for path in sorted(root.glob(pattern)) if not of_macos(path.relative_to(root).as_posix())]


def read_folder(root: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield path below ``root`` and content of each file that matches ``pattern``, in the order of the paths.

    Raises:
        DataError: a file cannot be read.
    """
    for path in files(root, pattern):
        yield path.relative_to(root).as_posix(), content_of(path)


def content_of(path: Path) -> bytes:
    """Return the content of an original file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); put the original file back.") from error


def read_archive(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file in a tar or zip archive that matches ``pattern`` (``*`` matches ``/`` too).

    Raises:
        DataError: the archive is truncated, broken, encrypted or none, or holds a member that no genuine one has.
    """
    for name, _, read in _members(path, pattern):
        with _readable(path):
            content = read()
        yield name, content


def archive_names(path: Path, pattern: str) -> list[str]:
    """Return the names of the files in an archive that match ``pattern``; a tar archive is read to its end.

    Raises:
        DataError: as :func:`read_archive`.
    """
    return [name for name, _ in archive_sizes(path, pattern)]


def archive_sizes(path: Path, pattern: str) -> list[tuple[str, int]]:
    """Return names and sizes in bytes of the files in an archive that match; a tar archive is read to its end.

    Raises:
        DataError: as :func:`read_archive`.
    """
    return [(name, size) for name, size, _ in _members(path, pattern)]


def looks_like_a_web_page(start: bytes) -> bool:
    """Tell whether a file that begins with ``start`` is HTML, as a server sends it that asks for a login."""
    return start.lstrip()[:1] == b"<"


def _members(path: Path, pattern: str) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    with _readable(path):
        with path.open("rb") as file:
            if looks_like_a_web_page(file.read(256)):
                raise DataError(
                    f"{path} is a web page and no archive; its server may ask for a login: get the file again with a "
                    "browser."
                )
        every = _zip_members(path) if path.suffix == ".zip" else _tar_members(path)
        for name, size, read in every:
            parts = PurePosixPath(name)
            if parts.is_absolute() or ".." in parts.parts:
                raise DataError(f"{path} holds the unsafe member {name!r} and was not read further.")
            if of_macos(name) or not fnmatch.fnmatchcase(name, pattern):
                continue
            if size > MEMBER_LIMIT:
                raise DataError(f"{path} holds the member {name!r} of {size:,} bytes; no published archive does.")
            yield name, size, read


def _tar_members(path: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    with tarfile.open(path, "r|*") as tar:
        for member in tar:
            name = member.name if member.isfile() else f"{member.name}/"
            yield name, member.size, lambda member=member: tar.extractfile(member).read()  # type: ignore[misc, union-attr]


def _zip_members(path: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.flag_bits & ENCRYPTED:
                raise DataError(f"{path} is encrypted; unpack it, and name the folder that holds its content.")
            if member.compress_type not in READABLE_ZIP:
                raise DataError(
                    f"{path} is packed by a method that Python cannot read (number {member.compress_type}; 9 is "
                    "deflate64, which Windows uses for large files); unpack it, and name the folder that holds its "
                    "content."
                )
            yield member.filename, member.file_size, lambda member=member: archive.read(member)  # type: ignore[misc]


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        raise DataError(
            f"{path} cannot be read to its end ({error}); the archive is truncated or broken: get it again."
        ) from error
