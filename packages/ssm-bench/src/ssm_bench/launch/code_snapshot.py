"""A copy of the code that a launched plan runs, so that editing the checkout does not change queued cells."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ssm_bench.catalog import benchmarks_root
from ssm_bench.errors import UserError
from ssm_bench.provenance import CODE_FILE, GitError, code_version, git, is_checkout

#: The parts of the checkout that a run reads.
PARTS = ("packages", "kernels", "benchmarks", "results/published")
#: Patterns of files that are not copied from a source tree without git.
NOT_COPIED = ("__pycache__", "*.egg-info", ".*", "build", "dist")


@dataclass(frozen=True)
class CodeSnapshot:
    """A folder with the code as it was when the plan was launched."""

    folder: Path

    @property
    def paths(self) -> list[str]:
        """The folders that Python must search before the installed packages; [] if nothing was copied."""
        root = benchmarks_root().parent
        sources = sorted([*root.glob("packages/*/src"), *root.glob("kernels/src")])
        return [str(self.folder / source.relative_to(root)) for source in sources]


def take(folder: Path) -> str:
    """Copy the checkout's code with its uncommitted changes into ``folder`` and return its version for the records.

    Files that git neither tracks nor ignores are copied, too. The uncommitted changes are written as a diff beside the
    folder. An installed package is not copied, because nobody edits it.

    Raises:
        UserError: git cannot read the checkout.
    """
    root = benchmarks_root().parent
    version = code_version()
    if not (root / "packages").is_dir():
        return version
    if is_checkout(root):
        try:
            _copy_checkout(root, folder)
        except GitError as error:
            raise UserError(f"A launched plan runs a copy of the code, which git lists: {error}") from None
    else:
        for part in PARTS:
            shutil.copytree(root / part, folder / part, ignore=shutil.ignore_patterns(*NOT_COPIED))
    (folder / CODE_FILE).write_text(version + "\n")
    return version


def _copy_checkout(root: Path, folder: Path) -> None:
    files = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PARTS)
    for name in filter(None, os.fsdecode(files).split("\0")):
        source, target = root / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    changes = git(root, "diff", "HEAD", "--binary", "--", *PARTS)
    if changes:
        folder.with_suffix(".diff").write_bytes(changes)
