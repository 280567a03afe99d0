"""Checkpoints prove themselves whole, run no code, and a damaged one never decides a result."""

import os
import pickle
import random
from pathlib import Path

import pytest
import torch
from ssm_bench import run_folder
from ssm_bench.training.checkpoint import DamagedError, find_checkpoint, read_checkpoint, write_checkpoint

STATE = {"run_hash": "abc", "callbacks": {"Keeper": {"rows": []}}, "weights": torch.arange(500.0)}


def test_what_is_written_is_read_and_plain_torch_reads_it_too(tmp_path: Path) -> None:
    file = tmp_path / "a.ckpt"
    write_checkpoint(file, STATE)
    for content in (read_checkpoint(file), torch.load(file, weights_only=True)):
        assert torch.equal(content["weights"], STATE["weights"])
        assert content["callbacks"] == STATE["callbacks"]
    assert os.listdir(tmp_path) == ["a.ckpt"]


def test_every_changed_byte_and_every_cut_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a.ckpt"
    write_checkpoint(file, STATE)
    whole, rng = file.read_bytes(), random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        with pytest.raises(DamagedError, match="checksum"):
            read_checkpoint(file)
    for length in (0, 1, 70, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(DamagedError, match="checksum"):
            read_checkpoint(file)


class Planted:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


def test_a_planted_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    file, trace = tmp_path / "a.ckpt", tmp_path / "executed"
    write_checkpoint(file, {"state": Planted(trace)})
    pickle.loads(pickle.dumps(Planted(trace)))
    assert trace.exists(), "the pickle would not have done anything"
    trace.unlink()
    with pytest.raises(DamagedError, match="not a checkpoint"):
        read_checkpoint(file)
    assert not trace.exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (run_folder.LAST, run_folder.PREVIOUS, run_folder.BEST):
        write_checkpoint(tmp_path / name, STATE)
    return tmp_path


def _find(folder: Path) -> tuple[str | None, list[str]]:
    said: list[str] = []
    found = find_checkpoint(folder, "abc", said.append)
    return found and found.name, said


def test_the_last_state_serves_if_it_is_whole(folder: Path) -> None:
    assert _find(folder) == (run_folder.LAST, [])


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "another run"])
def test_the_state_before_serves_if_the_last_is_damaged(damage: str, folder: Path) -> None:
    file = folder / run_folder.LAST
    data = bytearray(file.read_bytes())
    if damage == "another run":
        write_checkpoint(file, STATE | {"run_hash": "xyz"})
    elif damage == "flipped":
        data[len(data) // 2 : len(data) // 2 + 8] = b"\xff" * 8
        file.write_bytes(data)
    else:
        file.write_bytes(data[: 1000 if damage == "cut" else 0])
    found, said = _find(folder)
    assert found == run_folder.PREVIOUS
    [sentence] = said
    assert str(file) in sentence
    assert not file.exists()
    assert (folder / f"{run_folder.LAST}.damaged").exists()


def test_without_the_weights_of_the_best_epoch_the_run_begins_anew(folder: Path) -> None:
    state = STATE | {"callbacks": {"Keeper": {"rows": [{"epoch": 0}]}}}
    write_checkpoint(folder / run_folder.LAST, state)
    write_checkpoint(folder / run_folder.PREVIOUS, state)
    assert _find(folder)[0] == run_folder.LAST
    (folder / run_folder.BEST).write_bytes(b"half")
    found, said = _find(folder)
    assert found is None
    assert run_folder.BEST in said[0]


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert _find(tmp_path) == (None, [])
