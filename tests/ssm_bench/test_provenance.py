"""The version of the code is that of the checkout this package lies in, and of no other repository."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ssm_bench import provenance
from ssm_bench.provenance import code_version

PACKAGE = Path(provenance.__file__).parent
INSTALLED = f"ssm-bench {importlib.metadata.version('ssm-bench')}"
LOCK = """\
version = 1
revision = 5

[[package]]
name = "aiohttp"
version = "3.14.5"
source = { registry = "https://pypi.org/simple" }
dependencies = [
    { name = "yarl", version = "1.2", source = { registry = "https://pypi.org/simple" } },
]
sdist = { url = "https://files.pythonhosted.org/a.tar.gz", hash = "sha256:aa", size = 7, upload-time = "2026-10-11" }
wheels = [
    { url = "https://files.pythonhosted.org/a.whl", hash = "sha256:bb", size = 8, upload-time = "2026-10-11" },
]

[[package]]
name = "bare"
version = "1.0"
source = { url = "https://example.org/bare.tar.gz" }
"""


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(["git", "-C", folder, *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message=x")
    return git(folder, "rev-parse", "HEAD")


def source_tree(root: Path) -> Path:
    """Make a source tree with no more than the place of this package and a lock file."""
    package = root / "packages" / "ssm-bench" / "src" / "ssm_bench"
    package.mkdir(parents=True)
    (package / "provenance.py").write_text("# as committed\n")
    (root / "uv.lock").write_text(LOCK)
    return package


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose root is the source tree; this module acts as if it lay there."""
    root = tmp_path / "checkout"
    package = source_tree(root)
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    git(root, "init", "--quiet")
    return root


def test_the_commit_and_whether_files_were_changed(checkout: Path) -> None:
    head = commit(checkout)
    assert code_version() == head
    (checkout / "notes.txt").write_text("git does not track this\n")
    assert code_version() == head
    (checkout / "packages/ssm-bench/src/ssm_bench/provenance.py").write_text("# changed\n")
    assert code_version() == f"{head}-dirty"


@pytest.mark.parametrize(
    ("before", "after", "dirty"),
    [
        ("https://pypi.org/simple", "https://mirror.example.org/simple", False),
        ("https://files.pythonhosted.org/", "https://mirror.example.org/files/", False),
        (', size = 7, upload-time = "2026-10-11"', "", False),
        ("revision = 5", "revision = 6", False),
        ("sha256:bb", "sha256:cc", True),
        (', hash = "sha256:bb"', "", True),
        ("3.14.5", "3.14.6", True),
        ('name = "yarl"', 'name = "evil"', True),
        ("https://example.org/bare.tar.gz", "https://mirror.example.org/bare.tar.gz", True),
        (LOCK, "no TOML [", True),
    ],
)
def test_a_mirror_in_the_lock_file_is_no_change_of_the_code(
    before: str, after: str, dirty: bool, checkout: Path
) -> None:
    head = commit(checkout)
    assert before in LOCK
    (checkout / "uv.lock").write_text(LOCK.replace(before, after))
    assert code_version() == (f"{head}-dirty" if dirty else head)


def test_a_mirror_in_the_lock_file_hides_no_other_change(checkout: Path) -> None:
    head = commit(checkout)
    (checkout / "uv.lock").write_text(LOCK.replace("pypi.org", "mirror.example.org"))
    (checkout / "packages/ssm-bench/src/ssm_bench/provenance.py").unlink()
    assert code_version() == f"{head}-dirty"


def test_a_deleted_lock_file_is_a_change(checkout: Path) -> None:
    head = commit(checkout)
    (checkout / "uv.lock").unlink()
    assert code_version() == f"{head}-dirty"


def test_an_enclosing_repository_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = tmp_path / "outer"
    package = source_tree(outer / "ssm")
    git(outer, "init", "--quiet")
    commit(outer)
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    assert code_version() == INSTALLED


def test_a_package_in_a_projects_environment_is_known_by_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet")
    package = tmp_path / "venv" / "lib" / "python3.11" / "site-packages" / "ssm_bench"
    package.mkdir(parents=True)
    (package / "provenance.py").touch()
    commit(tmp_path)
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    assert code_version() == INSTALLED


def test_variables_that_name_another_repository_are_not_followed(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = commit(checkout)
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    (other / "file").touch()
    commit(other)
    for name, value in (("GIT_DIR", other / ".git"), ("GIT_WORK_TREE", other), ("GIT_INDEX_FILE", other / "index")):
        monkeypatch.setenv(name, str(value))
    assert code_version() == head


def test_a_worktree_is_a_checkout(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = commit(checkout)
    tree = tmp_path / "tree"
    git(checkout, "worktree", "add", "--quiet", str(tree))
    package = tree / "packages" / "ssm-bench" / "src" / "ssm_bench"
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    assert code_version() == head


def test_the_checkout_of_another_owner_is_read(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git refuses it, but this process runs its code anyway."""
    head = commit(checkout)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    refused = subprocess.run(["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert "dubious ownership" in refused.stderr
    assert code_version() == head


@pytest.mark.parametrize("how", ["no git", "no commit", "damaged"])
def test_what_git_cannot_read_is_a_sentence(how: str, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "no git":
        monkeypatch.setenv("PATH", str(checkout))
    elif how == "damaged":
        git(checkout.parent, "init", "--quiet")  # git would go on to this enclosing repository
        git(checkout.parent, "commit", "--quiet", "--allow-empty", "--message=x")
        (checkout / ".git" / "HEAD").write_text("nothing\n")
    with pytest.warns(UserWarning, match=r"is unknown.*git (is not installed|cannot read .*checkout)"):
        assert code_version() == INSTALLED


def test_a_copy_names_the_version_that_was_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = source_tree(tmp_path)
    (tmp_path / provenance.CODE_FILE).write_text("0123-dirty\n")
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    assert code_version() == "0123-dirty"


def test_this_checkout_copied_into_another_repository(tmp_path: Path) -> None:
    """The real package, imported from a copy: no test double can get its place wrong."""
    outer = tmp_path / "outer"
    target = outer / "ssm" / "packages" / "ssm-bench" / "src" / "ssm_bench"
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__"))
    git(outer, "init", "--quiet")
    commit(outer)
    said = subprocess.run(
        [sys.executable, "-c", "from ssm_bench.provenance import code_version; print(code_version())"],
        env=os.environ | {"PYTHONPATH": str(target.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == INSTALLED


def test_versions_of_the_packages_that_a_result_depends_on() -> None:
    versions = provenance.package_versions()
    assert versions["python"] == sys.version.split()[0]
    assert versions["torch"] == importlib.metadata.version("torch")
