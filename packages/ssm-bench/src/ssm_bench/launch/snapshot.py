"""A copy of the code that a launched plan runs, so that editing the checkout changes nothing that is queued."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ssm_bench.catalog import benchmarks_root
from ssm_bench.errors import UserError
from ssm_bench.record import CODE_FILE, code_version

#: What a run reads of the checkout.
PARTS = ("packages", "kernels", "benchmarks", "results/published")


@dataclass(frozen=True)
class Snapshot:
    """A folder with the code as it was."""

    folder: Path

    @property
    def paths(self) -> list[str]:
        """What goes in front of the installed packages; none where an installed package launches."""
        root = benchmarks_root().parent
        sources = sorted([*root.glob("packages/*/src"), *root.glob("kernels/src")])
        return [str(self.folder / source.relative_to(root)) for source in sources]


def take(folder: Path) -> str:
    """Copy the checkout's code with its uncommitted changes into ``folder``; what the records shall call it.

    New files that git does not ignore are part of it. Uncommitted changes are kept as a diff beside the folder. An
    installed package is not copied: nobody edits it.

    Raises:
        UserError: the checkout is none of git's, so there is no telling what belongs to it.
    """
    root = benchmarks_root().parent
    version = code_version()
    if not (root / "packages").is_dir():
        return version
    files = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PARTS)
    for name in filter(None, os.fsdecode(files).split("\0")):
        source, target = root / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    (folder / CODE_FILE).write_text(version + "\n")
    changes = _git(root, "diff", "HEAD", "--binary", "--", *PARTS)
    if changes:
        folder.with_suffix(".diff").write_bytes(changes)
    return version


def _git(root: Path, *words: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, check=True)
    except FileNotFoundError:
        raise UserError("A launched plan runs a copy of the code, and copying needs git; install it.") from None
    except subprocess.CalledProcessError as error:
        raise UserError(
            f"A launched plan runs a copy of the code, and git cannot read {root}: {os.fsdecode(error.stderr).strip()}."
        ) from None
    return done.stdout
