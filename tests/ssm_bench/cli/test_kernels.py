"""The verb ``bench kernels``, on small problems."""

import argparse
import csv
import subprocess
import sys

import pytest
import torch
from ssm_bench.cli import main
from ssm_bench.speed import measure
from ssm_bench.speed.grid import Problem
from ssm_core.backends import OPERATORS, Backend, Implementation
from ssm_testing.problems import SMALL, do_not_wait


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    do_not_wait(monkeypatch)


def test_kernels_writes_a_table_and_a_picture_that_name_machine_torch_precision_and_date(work, monkeypatch, capsys):
    from ssm_bench.cli import kernels

    monkeypatch.setattr(kernels, "grid", lambda device: tuple(SMALL.values()))
    monkeypatch.setattr(kernels, "length_sweep", lambda device: (Problem("vandermonde", 2, 20, 8, 66),))
    monkeypatch.setattr(measure, "measure_alone", measure.measure)
    assert main(["kernels", "--operator", "vandermonde", "s4d-layer", "--device", "cpu", "--out", "here"]) == 0
    said = capsys.readouterr().out
    table, lines, picture = sorted((work / "here").iterdir())
    assert all(each.name in said for each in (table, lines, picture))
    assert [each.suffix for each in (table, lines, picture)] == [".csv", ".md", ".png"]
    assert table.stem == lines.stem == picture.stem
    assert lines.read_text().count("\n| vandermonde |") == 1
    assert f"torch-{torch.__version__.split('+')[0]}_float32_20" in table.stem
    assert table.stem.endswith("_vandermonde_s4d-layer")
    assert "thread" in table.stem
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows} == {"vandermonde", "s4d-layer"}
    assert {(row["L"], row["work"]) for row in rows} == {
        ("33", "forward"),
        ("33", "forward+backward"),
        ("66", "forward+backward"),
    }
    assert all(float(row["median_ms"]) > 0 and float(row["ceiling_gflops"]) > 0 for row in rows)
    assert len({row["code"] for row in rows}) == 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_was_done_survives_an_interruption(work, monkeypatch):
    from ssm_bench.cli import kernels

    def interrupted(problem, *args, undisturbed=measure.measure, **options):
        if problem.name == "cauchy":
            raise KeyboardInterrupt
        return undisturbed(problem, *args, **options)

    monkeypatch.setattr(measure, "measure_alone", interrupted)
    monkeypatch.setattr(kernels, "grid", lambda device: (SMALL["vandermonde"], SMALL["cauchy"]))
    with pytest.raises(KeyboardInterrupt):
        kernels.run(argparse.Namespace(operator=[], device="cpu", out=work, profile=False))
    (table,) = work.iterdir()
    with table.open() as file:
        assert {row["name"] for row in csv.DictReader(file)} == {"vandermonde"}


def test_profile_prints_a_table_for_each_training_step(monkeypatch, capsys, work):
    from ssm_bench.cli import kernels

    monkeypatch.setattr(kernels, "grid", lambda device: tuple(SMALL.values()))
    assert main(["kernels", "--profile", "--operator", "cauchy", "s4d-listops-training", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert said.count("Kind of work") == 1
    assert "s4d-listops-training" in said
    assert not list(work.iterdir())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["kernels", "--operator", "cauchi"], ["'cauchi'", "cauchy"]),
        (["kernels", "--profile", "--operator", "cauchy"], ["--profile", "training steps"]),
        (["kernels", "--device", "tpu9"], ["'tpu9'", "cpu or cuda"]),
        (["doctor", "--device", "meta"], ["'meta'", "cpu or cuda"]),
    ],
)
def test_a_mistake_is_one_sentence(words, named, capsys, work):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert all(word in said for word in named)
    assert not list(work.iterdir())


@pytest.mark.parametrize("verb", ["kernels", "doctor"])
def test_help_does_not_import_torch(verb):
    code = (
        "import sys; from ssm_bench.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, verb, "--help"], check=True, capture_output=True)


def test_the_traceback_of_a_failure_goes_to_a_file_that_the_sentence_names(work, monkeypatch, capsys):
    from ssm_bench.cli import kernels

    def fail(*args):
        raise RuntimeError("the [compiler] is missing")

    operator = OPERATORS["vandermonde"]
    broken = {**operator.implementations, Backend.KEOPS: Implementation(fail)}
    monkeypatch.setattr(operator, "implementations", broken)
    monkeypatch.setattr(kernels, "grid", lambda device: (SMALL["vandermonde"],))
    monkeypatch.setattr(kernels, "length_sweep", lambda device: ())
    monkeypatch.setattr(measure, "measure_alone", measure.measure)
    assert main(["kernels", "--operator", "vandermonde", "--device", "cpu", "--out", "here"]) == 1
    (log,) = (work / "here").glob("*.log")
    said = capsys.readouterr().out
    assert f"on keops failed: the [compiler] is missing (traceback in here/{log.name})" in said
    assert "RuntimeError: the [compiler] is missing" in log.read_text()
