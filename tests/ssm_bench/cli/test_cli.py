"""The command line answers at once, says in one sentence what is wrong, and writes nothing then."""

import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from ssm_bench import cli
from ssm_bench.cli import main
from ssm_data.errors import DataWarning
from ssm_testing.runs import TINY, bench, files_below


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--help"], 0),
        ([], 0),
        (["list"], 0),
        (["lra", "--help"], 0),
        (["show", "lra", "--model", "s4d", "--task", "listops"], 0),
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


def refused(words: list[str], work: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Assert that a command line is refused with one sentence and writes nothing; return the sentence."""
    assert main(words) == 2
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1, said.err
    assert said.err.startswith("bench: ")
    assert "Traceback" not in said.err
    assert not said.out
    assert not list(work.iterdir())
    return said.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["lar"], ["'lar'", "lra"]),
        (["lra", "--model", "s4dlin"], ["'s4dlin'", "s4d-lin"]),
        (["lra", "--model", "s4d", "--task", "list-ops"], ["'list-ops'", "listops"]),
        (["lra", "--model", "s4d", "model.dstate=3"], ["'dstate'", "d_state"]),
        (["lra", "--model", "s4d", "optimiser.lr=3"], ["'optimiser.lr'", "optimizer"]),
        (["lra", "--model", "s4d", "optimizer.lr=fast"], ["optimizer.lr", "'fast'"]),
        (["lra", "--model", "s4d", "model.norm=group"], ["norm", "'group'", "layer", "batch"]),
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
        (["lra", "--model", "s4nd"], ["s4nd", "does not fit"]),
        (["lra", "--model", "s4d@v9"], ["'v9'", "v4"]),
        (["lra", "--model", "s4d", "s4d-legs", "--task", "listops"], ["twice"]),
        (["lra", "--model", "s4d", "--seed", "0", "0"], ["twice"]),
        (["lra", "--model", "s4d", "--seed", "-1"], ["seed", "-1"]),
        (["lra", "--model", "s4d", "--workers", "0"], ["--workers"]),
        (["lra", "--model", "s4d", "--workers", "2", "--slurm"], ["--workers", "--slurm"]),
        (["lra", "--model", "s4d", "--sweep"], ["--sweep", "several values"]),
        (["lra", "--mod", "s4d"], ["--mod"]),
        (["table", "lra", "optimizer.lr=1"], ["optimizer.lr=1", "bench table"]),
        (["show", "lra", "--model", "s4d", "optimizer.lr=-1"], ["optimizer.lr", "-1"]),
        (["lra", "--model", "s4d", "--out", ""], ["--out", "empty"]),
        (["lra", "--model", "s4d", "--out", "a\0b"], ["--out", "null"]),
        (["lra", "--model", "s4d", "--out", "~nobody-of-this-name/x"], ["~nobody-of-this-name"]),
        (["lra", "--model", "s4d", "--data", "~nobody-of-this-name/x"], ["~nobody-of-this-name"]),
        (["lra", "--model", "~nobody-of-this-name/mine.py:A"], ["~nobody-of-this-name"]),
        (["table", "lra", "--out", "~nobody-of-this-name/x"], ["~nobody-of-this-name"]),
        (["lra", "--model", "x" * 5000 + ".py:A"], ["xxx"]),
        (["lra", "--model", "mine.py:"], ["mine.py"]),
        (["lra", "--model", "a\0b.py:A"], ["a"]),
    ],
    ids=lambda value: " ".join(value[:4])[:50],
)
def test_a_mistake_is_one_sentence(
    words: list[str], named: list[str], work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if words[0] == "lra" and "--scale" not in words:
        words = [*words, "--scale", "smoke"]
    said = refused(words, work, capsys)
    for name in named:
        assert name in said


#: A whole command that is right; stray words are added to it.
RIGHT = ["lra", "--model", "s4d", "--task", "listops", "--scale", "smoke"]


@pytest.mark.parametrize(
    "words",
    [
        *([*RIGHT, word] for word in ("++optimizer.lr=0.5", "+optimizer.lr=0.5", "~optimizer.lr", "optimizer/lr=0.5")),
        *([*RIGHT, word] for word in ("optimizer.lr:0.5", "optimizer.lr", "=0.5", "--optimizer.lr=0.5", "-o")),
        [*RIGHT, "optimizer.lr", "0.5"],
        [*RIGHT, "optimizer.lr", "=", "0.5"],
        [*RIGHT, "--dry-run", "s4", "dss"],
        [*RIGHT, "nonsense"],
        ["lra", "listops", "--model", "s4d", "--scale", "smoke"],
        ["lra", "--model", "s4", *RIGHT[1:]],
        ["lra", "--task", "image", *RIGHT[1:]],
        [*RIGHT, "--scale", "mini"],
        [*RIGHT, "--seed", "1", "--seed", "2"],
        [*RIGHT, "--out", "a", "--out", "b"],
        [*RIGHT, "--task=image"],
        ["show", "lra", "nonsense", "--model", "s4d", "--task", "image"],
        ["show", "lra", "--model", "s4", "--model", "s4d"],
        ["table", "lra", "listops"],
        ["table", "lra", "--scale", "mini", "--scale", "paper"],
        ["list", "lra", "listops"],
        ["data", "status", "lra", "listops"],
        ["data", "status", "lra", "--task", "listops", "--task", "image"],
        ["jobs", "lra"],
        ["doctor", "cuda"],
        ["kernels", "s4d"],
    ],
    ids=lambda words: " ".join(words[-4:]),
)
def test_no_word_vanishes(words: list[str], work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(words, work, capsys)


@pytest.mark.parametrize(
    "word",
    [
        *("scale=paper", "task=image", "benchmark=scifar", "recipe=mine-v9", "version=3", "variant=v4"),
        *("model.name=s4", "data.name=text", "model_name=s4", "source_digest=0", "model.path=a.py:A"),
        *("model=s4d-lin", "optimizer=sgd", "trainer=null", "data=null", "scheduler=3", "model={d_model:8}"),
        *("Optimizer.lr=3", "optimizer.LR=3", "hydra.run.dir=x", "config=x", "name=x", "workers=2"),
    ],
)
def test_a_word_that_would_relabel_a_run_is_refused(word: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert word.split("=")[0] in refused([*RIGHT, word], work, capsys)


def test_overrides_may_stand_anywhere(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["optimizer.lr=0.5", "--model", "model.d_model=8", "s4d", "trainer.epochs=3", "--task", "listops"]
    assert main(["show", "lra", *words, "seed=7"]) == 0
    said = capsys.readouterr().out
    for line in ("lr: 0.5", "d_model: 8", "epochs: 3", "seed: 7"):
        assert line in said


def test_options_of_a_run_are_these(capsys: pytest.CaptureFixture[str]) -> None:
    """An option more must be argued for, here."""
    with pytest.raises(SystemExit):
        main(["lra", "--help"])
    words = {word.strip(",]").lstrip("[") for word in capsys.readouterr().out.split()}
    options = {word for word in words if word.startswith("--")}
    places = {"--data", "--out", "--workers", "--slurm"}
    assert options == {"--help", "--model", "--task", "--seed", "--scale", "--sweep", *places, "--dry-run"}


def test_the_reader_of_the_output_may_go_away() -> None:
    """Such as ``head``: no traceback, and no further word."""
    bench = [sys.executable, "-c", "import sys; from ssm_bench.cli import main; sys.exit(main())"]
    with subprocess.Popen([*bench, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_ctrl_c_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_dispatch", interrupt)
    assert main(["list"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EDQUOT, errno.EMFILE])
def test_what_the_file_system_refuses_is_a_sentence(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(words: list[str]) -> int:
        raise OSError(number, os.strerror(number), "/some/file")

    monkeypatch.setattr(cli, "_dispatch", refuse)
    assert main(["list"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "/some/file" in line
    assert ("the disk is full" if number == errno.ENOSPC else os.strerror(number)) in line


@pytest.mark.parametrize("verb", ["run", "run in processes", "table", "jobs", "show", "data", "list"])
def test_a_deleted_working_directory_is_a_sentence(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = {
        "run": ["lra", "--model", "s4d", *TINY],
        "run in processes": ["lra", "--model", "s4d", *TINY, "--workers", "1"],
        "table": ["table", "lra"],
        "jobs": ["jobs"],
        "show": ["show", "lra", "--model", "s4d", "--task", "listops"],
        "data": ["data", "status", "lra", "--task", "listops"],
        "list": ["list"],
    }
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    status = bench(*lines[verb])
    monkeypatch.chdir(tmp_path)
    # A verb that composed its recipes before, or needs none, has no use for the folder.
    assert status in ((0, 1, 2) if verb in ("show", "data", "list") else (1, 2))
    said = capsys.readouterr().err
    assert len(said.splitlines()) == (1 if status else 0)
    assert "Traceback" not in said
    if status == 1:
        assert "does not exist any more" in said
    assert not files_below(tmp_path)


def test_a_warning_about_data_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn(words: list[str]) -> int:
        for _ in range(2):
            warnings.warn("ListOps: the data are generated.", DataWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(cli, "_dispatch", warn)
    assert main(["list"]) == 0
    assert capsys.readouterr().err == "bench: ListOps: the data are generated.\n"
