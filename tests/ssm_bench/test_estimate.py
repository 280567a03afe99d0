"""What a dry run says of a cell."""

from pathlib import Path
from typing import Any

import pytest
import torch
from ssm_bench import estimate
from ssm_bench.cli import main


def test_a_batch_that_is_too_large_is_told(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def short(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(estimate, "_time", short)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Small GPU")
    words = ["lra", "--model", "s4d", "--task", "listops", "--scale", "paper", "--dry-run", "devices=2"]
    assert main(words) == 0
    assert "a batch of 25 takes more memory than Small GPU has" in capsys.readouterr().out
