"""What a run keeps while it trains."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ssm_bench.training.callbacks import Keeper

GPU = torch.device("cuda", 1)


def test_time_in_training_holds_what_the_gpu_has_not_done_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: time.sleep(0.2))
    keeper = Keeper(tmp_path, "00000000", "val/accuracy", "max", 15.0)
    trainer: Any = SimpleNamespace(is_last_batch=True, strategy=SimpleNamespace(root_device=GPU))
    batch: Any = SimpleNamespace(y=torch.zeros(3))
    module: Any = None
    keeper.on_train_batch_start(trainer, module, batch, 0)
    keeper.on_train_batch_end(trainer, module, None, batch, 0)
    assert keeper.train_seconds >= 0.2
    assert keeper.examples == 3
