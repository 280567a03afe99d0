"""Files are written whole or not at all, leave nothing behind, and JSON is strict."""

import errno
import os
from pathlib import Path

import pytest
from ssm_bench import files
from ssm_bench.files import as_json, read_json, write_atomically, write_bytes_atomically


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_atomically(file, "één\n")
    assert file.read_text(encoding="utf-8") == "één\n"
    write_bytes_atomically(file, b"ab", memoryview(b"cd"))
    assert file.read_bytes() == b"abcd"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_what_fails_in_between_leaves_the_old_file_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.txt"
    write_atomically(file, "old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == "replace":
        monkeypatch.setattr(Path, "replace", full)
    elif step == "fsync":
        monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises((OSError, TypeError)):
        write_bytes_atomically(file, *([b"new", None] if step == "write" else [b"new"]))  # type: ignore[list-item]
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync of the file, then the rename, then fsync of the folder: this order survives a power failure."""
    log: list[str] = []
    replace, fsync = Path.replace, os.fsync
    monkeypatch.setattr(Path, "replace", lambda self, target: log.append("replace") or replace(self, target))
    monkeypatch.setattr(files.os, "fsync", lambda handle: log.append("fsync") or fsync(handle))
    write_atomically(tmp_path / "a.txt", "x")
    assert log == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("text", ["", "{", "\0", "[" * 100_000, "{} x"])
def test_damaged_json_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    assert read_json(tmp_path / "a.json") is None


def test_a_missing_file_and_bytes_that_are_no_text_are_none(tmp_path: Path) -> None:
    assert read_json(tmp_path / "a.json") is None
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    assert read_json(tmp_path / "a.json") is None
    assert read_json(tmp_path / "a.json" / "below") is None


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_such_number(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        as_json({"a": [number]})


def test_json_is_read_back(tmp_path: Path) -> None:
    content = {"a": [1, 2.5, None, "é"], "b": {}}
    write_atomically(tmp_path / "a.json", as_json(content))
    assert read_json(tmp_path / "a.json") == content
