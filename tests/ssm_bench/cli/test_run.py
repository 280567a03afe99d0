"""``bench BENCHMARK``: runs, skips what is done, and prints the table; a cell that fails does not stop the others."""

import json
import os
import shutil
from pathlib import Path

import pytest
from ssm_bench.cli import main
from ssm_bench.record import read_record as load_record
from ssm_testing.runs import LAYER, SIZES, TINY, TINY_LAYER, bench, files_below, read_record, read_records


def run(model: str, *words: str, layer: bool = False) -> int:
    return bench("lra", "--model", model, *(TINY_LAYER if layer else TINY), *words)


def table(text: str) -> str:
    return text[text.index("Long Range Arena v1") :]


def own_rows(capsys: pytest.CaptureFixture[str], *out: str) -> dict[str, dict]:
    """Return the rows of ``bench table`` by name."""
    capsys.readouterr()
    assert main(["table", "lra", "--scale", "smoke", "--format", "json", "--out", *out]) == 0
    return {row["model"]: row for row in json.loads(capsys.readouterr().out)["own"]}


def test_runs_then_skips_then_tables(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["lra", "--model", "s4d", "s4d-lin", *TINY, "--seed", "0", "1"]
    assert main(command) == 0
    first = capsys.readouterr().out
    records = {file: file.stat().st_mtime_ns for file in work.rglob("record.json")}
    assert len(records) == 4
    assert main(command) == 0
    second = capsys.readouterr().out
    assert second.count("(done before)") == 4
    assert records == {file: file.stat().st_mtime_ns for file in work.rglob("record.json")}
    assert table(first) == table(second)
    assert "Published" in first
    assert "±" in first
    assert main(["table", "lra", "--format", "markdown"]) == 0
    assert "| s4d " in capsys.readouterr().out
    assert main(["table", "lra", "--format", "csv"]) == 0
    assert 'own,smoke,"s4d data.limit' in capsys.readouterr().out
    assert {each["command"] for each in read_records(work)} == {" ".join(["bench", *command])}
    assert {name.rpartition("/")[2] for name in files_below(work / "runs")} == {
        *(".lock", "best.ckpt", "metrics.csv", "recipe.yaml", "record.json", "status.json")
    }


def test_another_name_of_a_model_is_the_same_run(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("s4d-legs") == 0
    assert run("s4d") == 0
    assert run("s4d@v3") == 0
    assert capsys.readouterr().out.count("(done before)") == 2
    assert read_record(work)["model"] == "s4d"


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
    small = ["data.limit={train:64,val:32,test:32}", "data.l_max=64", "model.d_model=8", "model.d_state=4"]
    command = ["lra", "--model", "s4d", "--task", "retrieval", "listops", "--scale", "mini", "--data", "data"]
    assert main([*command, *small, "trainer.epochs=1", "model.n_layers=1", "trainer.batch_size=16"]) == 1
    said = capsys.readouterr().out
    assert "1 of 2 runs gave no result" in said
    assert "new_aan_pairs" in said
    records = list(work.rglob("record.json"))
    assert len(records) == 1
    assert "listops" in str(records[0])


def test_a_smoke_run_at_chance_fails(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["lra", "--model", "s4d", "--task", "text", "--scale", "smoke", "optimizer.lr=1e-30", "trainer.epochs=1"]
    assert main([*command, "data.limit={train:64,val:32,test:400}", "model.d_model=8", "model.d_state=4"]) == 1
    assert "not clearly above chance" in capsys.readouterr().out
    assert not list(work.rglob("record.json"))


@pytest.mark.parametrize("value", ["16", "'16'"])
def test_half_precision_on_a_cpu_is_a_sentence(value: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lightning would train in bfloat16 instead."""
    assert run("s4d", f"trainer.precision={value}", "accelerator=cpu") == 1
    said = capsys.readouterr().out
    assert "trainer.precision=16 needs a GPU" in said
    assert "bf16" in said
    assert not list(work.rglob("record.json"))


def test_a_precision_given_as_its_default_is_the_same_run(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("s4d") == 0
    assert run("s4d", "trainer.precision=32") == 0
    assert "done before" in capsys.readouterr().out


# --- layers of the user's own

WRONG = """

class Wrong(torch.nn.Module):
    def __init__(self, d_model):
        super().__init__()

    def forward(self, u):
        return u[:, :1]
"""


def test_a_layer_of_ones_own(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "mine.py").write_text(LAYER + WRONG)
    assert run("mine.py:Mean", "model.args={scale:0.1}", layer=True) == 0
    assert len(list(work.rglob("record.json"))) == 1
    capsys.readouterr()
    assert run("mine.py:Wrong", layer=True) == 1
    assert "shape" in capsys.readouterr().out
    assert run("mine.py:Missing", layer=True) in (1, 2)
    said = capsys.readouterr()
    assert "Missing" in said.out + said.err


def test_an_edited_layer_is_another_run(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = work / "mine.py"
    file.write_text(LAYER)
    assert run("mine.py:Mean", layer=True) == 0
    file.write_text(LAYER.replace("self.mix(", "0 * self.mix("))
    assert run("mine.py:Mean", layer=True) == 0
    assert "done before" not in capsys.readouterr().out
    one, two = read_records(work)
    assert one["hash"] != two["hash"]
    assert one["recipe"]["source_digest"] != two["recipe"]["source_digest"]
    rows = own_rows(capsys, "runs")
    assert [row["seeds"] for row in rows.values()] == ["1", "1"]
    assert sum("source_digest" in name for name in rows) == 1
    file.write_text(LAYER)
    assert run("mine.py:Mean", layer=True) == 0
    assert "done before" in capsys.readouterr().out


def test_an_edited_neighbour_that_the_layer_imports_is_another_run(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "mine.py").write_text("from helpers import factor\n" + LAYER.replace("* self.scale", "* factor()"))
    (work / "helpers.py").write_text("from deeper import value\n\n\ndef factor():\n    return value\n")
    (work / "deeper.py").write_text("value = 0.5\n")
    (work / "unused.py").write_text("value = 0.5\n")
    assert run("mine.py:Mean", layer=True) == 0
    (work / "unused.py").write_text("value = 0.7\n")
    assert run("mine.py:Mean", layer=True) == 0
    assert capsys.readouterr().out.count("done before") == 1
    (work / "deeper.py").write_text("value = 0.0\n")
    assert run("mine.py:Mean", layer=True) == 0
    assert "done before" not in capsys.readouterr().out
    one, two = read_records(work)
    assert one["metrics"]["val/loss"] != two["metrics"]["val/loss"], "the edited file was not run"


def test_two_classes_of_a_file_are_two_models(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "mine.py").write_text(LAYER + "\n\nclass Zero(Mean):\n    def forward(self, u):\n        return 0 * u\n")
    assert bench("lra", "--model", "mine.py:Mean", "mine.py:Zero", *TINY_LAYER) == 0
    rows = own_rows(capsys, "runs")
    assert {name.split()[0]: row["values"]["listops"]["n"] for name, row in rows.items()} == {
        "mine.py:Mean": 1,
        "mine.py:Zero": 1,
    }


def test_two_files_of_one_stem_are_two_models(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, text in (("a", LAYER), ("b", LAYER.replace("self.mix(", "0 * self.mix("))):
        (work / folder).mkdir()
        (work / folder / "mine.py").write_text(text)
    assert bench("lra", "--model", "a/mine.py:Mean", "b/mine.py:Mean", *TINY_LAYER) == 0
    rows = own_rows(capsys, "runs")
    assert [row["values"]["listops"]["n"] for row in rows.values()] == [1, 1]
    one, two = read_records(work)
    assert one["metrics"]["val/loss"] != two["metrics"]["val/loss"]


def test_a_file_that_is_called_as_a_model_of_the_zoo_is_none(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "s4d.py").write_text(LAYER)
    assert run("s4d") == 0
    assert run("s4d.py:Mean", layer=True) == 0
    rows = own_rows(capsys, "runs")
    assert sorted(name.split()[0] for name in rows) == ["s4d", "s4d.py:Mean"]


def test_a_moved_layer_is_the_same_run(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What counts is the code, not where it lies."""
    (work / "mine.py").write_text(LAYER)
    assert run("mine.py:Mean", layer=True) == 0
    (work / "elsewhere").mkdir()
    shutil.move(work / "mine.py", work / "elsewhere")
    assert run("elsewhere/mine.py:Mean", layer=True) == 0
    capsys.readouterr()
    assert len({each["hash"] for each in read_records(work)}) == 1


BROKEN = {
    "sys.exit(0)": "import sys\nsys.exit(0)\n",
    "SystemExit": "raise SystemExit\n",
    "exit in the class": "import sys, torch\nclass Mean(torch.nn.Module):\n    def __init__(self, d): sys.exit(0)\n",
    "no such package": "import no_such_package\n",
    "no Python": "def f(:\n",
    "an error": "1 / 0\n",
    "no module": "class Mean: ...\n",
}


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("words", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_a_broken_layer_is_a_sentence_and_does_not_end_the_command(
    source: str, words: list[str], work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "mine.py").write_text(source)
    assert bench("data", "get", "lra", "--task", "listops", "--scale", "smoke") == 0
    capsys.readouterr()
    status = run("mine.py:Mean", *words, layer=True)
    said = capsys.readouterr()
    assert status in (1, 2)
    assert "mine.py" in said.out + said.err
    assert "Traceback" not in said.out + said.err
    assert not list(work.rglob("record.json"))
    assert not list(work.rglob(".*.[0-9]*"))


def test_a_layer_that_ends_the_program_does_not_end_the_other_cells(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "mine.py").write_text("import sys\nsys.exit(0)\n")
    words = [word for word in TINY_LAYER if not word.startswith("model.n_layers")]
    assert bench("lra", "--model", "mine.py:Mean", "ema", *words) == 1
    assert "1 of 2 runs gave no result" in capsys.readouterr().out
    assert read_record(work)["model"] == "ema"


# --- folders for runs


#: Folders for runs in which nothing can be written.
BAD_PLACES = {
    "a file": "file",
    "below a file": "file/deeper/runs",
    "a name that is too long": "x" * 300,
    "a path that is too long": "/".join(["y" * 200] * 30),
    "a link to itself": "loop",
}


@pytest.mark.parametrize("verb", ["run", "run in processes", "table", "jobs", "dry run"])
@pytest.mark.parametrize("out", BAD_PLACES.values(), ids=BAD_PLACES.keys())
def test_a_folder_that_cannot_be_written_is_a_sentence(
    verb: str, out: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "file").write_text("")
    (work / "loop").symlink_to(work / "loop")
    before = files_below(work)
    lines = {
        "run": ["lra", "--model", "s4d", *TINY, "--out", out],
        "run in processes": ["lra", "--model", "s4d", *TINY, "--workers", "1", "--out", out],
        "dry run": ["lra", "--model", "s4d", *TINY, "--dry-run", "--out", out],
        "table": ["table", "lra", "--out", out],
        "jobs": ["jobs", "--out", out],
    }
    status = bench(*lines[verb])
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    if verb.startswith("run"):
        assert status in (1, 2)
        assert len(said.err.splitlines()) == 1
        assert "--out" in said.err
    assert files_below(work) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_a_sentence(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "closed").mkdir(mode=0o500)
    assert run("s4d", "--out", "closed/runs") in (1, 2)
    assert "ermission" in capsys.readouterr().err


def test_home_is_expanded_behind_an_equals_sign(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(work / "home"))
    assert run("s4d", "--out=~/runs") == 0
    assert read_record(work / "home" / "runs")
    assert not (work / "~").exists()
    assert own_rows(capsys, "~/runs")


# --- records and copies


def test_copies_are_one_run(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("s4d", "--out", "r") == 0
    shutil.copytree("r", "copy")
    [before] = own_rows(capsys, "r").values()
    shutil.copytree("r/lra", "r/old/lra")
    for out in (["r"], ["r", "r"], ["r", "copy"], ["copy", "r", "r/lra"]):
        [row] = own_rows(capsys, *out).values()
        assert row == before
        assert (row["seeds"], row["values"]["listops"]["n"], row["values"]["listops"]["std"]) == ("1", 1, None)


def test_a_moved_folder_of_runs_is_still_done(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("s4d", "--out", "r") == 0
    shutil.move("r", "moved")
    capsys.readouterr()
    assert run("s4d", "--out", "moved") == 0
    assert "done before" in capsys.readouterr().out


def test_the_record_of_another_run_in_a_run_folder_is_set_aside(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run folder that was renamed, or into which another record was copied, is not taken for this run's."""
    assert run("s4d") == 0
    assert run("s4d-lin") == 0
    folders = {load_record(file).model: file.parent for file in work.rglob("record.json")}
    right = read_record(folders["s4d"])
    shutil.copy(folders["s4d-lin"] / "record.json", folders["s4d"])
    capsys.readouterr()
    assert run("s4d") == 0
    said = capsys.readouterr().out
    assert "done before" not in said
    assert "record.json.damaged" in said
    assert read_record(folders["s4d"])["metrics"] == right["metrics"]


def test_another_recipe_of_the_same_model_and_words_is_a_row_of_its_own(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after an edit of a declaration."""
    assert run("s4d") == 0
    file = next(work.rglob("record.json"))
    content = json.loads(file.read_text())
    name = " ".join(["s4d", *content["overrides"]])
    content["recipe"]["optimizer"]["lr"] = 0.5
    content["hash"] = "deadbeef"
    content["finished"] = "2020-01-01T00:00:00+00:00"
    folder = file.parent.with_name(f"{file.parent.name[:-8]}deadbeef")
    folder.mkdir()
    (folder / "record.json").write_text(json.dumps(content))
    rows = own_rows(capsys, "runs")
    assert set(rows) == {name, f"{name} [optimizer.lr=0.5]"}
    assert {row["seeds"] for row in rows.values()} == {"1"}


def test_words_are_shown_as_they_were_typed(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Square brackets are no markup."""
    (work / "mine.py").write_text(LAYER.replace("scale=1.0", "scale=1.0, mode=None"))
    out = "run[red]"
    for mode in ("[fast,slow]", "[bold,red]", '["/a"]'):
        assert run("mine.py:Mean", f"model.args={{mode:{mode}}}", "--out", out, layer=True) == 0
        assert mode in "".join(capsys.readouterr().out.split())
    assert len(read_records(work / out)) == 3


def test_limits_of_a_split_are_those_that_the_table_shows(work: Path) -> None:
    assert run("s4d") == 0
    assert read_record(work)["data_sizes"] == {"train": 96, "val": 32, "test": 32}
    assert SIZES in read_record(work)["overrides"]


def test_a_finished_run_says_what_it_removes_and_whether_other_code_made_it(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["lra", "--model", "s4d", *TINY]
    assert main(command) == 0
    [file] = work.rglob("record.json")
    (file.parent / "last.ckpt").write_bytes(b"left")
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"code": "0123456789" * 4}))
    capsys.readouterr()
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "(done before, with code 01234567; the code here is " in said
    assert "removed last.ckpt, which a finished run does not need)" in said
    assert not (file.parent / "last.ckpt").exists()
