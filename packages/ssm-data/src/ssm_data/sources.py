"""Where original files come from: the user's folder, an archive, the network."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def folder_with(root: Path | None, places: Iterable[str], names: Iterable[str]) -> Path | None:
    """The first of ``places`` under ``root`` that holds all ``names``."""
    if root is None:
        return None
    names = tuple(names)
    for place in places:
        if all((root / place / name).exists() for name in names):
            return root / place
    return None
