"""Each cell has a W&B run of its own; WANDB_MODE decides, and a service that does not answer stops nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssm_bench.cli import main
from ssm_bench.training import wandb_logger
from ssm_testing.runs import TINY, read_records

COMMAND = ["lra", "--model", "s4d", *TINY, "logger=wandb"]
KEY = "a" * 40


@pytest.fixture(autouse=True)
def _no_account(work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No key, no settings of the user, and no process of W&B left after a test."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(work / "no-netrc"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(work / "wandb-home"))
    yield
    import wandb

    wandb.teardown()


def offline_runs(work: Path) -> list[Path]:
    """Return the folders of W&B's offline runs."""
    return sorted(folder for folder in work.rglob("offline-run-*") if folder.is_dir())


def test_without_a_key_every_cell_is_an_offline_run_of_its_own(work: Path) -> None:
    assert main([*COMMAND, "--seed", "0", "1"]) == 0
    found = offline_runs(work)
    records = read_records(work)
    assert {folder.name.rsplit("-", 1)[-1] for folder in found} >= {record["hash"] for record in records}
    assert len(found) == len(records) == 2
    folders = {folder.parents[1].name for folder in found}
    assert folders == {file.parent.name for file in work.rglob("record.json")}
    assert len(list(work.rglob("metrics.csv"))) == 2


def test_disabled_is_respected(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert main(COMMAND) == 0
    assert not list(work.rglob("*run-*"))
    assert len(read_records(work)) == 1


def test_offline_is_respected_with_a_key(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert main(COMMAND) == 0
    [folder] = offline_runs(work)
    assert folder.name.endswith(read_records(work)[0]["hash"])


def test_a_service_that_does_not_answer_stops_nothing(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key in the environment of a node without network."""
    monkeypatch.setattr(wandb_logger, "PATIENCE_SECONDS", 3)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert main(COMMAND) == 0
    said = capsys.readouterr().out
    assert "W&B does not answer" in said
    assert "logged offline" in said
    assert "wandb sync" in said
    assert offline_runs(work)
    assert len(read_records(work)) == 1
