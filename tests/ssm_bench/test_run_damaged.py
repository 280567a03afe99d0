"""A damaged file of an unfinished run is named, and the run ends with exactly the numbers of an undisturbed one."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ssm_bench.cli import main
from ssm_bench.status import Status
from ssm_bench.training.checkpoint import write_checkpoint
from ssm_bench.training.module import TrainingModule
from ssm_testing.runs import TINY, files_below, read_record, result, weights

#: Six steps an epoch; stopped in the fourth of the second epoch, with a state after each step.
COMMAND = ["lra", "--model", "s4d", *TINY, "model.dropout=0.2", "checkpoint_minutes=0"]
STOPPED_AT = 9


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    assert main([*COMMAND, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was interrupted."""
    out = tmp_path_factory.mktemp("stopped")
    step = TrainingModule.training_step

    def interrupt(module: TrainingModule, *args: Any) -> torch.Tensor:
        if module.global_step == STOPPED_AT:
            raise KeyboardInterrupt
        return step(module, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", interrupt)
        assert main([*COMMAND, "--out", str(out)]) == 130
    names = {Path(name).name for name in files_below(out)}
    assert {"last.ckpt", "previous.ckpt", "best.ckpt"} <= names
    assert "record.json" not in names
    return out


@pytest.fixture
def folder(stopped: Path, tmp_path: Path) -> Path:
    """The run folder of a copy of the interrupted run."""
    shutil.copytree(stopped, tmp_path / "runs")
    [file] = tmp_path.rglob("last.ckpt")
    return file.parent


class Planted:
    """A pickle that leaves a file if it is executed."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


def cut(file: Path) -> None:
    os.truncate(file, 2000)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def zeros(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    half = len(content) // 2
    content[half : half + 8] = bytes(255 - byte for byte in content[half : half + 8])
    file.write_bytes(content)


def planted(file: Path) -> None:
    torch.save(torch.load(file, weights_only=True) | {"planted": Planted(file.with_name("executed"))}, file)


def planted_with_a_right_checksum(file: Path) -> None:
    write_checkpoint(file, torch.load(file, weights_only=True) | {"planted": Planted(file.with_name("executed"))})


def changed_without_its_checksum(file: Path) -> None:
    """As another program would write it: other weights in a file that torch reads."""
    content = torch.load(file, weights_only=True)
    for weight in content["state_dict"].values():
        if weight.is_floating_point():
            weight += 1
    torch.save(content, file)


DAMAGE = [cut, empty, zeros, flipped, planted, planted_with_a_right_checksum, changed_without_its_checksum]


def finish(folder: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command again, compare its result with the undisturbed run's, and return what it said."""
    capsys.readouterr()
    out = folder.parents[2]
    assert main([*COMMAND, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert result(read_record(out)) == result(read_record(undisturbed))
    mine, theirs = weights(out), weights(undisturbed)
    assert mine.keys() == theirs.keys()
    for name, weight in theirs.items():
        assert torch.equal(mine[name], weight), name
    [one], [other] = out.rglob("metrics.csv"), undisturbed.rglob("metrics.csv")
    assert one.read_text() == other.read_text()
    assert not list(out.rglob("executed"))
    return said


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda function: function.__name__)
def test_a_damaged_last_state_gives_way_to_the_one_before(
    damage: Callable[[Path], None], folder: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(folder / "last.ckpt")
    damaged = (folder / "last.ckpt").read_bytes()
    said = finish(folder, undisturbed, capsys)
    assert f"{folder / 'last.ckpt'} is " in said
    assert f"resuming from {folder / 'previous.ckpt'}" in said
    assert (folder / "last.ckpt.damaged").read_bytes() == damaged


def test_two_damaged_states_begin_anew(folder: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flipped(folder / "last.ckpt")
    empty(folder / "previous.ckpt")
    said = finish(folder, undisturbed, capsys)
    assert "resuming" not in said
    for name in ("last.ckpt", "previous.ckpt"):
        assert f"{folder / name} is damaged" in said


@pytest.mark.parametrize("damage", [cut, flipped, Path.unlink], ids=["cut", "flipped", "missing"])
def test_damaged_weights_of_the_best_epoch_begin_anew(
    damage: Callable[[Path], None], folder: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(folder / "best.ckpt")
    said = finish(folder, undisturbed, capsys)
    assert str(folder / "best.ckpt") in said
    assert "resuming" not in said


@pytest.mark.parametrize("damage", [cut, flipped, Path.unlink], ids=["cut", "flipped", "missing"])
def test_weights_that_are_damaged_while_the_run_ends_are_a_sentence_and_the_next_run_is_right(
    damage: Callable[[Path], None],
    folder: Path,
    undisturbed: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the last epoch and the test, by another program."""
    from lightning import Trainer

    fit = Trainer.fit

    def fit_and_damage(*args: Any, **options: Any) -> None:
        fit(*args, **options)
        damage(folder / "best.ckpt")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", fit_and_damage)
        assert main([*COMMAND, "--out", str(folder.parents[2])]) == 1
    said = capsys.readouterr().out
    assert "best.ckpt" in said
    assert "The same command trains again." in said
    assert not (folder / "record.json").exists()
    finish(folder, undisturbed, capsys)


def test_weights_of_another_epoch_than_the_best_are_a_sentence_and_the_next_run_is_right(
    folder: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a run leaves them that is resumed on another device, whose numbers make another epoch the best."""
    from lightning import Trainer

    fit = Trainer.fit

    def fit_and_exchange(*args: Any, **options: Any) -> None:
        fit(*args, **options)
        content = torch.load(folder / "best.ckpt", weights_only=True)
        write_checkpoint(folder / "best.ckpt", content | {"epoch": content["epoch"] + 1})

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", fit_and_exchange)
        assert main([*COMMAND, "--out", str(folder.parents[2])]) == 1
    assert "The same command trains again." in capsys.readouterr().out
    assert not (folder / "record.json").exists()
    finish(folder, undisturbed, capsys)


def test_an_interrupt_during_the_test_is_one(
    folder: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "test_step", interrupt)
        assert main([*COMMAND, "--out", str(folder.parents[2])]) == 130
    status = Status.read(folder)
    assert status is not None
    assert (status.state, status.reason) == ("stopped", "interrupted")
    finish(folder, undisturbed, capsys)


def test_the_state_of_another_run_is_set_aside(
    folder: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A whole file in the wrong place."""
    content = torch.load(folder / "last.ckpt", weights_only=True)
    write_checkpoint(folder / "last.ckpt", content | {"run_hash": "deadbeef"})
    said = finish(folder, undisturbed, capsys)
    assert "last.ckpt belongs to another run" in said


@pytest.mark.parametrize("content", [b"", b'{"state": "run', b"[]", b"null", b'{"state": "running"}', b"\xff\xfe"])
def test_a_damaged_status_is_set_aside(
    content: bytes, folder: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "status.json").write_bytes(content)
    said = finish(folder, undisturbed, capsys)
    assert "resuming from" in said
    assert (folder / "status.json.damaged").read_bytes() == content
    status = Status.read(folder)
    assert status is not None
    assert (status.state, status.step, status.total) == ("done", 12, 12)


@pytest.mark.parametrize("content", [b"", b'{"benchmark": "lra", "ta', b"[]", b"{}", b"\xff\xfe", b'{"hash": "0"}'])
def test_a_damaged_record_is_set_aside_and_the_run_goes_on(
    content: bytes, folder: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "record.json").write_bytes(content)
    said = finish(folder, undisturbed, capsys)
    assert "record.json.damaged" in said
    assert (folder / "record.json.damaged").read_bytes() == content


def test_a_record_of_newer_code_is_neither_run_again_nor_replaced(
    folder: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = json.dumps(read_record(undisturbed) | {"schema": 99})
    (folder / "record.json").write_text(newer)
    assert main([*COMMAND, "--out", str(folder.parents[2])]) == 1
    assert "update the code" in capsys.readouterr().out
    assert (folder / "record.json").read_text() == newer


@pytest.mark.parametrize("name", ["recipe.yaml", "metrics.csv", ".lock"])
def test_other_files_may_be_damaged_or_missing(
    name: str, folder: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).write_bytes(b"\xff")
    finish(folder, undisturbed, capsys)


def test_what_a_killed_write_leaves_is_no_obstacle(
    folder: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("last.partial", ".last.ckpt.4711", ".record.json.4711", "last.ckpt.damaged"):
        (folder / name).write_bytes(b"half")
    finish(folder, undisturbed, capsys)
