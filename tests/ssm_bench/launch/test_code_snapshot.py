"""A launch runs its own copy of the code."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ssm_bench.launch import code_snapshot
from ssm_bench.launch.launched import Launched
from ssm_bench.plan import Cell
from ssm_bench.provenance import code_version


def test_a_launch_runs_its_copy_of_the_code(plan: Callable[..., list[Cell]], launch: Callable[..., Launched]) -> None:
    launched = launch(plan())
    code = launched.folder / "code"
    (code / "code-version").write_text("marked\n")
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "import ssm_bench, ssm_core, ssm_models, ssm_data, ssm_kernels\n"
            "from ssm_bench.catalog import benchmarks_root\nfrom ssm_bench.provenance import code_version\n"
            "for each in (ssm_bench, ssm_core, ssm_models, ssm_data, ssm_kernels): print(each.__file__)\n"
            "print(benchmarks_root()); print(code_version())",
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(launched.code.paths)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert all(Path(file).is_relative_to(code) for file in found[:-1]), found
    assert found[-1] == "marked"
    assert launched.content["code"] == code_version()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree inside of a repository that does not track it."""
    outer = tmp_path / "outer"
    root = outer / "ssm"
    for name in ("packages/a/src/a.py", "packages/a/src/__pycache__/a.pyc", "kernels/k.cu", "benchmarks/lra/x.yaml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "results" / "published").mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", outer], check=True)
    (outer / ".gitignore").write_text("ssm/\n")
    monkeypatch.setattr(code_snapshot, "benchmarks_root", lambda: root / "benchmarks")
    return root


def test_a_tree_without_git_is_copied_whatever_the_enclosing_repository_ignores(tree: Path, tmp_path: Path) -> None:
    version = code_snapshot.take(tmp_path / "code")
    copied = {str(file.relative_to(tmp_path / "code")) for file in (tmp_path / "code").rglob("*") if file.is_file()}
    assert copied == {"packages/a/src/a.py", "kernels/k.cu", "benchmarks/lra/x.yaml", "code-version"}
    assert (tmp_path / "code" / "code-version").read_text() == f"{version}\n"


def test_a_checkout_is_copied_with_new_files_and_without_ignored_ones(tree: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tree], check=True)
    (tree / ".gitignore").write_text("*.log\n__pycache__/\n")
    for words in (["add", "packages", "kernels"], ["commit", "--quiet", "--message=x"]):
        subprocess.run(["git", "-C", tree, "-c", "user.name=x", "-c", "user.email=x@x", *words], check=True)
    (tree / "packages" / "a" / "src" / "a.py").write_text("changed\n")
    (tree / "packages" / "a" / "noise.log").touch()
    code_snapshot.take(tmp_path / "code")
    assert (tmp_path / "code" / "packages" / "a" / "src" / "a.py").read_text() == "changed\n"
    assert (tmp_path / "code" / "benchmarks" / "lra" / "x.yaml").is_file(), "git does not track it yet"
    assert not list((tmp_path / "code").rglob("*.log"))
    assert not list((tmp_path / "code").rglob("*.pyc"))
    assert "+changed" in (tmp_path / "code.diff").read_text()
