"""The version of the running code: of the checkout, the copy that a launched plan runs, or the installed package.

Git is asked only about the checkout that this package lies in. A repository that merely encloses it, or that GIT_DIR
names, says nothing about this code. Does not import torch.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import tomllib
import warnings
from pathlib import Path
from typing import Any

#: In a copy of the checkout: the version of the code that was copied.
CODE_FILE = "code-version"
#: The packages whose versions a record names.
PACKAGES = ("torch", "lightning", "numpy", "hydra-core", "ssm-core", "ssm-models", "ssm-data", "ssm-bench")
LOCK_FILE = "uv.lock"
#: Variables that point git to another repository than the one of the folder that it is asked about.
_GIT_LOCATION = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
)
#: Keys of a lock file that say where a package comes from, or when; its hashes say what it is.
_WHERE_AND_WHEN = {"url", "registry", "upload-time", "size", "revision"}


class GitError(Exception):
    """Git is not installed, or it cannot read the checkout; the message is one sentence."""


def code_version() -> str:
    """Return ``COMMIT`` or ``COMMIT-dirty`` for a checkout or a copy of one, else ``ssm-bench VERSION``.

    If git cannot read the checkout, warn with a sentence that says why and return the package version.
    """
    root = _source_tree()
    if root is not None and (root / CODE_FILE).is_file():
        return (root / CODE_FILE).read_text().strip()
    if root is not None and is_checkout(root):
        try:
            commit = git(root, "rev-parse", "HEAD").decode().strip()
            return f"{commit}-dirty" if _is_dirty(root) else commit
        except GitError as error:
            warnings.warn(
                f"The commit of this code is unknown, so records name its version only: {error}", stacklevel=2
            )
    return f"ssm-bench {importlib.metadata.version('ssm-bench')}"


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result may depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        versions[name] = importlib.metadata.version(name)
    return versions


def is_checkout(root: Path) -> bool:
    """Return whether a source tree is the top of a git repository of its own, not a folder inside of another one."""
    return (root / ".git").exists()  # .git is a folder, or a file in a worktree or a submodule


def git(root: Path, *words: str) -> bytes:
    """Return what git prints about the repository in ``root``, which must be the top of one.

    Raises:
        GitError: git is not installed or cannot read the repository.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _GIT_LOCATION}
    environment["GIT_CEILING_DIRECTORIES"] = str(root.parent)  # if .git is damaged, git must not look further up
    # Git refuses a repository of another owner, because its configuration may start programs. This process already
    # runs the code of that very folder, so its owner is trusted.
    command = ["git", "-c", f"safe.directory={root}", "-C", str(root), *words]
    try:
        return subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    except FileNotFoundError:
        raise GitError("git is not installed.") from None
    except subprocess.CalledProcessError as error:
        said = " ".join(os.fsdecode(error.stderr).split())
        raise GitError(f"git cannot read {root}: {said.rstrip('.')}.") from None


def _source_tree() -> Path | None:
    """Return the root of the source tree that this package lies in; None for an installed package."""
    package = Path(__file__).resolve().parent
    root = package.parents[3]
    return root if root / "packages" / "ssm-bench" / "src" / "ssm_bench" == package else None


def _is_dirty(root: Path) -> bool:
    """Return whether a file that git tracks was changed.

    A package mirror in the environment (UV_DEFAULT_INDEX, for example) makes uv write the mirror's addresses into
    uv.lock. This changes no package, so it does not count.
    """
    # Each entry is two letters, a space and a path; -z leaves odd names unquoted.
    changed = git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=no").split(b"\0")
    names = {entry[3:] for entry in changed if entry}
    if names == {LOCK_FILE.encode()}:
        return not _same_packages(root)
    return bool(names)


def _same_packages(root: Path) -> bool:
    """Return whether uv.lock names the same packages, with the same hashes, as in the commit."""
    try:
        now = tomllib.loads((root / LOCK_FILE).read_text(encoding="utf-8"))
        committed = tomllib.loads(git(root, "show", f"HEAD:{LOCK_FILE}").decode())
    except (OSError, ValueError):  # the file was deleted or is not TOML
        return False
    return _without_locations(now) == _without_locations(committed)


def _without_locations(node: Any) -> Any:
    """Return a lock file's content without the keys that say where packages come from."""
    if isinstance(node, dict):
        # If an archive has no hash, only its address identifies it.
        dropped = _WHERE_AND_WHEN if "url" not in node or "hash" in node else _WHERE_AND_WHEN - {"url"}
        return {key: _without_locations(value) for key, value in node.items() if key not in dropped}
    if isinstance(node, list):
        return [_without_locations(value) for value in node]
    return node
