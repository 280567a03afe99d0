"""A run that is killed and started again gives what an undisturbed run gives, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

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
    "checkpoint_minutes=0",
]


def _run(out: Path) -> dict:
    subprocess.run([*COMMAND, "--out", str(out)], check=True, capture_output=True)
    [record] = out.rglob("record.json")
    return json.loads(record.read_text())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    _run(out)
    return out


@pytest.mark.parametrize("steps", [3, 27], ids=lambda n: f"killed after step {n}")
def test_killed_and_resumed_equals_undisturbed(steps: int, undisturbed: Path, tmp_path: Path) -> None:
    with subprocess.Popen([*COMMAND, "--out", str(tmp_path)], stdout=subprocess.DEVNULL) as process:
        reached = _wait_for_step(tmp_path, steps, process)
        os.kill(process.pid, signal.SIGKILL)
    assert not list(tmp_path.rglob("record.json"))
    assert reached % 20, "the kill must fall within an epoch"
    resumed = _run(tmp_path)
    [whole] = (json.loads(file.read_text()) for file in undisturbed.rglob("record.json"))
    for key in ("metrics", "steps", "epochs", "hash", "data_fingerprint"):
        assert resumed[key] == whole[key], key
    assert _weights(tmp_path).keys() == _weights(undisturbed).keys()
    for name, weight in _weights(undisturbed).items():
        assert torch.equal(weight, _weights(tmp_path)[name]), name
    [a], [b] = undisturbed.rglob("metrics.csv"), tmp_path.rglob("metrics.csv")
    assert a.read_text() == b.read_text()


def _wait_for_step(out: Path, steps: int, process: subprocess.Popen) -> int:
    """Wait for a checkpoint within an epoch, at or after ``steps`` (an epoch has 20)."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        for file in out.rglob("last.ckpt"):
            reached = torch.load(file, map_location="cpu", weights_only=False)["global_step"]
            if reached >= steps and reached % 20:
                os.kill(process.pid, signal.SIGSTOP)
                reached = torch.load(file, map_location="cpu", weights_only=False)["global_step"]
                if reached % 20:
                    return reached
                os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.02)
    raise AssertionError("no checkpoint was written in two minutes")


def _weights(out: Path) -> dict[str, torch.Tensor]:
    [file] = out.rglob("best.ckpt")
    return torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
