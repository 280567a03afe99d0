"""The status file says what becomes of a cell, whatever ends it; a damaged one stops nothing."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
from ssm_bench.errors import Preempted, RunError
from ssm_bench.status import Status, attempt, begin, fail, sentence
from ssm_data.contract import DataError


def status(folder: Path) -> Status:
    found = Status.read(folder)
    assert found is not None
    return found


def test_an_attempt_that_ends_well_is_done(tmp_path: Path) -> None:
    with attempt(tmp_path):
        assert status(tmp_path).state == "running"
        assert status(tmp_path).pid == os.getpid()
    assert (status(tmp_path).state, status(tmp_path).reason) == ("done", "")


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (Preempted(), "stopped", "told to stop"),
        (KeyboardInterrupt(), "stopped", "interrupted"),
        (RunError("The model did not learn."), "failed", "The model did not learn."),
        (DataError("There is no file."), "failed", "There is no file."),
        (ValueError("\n\n one \n two"), "failed", "ValueError: one"),
        (MemoryError(), "failed", "Out of memory. MemoryError: "),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "failed", "Out of memory. OutOfMemoryError: CUDA out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you"), "failed", "Out of memory. RuntimeError"),
        (SystemExit(3), "failed", "SystemExit: 3"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_attempt_that_is_ended_says_why(error: BaseException, state: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(type(error)), attempt(tmp_path):
        raise error
    assert status(tmp_path).state == state
    assert status(tmp_path).reason.startswith(reason)
    assert "\n" not in status(tmp_path).reason


def test_attempts_without_progress_are_counted_and_a_failure_starts_anew(tmp_path: Path) -> None:
    counts = [(begin(tmp_path).attempt, begin(tmp_path).fruitless) for _ in range(2)]
    assert counts == [(1, 2), (3, 4)]
    status(tmp_path).change(tmp_path, fruitless=0, step=7)
    assert (begin(tmp_path).fruitless, status(tmp_path).step) == (1, 7)
    begin(tmp_path)
    fail(tmp_path, "for another reason")
    assert (begin(tmp_path).fruitless, status(tmp_path).attempt) == (1, 7)


def test_a_folder_that_was_deleted_meanwhile_gets_its_status(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with attempt(folder):
        (folder / "status.json").unlink()
        folder.rmdir()
    assert status(folder).state == "done"


WHOLE = Status(state="done", host="a", pid=1, job="", attempt=1, fruitless=0, began=1.0, updated=2.0)


@pytest.mark.parametrize(
    "change",
    [
        *({key: None} for key in ("host", "pid", "job", "attempt", "fruitless", "began", "updated", "step", "reason")),
        *({key: "x"} for key in ("pid", "attempt", "began", "seconds_left")),
        *({key: []} for key in ("state", "host", "seconds_left")),
        {"began": float("nan")},
        {"seconds_left": float("inf")},
        {"colour": "blue"},
    ],
    ids=str,
)
def test_a_status_with_a_wrong_value_is_set_aside(
    change: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "status.json"
    text = json.dumps(dataclasses.asdict(WHOLE) | change)
    file.write_text(text)
    assert Status.read(tmp_path) is None
    assert "is damaged" in caplog.text
    assert (tmp_path / "status.json.damaged").read_text() == text
    assert Status.read(tmp_path) is None, "without a second warning"
    assert begin(tmp_path).attempt == 1


def test_a_status_is_read_back(tmp_path: Path) -> None:
    WHOLE.write(tmp_path)
    assert Status.read(tmp_path) == WHOLE


def test_a_sentence_of_an_error_without_words() -> None:
    assert sentence(KeyError()) == "KeyError: "
