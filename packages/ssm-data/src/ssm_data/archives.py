"""Find original files in the user's folder, and read archives without unpacking them.

Archives are read member by member, and nothing is written to disk. A member is refused if its path leads out of the
archive, or if it is larger than any published member.
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
#: Maximum size of a member, in bytes.
MEMBER_LIMIT = 1 << 30
#: Flag of an encrypted member of a zip archive.
ENCRYPTED = 1
#: Compression methods of zip archives that Python can read.
READABLE_ZIP = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
#: Exceptions that Python's readers raise for damaged archives.
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
    """Return the first archive below ``root`` whose name without its suffix is one of ``stems``, or None."""
    if root is None:
        return None
    candidates = (root / f"{stem}{suffix}" for stem in stems for suffix in ARCHIVES)
    return next((path for path in candidates if path.is_file()), None)


def of_macos(name: str) -> bool:
    """Return whether a path is metadata that macOS adds when it copies or packs files: ``._x`` or ``__MACOSX/x``."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or (bool(parts) and parts[-1].startswith("._"))


def files(root: Path, pattern: str) -> list[Path]:
    """Return the files below ``root`` that match ``pattern``, sorted by path, without metadata of macOS."""
    return [path for path in sorted(root.glob(pattern)) if not of_macos(path.relative_to(root).as_posix())]


def read_folder(root: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield the path below ``root`` and the content of each file that matches ``pattern``, sorted by path.

    Raises:
        DataError: a file cannot be read.
    """
    for path in files(root, pattern):
        yield path.relative_to(root).as_posix(), content_of(path)


def content_of(path: Path) -> bytes:
    """Return the content of an original file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); put the original file back.") from error


def read_archive(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file in a tar or zip archive that matches ``pattern`` (``*`` matches ``/`` too).

    Raises:
        DataError: the file is truncated, broken, encrypted or no archive, or it holds an unsafe or too large member.
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
    """Return name and size in bytes of each file in an archive that matches; a tar archive is read to its end.

    Raises:
        DataError: as :func:`read_archive`.
    """
    return [(name, size) for name, size, _ in _members(path, pattern)]


def looks_like_a_web_page(start: bytes) -> bool:
    """Return whether a file that begins with ``start`` is HTML; a server that asks for a login sends such a page."""
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
