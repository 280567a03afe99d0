"""A run folder: when its run is done, who holds it, and what becomes of a damaged file."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from ssm_bench import run_folder
from ssm_bench.run_folder import hold, is_done, is_unfinished, set_aside, warn_and_set_aside
from ssm_testing.runs import record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "s4d-mini-seed0-00000000"
    made.mkdir()
    return made


def test_the_record_of_this_run_makes_it_done(folder: Path) -> None:
    assert not is_done(folder)
    record().write(folder)
    assert is_done(folder)
    assert not is_unfinished(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"3", b'{"hash": null}', b'{"hash": ""}', b"\xff"])
def test_a_damaged_record_does_not(content: bytes, folder: Path) -> None:
    (folder / "record.json").write_bytes(content)
    assert not is_done(folder)


def test_the_record_of_another_run_does_not(folder: Path) -> None:
    for other in ("11111111", "0000000", "000000000"):
        (folder / "record.json").write_text(json.dumps({"hash": other}))
        assert not is_done(folder)


@pytest.mark.parametrize("name", [run_folder.LAST, run_folder.PREVIOUS])
def test_a_training_state_makes_it_unfinished(name: str, folder: Path) -> None:
    assert not is_unfinished(folder)
    (folder / name).write_bytes(b"x")
    assert is_unfinished(folder)
    record().write(folder)
    assert not is_unfinished(folder)


def test_one_process_holds_a_folder(folder: Path) -> None:
    code = (
        "import sys, pathlib; from ssm_bench.run_folder import hold\n"
        "from ssm_bench.errors import BusyError\n"
        "try:\n"
        "    with hold(pathlib.Path(sys.argv[1])): print('held')\n"
        "except BusyError as error: print(error)\n"
    )
    ask = [sys.executable, "-c", code, str(folder)]
    with hold(folder):
        said = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    assert said == f"Another process is running this cell in {folder}.\n"
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == "held\n"


def test_a_folder_is_free_again_after_an_error(folder: Path) -> None:
    with pytest.raises(KeyError), hold(folder):
        raise KeyError
    with hold(folder):
        pass


def test_a_damaged_file_is_kept_under_another_name(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = folder / "status.json"
    for content in ("a", "b"):
        file.write_text(content)
        assert set_aside(file) == folder / "status.json.damaged"
        assert not file.exists()
        assert (folder / "status.json.damaged").read_text() == content
    file.write_text("c")
    with caplog.at_level(logging.WARNING):
        warn_and_set_aside(file, "It is damaged.")
    assert "It is damaged. It is kept as status.json.damaged." in caplog.text
