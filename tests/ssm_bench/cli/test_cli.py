"""The command line answers at once, names what is wrong, and writes nothing then."""

import subprocess
import sys
from pathlib import Path

import pytest
from ssm_bench.cli import main

TINY = (
    "model.d_model=8",
    "model.d_state=4",
    "trainer.epochs=2",
    "trainer.batch_size=16",
    "data.limit={train:96,val:32,test:32}",
    "must_beat_chance=false",
)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--help"], 0),
        ([], 0),
        (["list"], 0),
        (["lra", "--help"], 0),
        (["lar", "--model", "s4d"], 2),
        (["lra", "--model", "s4e"], 2),
        (["lra", "--model", "s4d", "--task", "listop"], 2),
        (["lra", "--model", "s4d", "--scale", "smoke", "model.d_stat=3"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_answers_without_torch(words: list[str], status: int, work: Path) -> None:
    code = (
        "import sys; from ssm_bench.cli import main\n"
        "try: status = main(sys.argv[1:])\n"
        "except SystemExit as end: status = end.code\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert not list(work.iterdir())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["lar"], ["'lar'", "lra"]),
        (["lra", "--model", "s4dlin"], ["'s4dlin'", "s4d-lin"]),
        (["lra", "--model", "s4d", "--task", "list-ops"], ["'list-ops'", "listops"]),
        (["lra", "--model", "s4d", "model.dstate=3"], ["'model.dstate'", "model.d_state"]),
        (["lra", "--model", "s4d", "optimiser.lr=3"], ["'optimiser'", "optimizer"]),
        (["lra", "--model", "s4d", "optimizer.lr=fast"], ["optimizer.lr", "'fast'"]),
        (["lra", "--model", "s4d", "model.norm=group"], ["model.norm", "'group'", "'layer'", "'batch'"]),
        (["lra", "--model", "s4d", "model.d_state=5"], ["d_state", "5", "even"]),
        (["lra", "--model", "s4d", "optimizer.lr=1e-3,1e-2"], ["one value"]),
        (["lra", "--model", "s4d", "optimizer.lr="], ["optimizer.lr"]),
        (["lra", "--model", "s4d", "s4d"], ["twice"]),
        (["lra", "--model", "s4d", "--seed", "one"], ["'one'"]),
        (["lra", "--model", "s4d", "--scale", "huge"], ["'huge'", "paper", "mini", "smoke"]),
        (["lra", "--model", "s4d", "--data", "nowhere"], ["nowhere"]),
        (["lra", "--model", "nowhere.py:Layer"], ["nowhere.py"]),
        (["lra"], ["--model"]),
        (["lra", "--model", "s4d", "--gpus", "3"], ["--gpus"]),
        (["list", "imagenet"], ["'imagenet'", "lra"]),
        (["table", "lra"], ["no record", "--out"]),
        (["data", "delete", "lra"], ["delete", "status"]),
    ],
    ids=lambda value: " ".join(value[:4]),
)
def test_a_mistake_is_one_sentence(
    words: list[str], named: list[str], work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if words[0] == "lra" and "--scale" not in words:
        words = [*words, "--scale", "smoke"]
    assert main(words) == 2
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1, said.err
    assert said.err.startswith("bench: ")
    for name in named:
        assert name in said.err
    assert not said.out
    assert not list(work.iterdir())


def test_options_of_a_run_are_these(capsys: pytest.CaptureFixture[str]) -> None:
    """An option more must be argued for, here."""
    with pytest.raises(SystemExit):
        main(["lra", "--help"])
    words = {word.strip(",]").lstrip("[") for word in capsys.readouterr().out.split()}
    options = {word for word in words if word.startswith("--")}
    places = {"--data", "--out", "--workers", "--slurm"}
    assert options == {"--help", "--model", "--task", "--seed", "--scale", "--sweep", *places, "--dry-run"}


def test_runs_then_skips_then_tables(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["lra", "--model", "s4d", "s4d-lin", "--task", "listops", "--seed", "0", "1", "--scale", "smoke", *TINY]
    assert main(command) == 0
    first = capsys.readouterr().out
    records = {file: file.stat().st_mtime_ns for file in work.rglob("record.json")}
    assert len(records) == 4
    assert main(command) == 0
    second = capsys.readouterr().out
    assert second.count("(done before)") == 4
    assert records == {file: file.stat().st_mtime_ns for file in work.rglob("record.json")}
    assert _table(first) == _table(second)
    assert "Published" in first
    assert "±" in first
    assert main(["table", "lra", "--format", "markdown"]) == 0
    assert "| s4d " in capsys.readouterr().out
    assert main(["table", "lra", "--format", "csv"]) == 0
    assert 'own,smoke,"s4d data.limit' in capsys.readouterr().out


def test_dry_run_starts_nothing(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lra", "--model", "s4d", "--task", "listops", "--scale", "paper", "--dry-run"]) == 0
    said = capsys.readouterr().out
    for text in ("total_steps: 80000", "lr: 0.01", "# data: preparable", "parameters", "# time: about"):
        assert text in said
    assert not list(work.iterdir())


def test_missing_data_does_not_stop_the_other_tasks(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (work / "data").mkdir()
    tiny = [word for word in TINY if "limit" not in word]
    small = ["data.limit={train:64,val:32,test:32}", "data.l_max=64"]
    command = ["lra", "--model", "s4d", "--task", "retrieval", "listops", "--scale", "mini", "--data", "data"]
    assert main([*command, *tiny, *small, "trainer.epochs=1", "model.n_layers=1"]) == 1
    said = capsys.readouterr().out
    assert "1 of 2 runs gave no result" in said
    assert "new_aan_pairs" in said
    records = list(work.rglob("record.json"))
    assert len(records) == 1
    assert "listops" in str(records[0])


def _table(text: str) -> str:
    return text[text.index("Long Range Arena v1") :]


LAYER = """
import torch


class Mean(torch.nn.Module):
    def __init__(self, d_model, scale=1.0):
        super().__init__()
        self.scale = scale
        self.mix = torch.nn.Linear(d_model, d_model)

    def forward(self, u):
        return self.mix(u.cumsum(1) * self.scale)


class Wrong(torch.nn.Module):
    def __init__(self, d_model):
        super().__init__()

    def forward(self, u):
        return u[:, :1]
"""


def test_a_layer_of_ones_own(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "mine.py").write_text(LAYER)
    command = ["lra", "--task", "listops", "--scale", "smoke", "trainer.epochs=1", "model.d_model=8", *TINY[4:]]
    assert main([*command, "--model", "mine.py:Mean", "model.args={scale:0.1}"]) == 0
    assert len(list(work.rglob("record.json"))) == 1
    capsys.readouterr()
    assert main([*command, "--model", "mine.py:Wrong"]) == 1
    assert "shape" in capsys.readouterr().out
    assert main([*command, "--model", "mine.py:Missing"]) in (1, 2)
    said = capsys.readouterr()
    assert "Missing" in said.out + said.err


def test_wandb_is_offline_without_a_key(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(work / "no-netrc"))
    tiny = [word for word in TINY if "epochs" not in word]
    assert main(["lra", "--model", "s4d", "--task", "listops", "--scale", "smoke", *tiny, "logger=wandb"]) == 0
    assert list(work.rglob("offline-run-*"))
    assert list(work.rglob("metrics.csv"))


def test_a_smoke_run_at_chance_fails(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["lra", "--model", "s4d", "--task", "text", "--scale", "smoke", "optimizer.lr=0.0", "trainer.epochs=1"]
    assert main([*command, "data.limit={train:64,val:32,test:400}", "model.d_model=8", "model.d_state=4"]) == 1
    assert "not clearly above chance" in capsys.readouterr().out
    assert not list(work.rglob("record.json"))
