"""Find the source files of a custom layer without running them. Does not import torch.

A layer is named as ``file.py:Class``. Its identity consists of its file and of all files in the same folder that it
imports, directly or through another such file. Installed packages, data files, and modules that are imported by a
computed name (``importlib.import_module``) are not part of it.
"""

import ast
import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path


class LayerFileError(ValueError):
    """The file of a layer cannot be found, read, parsed, imported or used; the message is a sentence for its author."""


def split_path(path: str) -> tuple[Path, str]:
    """Split ``file.py:Class`` into the resolved file and the name of the class.

    Raises:
        LayerFileError: ``path`` has another form, or there is no such file.
    """
    name, separator, attribute = path.rpartition(":")
    if not separator or not name.endswith(".py"):
        raise LayerFileError(f"A layer of your own is named as file.py:Class, not {path!r}.")
    try:
        file = Path(name).expanduser().resolve()
        found = file.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        raise LayerFileError(f"The file of the layer {path!r} cannot be found: {error}.") from error
    if not found:
        raise LayerFileError(f"There is no file {file} for the layer {path!r}.")
    return file, attribute


def is_neighbour(folder: Path, name: str) -> bool:
    """Return whether the top-level module ``name`` is a file or a package in ``folder``."""
    return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()


def source_files(path: str) -> dict[str, bytes]:
    """Read the file of ``file.py:Class`` and the files beside it that it imports, transitively.

    Imports are read from the syntax tree, including imports inside functions and conditions. Nothing is executed.

    Returns:
        The content of each file by its name relative to the layer's folder, with the layer's own file first.

    Raises:
        LayerFileError: a file cannot be read, or is not Python.
    """
    file, _ = split_path(path)
    folder = file.parent
    found: dict[str, bytes] = {}
    waiting = [file]
    while waiting:
        each = waiting.pop()
        name = each.relative_to(folder).as_posix()
        if name in found:
            continue
        found[name] = _read(each)
        for module in _imported(_parse(each, found[name]), folder, each.relative_to(folder).parent.parts):
            waiting += _files(folder, module)
    return found


def source_digest(path: str) -> str:
    """Return a hexadecimal digest of :func:`source_files`, which does not depend on where the folder lies.

    Args:
        path: ``file.py:Class``; the class is not part of the digest.

    Raises:
        LayerFileError: see :func:`source_files`.
    """
    return digest(source_files(path))


def digest(files: dict[str, bytes]) -> str:
    """Return a hexadecimal SHA-256 digest of the names and contents of files."""
    total = hashlib.sha256()
    for name, content in files.items():
        total.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise LayerFileError(f"{file} cannot be read: {error.strerror or error}.") from error


def _parse(file: Path, source: bytes) -> ast.Module:
    try:
        with warnings.catch_warnings(action="ignore"):  # Python gives these warnings when it imports the file
            return ast.parse(source, str(file))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = (error.msg if isinstance(error, SyntaxError) else str(error)) or "it is nested too deeply"
        raise LayerFileError(f"{file}{line} is not valid Python: {reason}.") from error


def _imported(tree: ast.Module, folder: Path, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the modules below ``folder`` that a file may import, as the parts of their names.

    Args:
        tree: syntax tree of the file.
        folder: the layer's folder.
        package: the package of the file, below ``folder``.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [tuple(alias.name.split(".")) for alias in node.names]
            yield from (module for module in modules if is_neighbour(folder, module[0]))
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = (*above, *(node.module.split(".") if node.module else ()))
            if node.level or is_neighbour(folder, module[0]):
                yield from ((*module, alias.name) for alias in node.names)


def _files(folder: Path, module: tuple[str, ...]) -> list[Path]:
    """Return the files of a module and of the packages around it that exist in ``folder``."""
    files = []
    for end in range(1, len(module) + 1):
        place = folder.joinpath(*module[:end])
        files += [each for each in (place / "__init__.py", place.with_name(f"{place.name}.py")) if each.is_file()]
    return files
