"""A run that is killed and started again gives what an undisturbed run gives, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lightning
import pytest
import torch
from ssm_bench.cli import main

COMMAND = [
    sys.executable,
    "-c",
    "import sys; from ssm_bench.cli import main; sys.exit(main())",
    *["lra", "--model", "s4d", "--task", "listops", "--scale", "smoke"],
    "model.d_model=8",
    "model.d_state=4",
    "model.dropout=0.2",
    "trainer.epochs=3",
    "trainer.batch_size=16",
    "data.limit={train:320,val:64,test:64}",
    "must_beat_chance=false",
]


def _run(out: Path, minutes: int = 15) -> dict:
    subprocess.run(_command(out, minutes), check=True, capture_output=True)
    [record] = out.rglob("record.json")
    return _read(record)


def _command(out: Path, minutes: int) -> list[str]:
    return [*COMMAND, f"checkpoint_minutes={minutes}", "--out", str(out)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    _run(out)
    return out


@pytest.mark.parametrize(
    ("steps", "minutes"),
    [(3, 0), (27, 0), (20, 15)],
    ids=["saved within the first epoch", "saved within the second", "saved at the end of an epoch"],
)
def test_killed_and_resumed_equals_undisturbed(steps: int, minutes: int, undisturbed: Path, tmp_path: Path) -> None:
    with subprocess.Popen(_command(tmp_path, minutes), stdout=subprocess.DEVNULL) as process:
        reached = _wait_for_step(tmp_path, steps, minutes == 0, process)
        os.kill(process.pid, signal.SIGKILL)
    assert not list(tmp_path.rglob("record.json"))
    assert bool(reached % 20) == (minutes == 0)
    resumed = _run(tmp_path, minutes)
    [whole] = map(_read, undisturbed.rglob("record.json"))
    for key in ("metrics", "steps", "epochs", "hash", "data_fingerprint"):
        assert resumed[key] == whole[key], key
    assert _weights(tmp_path).keys() == _weights(undisturbed).keys()
    for name, weight in _weights(undisturbed).items():
        assert torch.equal(weight, _weights(tmp_path)[name]), name
    [a], [b] = undisturbed.rglob("metrics.csv"), tmp_path.rglob("metrics.csv")
    assert a.read_text() == b.read_text()


def test_interrupted_after_training_equals_undisturbed(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    words = _command(tmp_path, 15)[3:]
    with monkeypatch.context() as patch:
        patch.setattr(lightning.Trainer, "test", interrupt)
        assert main(words) == 130
    assert not list(tmp_path.rglob("record.json"))
    assert main(words) == 0
    [resumed], [whole] = (list(map(_read, out.rglob("record.json"))) for out in (tmp_path, undisturbed))
    for key in ("metrics", "steps", "epochs"):
        assert resumed[key] == whole[key], key


def _read(file: Path) -> dict:
    return json.loads(file.read_text())


def _wait_for_step(out: Path, steps: int, within: bool, process: subprocess.Popen) -> int:
    """Wait for a checkpoint at or after ``steps``, within an epoch (of 20) or at its end."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        for file in out.rglob("last.ckpt"):
            reached = torch.load(file, map_location="cpu", weights_only=True)["global_step"]
            if reached >= steps and bool(reached % 20) == within:
                os.kill(process.pid, signal.SIGSTOP)
                reached = torch.load(file, map_location="cpu", weights_only=True)["global_step"]
                if bool(reached % 20) == within:
                    return reached
                os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.02)
    raise AssertionError("no checkpoint was written in two minutes")


def _weights(out: Path) -> dict[str, torch.Tensor]:
    [file] = out.rglob("best.ckpt")
    return torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
