"""Which files belong to a layer of the user's own; found without running them, and without torch."""

import subprocess
import sys
from pathlib import Path

import pytest
from ssm_models.config.custom_layer_files import LayerFileError, digest, source_digest, source_files, split_path

FILES = {
    "own.py": "import torch, json\nfrom helpers import f\ndef g():\n    import late\nclass Mix: ...",
    "helpers.py": "try:\n    from .pack import deep\nexcept ImportError:\n    import absent\ndef f(): ...",
    "late.py": "import own",
    "pack/__init__.py": "",
    "pack/deep.py": "from . import side\nfrom .. import above\n1 / 0",
    "pack/side.py": "",
    "above.py": "",
    "json/data.py": "",
    "stranger.py": "",
}
PARTS = ["above.py", "helpers.py", "late.py", "own.py", "pack/__init__.py", "pack/deep.py", "pack/side.py"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return f"{tmp_path}/own.py:Mix"


def test_all_files_that_are_imported_from_beside_belong_to_the_layer(path: str) -> None:
    files = source_files(path)
    assert sorted(files) == PARTS
    assert next(iter(files)) == "own.py"
    assert all(content.decode() == FILES[name] for name, content in files.items())


@pytest.mark.parametrize("name", FILES)
def test_an_edit_of_any_of_them_changes_the_digest(path: str, tmp_path: Path, name: str) -> None:
    before = source_digest(path)
    (tmp_path / name).write_text(FILES[name] + "\n# edited")
    assert (source_digest(path) != before) == (name in PARTS)


def test_the_digest_depends_on_names_and_contents_alone() -> None:
    assert digest({"a.py": b"1"}) == digest({"a.py": b"1"})
    assert (
        len({digest(files) for files in ({"a.py": b"1"}, {"b.py": b"1"}, {"a.py": b"2"}, {"a.py": b"1", "b": b""})})
        == 4
    )


@pytest.mark.parametrize("name", ["own.py", "helpers.py"])
def test_a_file_that_is_not_python_is_named(path: str, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("\n\ndef f(:")
    with pytest.raises(LayerFileError, match=rf"{name}, line 3 is not valid Python: .*\.$"):
        source_digest(path)


@pytest.mark.parametrize("path", ["own.py", "own:Mix", "absent.py:Mix", "x" * 300 + ".py:Mix", "a\0.py:Mix"])
def test_a_path_that_names_no_file_is_a_sentence(path: str) -> None:
    with pytest.raises(LayerFileError, match=r"\.$"):
        split_path(path)


def test_torch_is_not_imported() -> None:
    code = "import sys, ssm_models.config.custom_layer_files; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
