"""The measurements of ``bench kernels`` and ``bench doctor``, on small problems; no times are judged."""

import argparse
import csv
import dataclasses
import subprocess
import sys

import pytest
import torch
from ssm_bench.cli import main
from ssm_bench.kernel_bench import measure, plot, problems
from ssm_bench.kernel_bench.grid import NAMES, Problem, sweep
from ssm_core.backends import OPERATORS, Backend, Implementation

CPU = torch.device("cpu")
SMALL = {name: Problem(name, 2, 20, 8, 1 if name == "ssm_step" else 33) for name in NAMES}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Few repetitions, and no KeOps, which compiles."""
    monkeypatch.setattr(measure, "_SECONDS", 0.0)
    for operator in OPERATORS.values():
        without = {name: each for name, each in operator.implementations.items() if name is not Backend.KEOPS}
        monkeypatch.setattr(operator, "implementations", without)


def test_every_operator_is_in_the_grid():
    assert set(OPERATORS) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_back_ends_compute_the_same(name):
    case = problems.make_case(SMALL[name], CPU).double()
    cotangents = case.cotangents() if case.backward else None
    expected = case.run("naive", cotangents)
    assert len(case.backends) > 1
    for backend in case.backends:
        for one, other in zip(case.run(backend, cotangents), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8 * other.abs().max().item())


@pytest.mark.parametrize("name", NAMES)
def test_a_row_for_each_back_end_and_pass(name):
    top = measure.Ceiling(1e10, 1e10)
    rows, omissions = measure.measure(SMALL[name], CPU, top)
    passes = {"forward"} if name == "ssm_step" else {"forward", "forward+backward"}
    backends = {"naive", "torch"} if name in OPERATORS else {"naive", "auto"}
    assert {(row.work, row.backend) for row in rows} == {(work, each) for work in passes for each in backends}
    assert not any(omission.failed for omission in omissions)
    for row in rows:
        assert 0 < row.quartile1_ms <= row.median_ms <= row.quartile3_ms
        assert row.least_ms <= row.median_ms
        assert row.repeats == 3
        assert 0 < row.error < 1e-4
        assert row.peak_mib > 0
        assert row.gflops_share == pytest.approx(row.gflops / 10)
        assert row.speedup == 1 or row.backend != "naive"


def test_error_sees_a_wrong_gradient(monkeypatch):
    """One digit wrong in one gradient."""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, c):
            return c.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * 1.01

    operator = OPERATORS["vandermonde"]
    right = operator.implementations[Backend.TORCH]
    wrong = Implementation(lambda c, a, L: right.run(Wrong.apply(c), a, L))
    monkeypatch.setattr(operator, "implementations", {**operator.implementations, Backend.TORCH: wrong})
    case = problems.make_case(SMALL["vandermonde"], CPU)
    assert measure.error(case, "torch", measure.exact(case)) == pytest.approx(0.01, rel=1e-3)
    forward = dataclasses.replace(case, backward=False)
    assert measure.error(forward, "torch", measure.exact(forward)) < 1e-5


def test_peak_memory_counts_what_is_held_at_once():
    x = torch.ones(2**18)

    def call():
        y = x + 1  # 1 MiB
        z = y + 1  # another
        del y
        return z + 1  # and a third after one was freed

    assert measure.peak_memory(call, CPU) == pytest.approx(2 * 2**20, rel=0.01)


def test_what_does_not_fit_or_fails_is_left_out_with_a_sentence(monkeypatch):
    monkeypatch.setattr(measure.os, "sysconf", lambda name: 0)
    rows, omissions = measure.measure(SMALL["cauchy"], CPU, measure.Ceiling(1, 1))
    assert not rows
    assert any("needs about" in each.sentence and "is left out" in each.sentence for each in omissions)
    assert not any(each.failed for each in omissions)

    def fail(*args):
        raise RuntimeError("no compiler")

    monkeypatch.undo()
    monkeypatch.setattr(measure, "_SECONDS", 0.0)
    operator = OPERATORS["cauchy"]
    broken = {**operator.implementations, Backend.KEOPS: Implementation(fail)}
    monkeypatch.setattr(operator, "implementations", broken)
    rows, omissions = measure.measure(SMALL["cauchy"], CPU, measure.Ceiling(1, 1))
    assert {row.backend for row in rows} == {"naive", "torch"}
    assert [each.sentence for each in omissions if each.failed] == ["cauchy (H 20, L 33) on keops failed: no compiler"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_sweep_varies_length_alone(device):
    for name in {problem.name for problem in sweep(device)}:
        problems = [problem for problem in sweep(device) if problem.name == name]
        assert len({problem.L for problem in problems}) == len(problems) >= 3
        assert len({dataclasses.replace(problem, L=0) for problem in problems}) == 1


def test_kernels_writes_a_table_and_a_picture_that_name_machine_torch_precision_and_date(work, monkeypatch, capsys):
    from ssm_bench.cli import kernels

    monkeypatch.setattr(kernels, "GRID", tuple(SMALL.values()))
    monkeypatch.setattr(kernels, "sweep", lambda device: (Problem("vandermonde", 2, 20, 8, 66),))
    assert main(["kernels", "--operator", "vandermonde", "s4d-layer", "--device", "cpu", "--out", "here"]) == 0
    said = capsys.readouterr().out
    table, picture = sorted((work / "here").iterdir())
    assert table.name in said
    assert picture.name in said
    assert table.stem == picture.stem
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

    def interrupted(problem, *args, undisturbed=measure.measure):
        if problem.name == "cauchy":
            raise KeyboardInterrupt
        return undisturbed(problem, *args)

    monkeypatch.setattr(measure, "measure", interrupted)
    monkeypatch.setattr(kernels, "GRID", (SMALL["vandermonde"], SMALL["cauchy"]))
    with pytest.raises(KeyboardInterrupt):
        kernels.run(argparse.Namespace(operator=[], device="cpu", out=work))
    (table,) = work.iterdir()
    with table.open() as file:
        assert {row["name"] for row in csv.DictReader(file)} == {"vandermonde"}


def test_a_picture_shows_each_operator_at_the_sizes_with_most_lengths(tmp_path):
    def row(name, H, L, work="forward+backward"):
        return measure.Row(name, 0, H, 8, L, work, "naive", *[1.0] * 4, 3, *[1.0] * 7)

    rows = [row("cauchy", 9, L) for L in (1, 2)] + [row("cauchy", 5, L) for L in (1, 2, 4)] + [row("long_conv", 5, 1)]
    rows.append(row("cauchy", 5, 8, "forward"))
    rows.append(row("cauchy", 5, 4))
    assert plot.panels(rows) == {"cauchy": [rows[2], rows[3], rows[4], rows[7]]}
    assert not plot.draw(rows[5:6], "nothing at two lengths", tmp_path / "none.png")
    assert not list(tmp_path.iterdir())


def test_memory_is_foreseen_from_its_growth():
    """The naive convolution holds matrices of L x L."""
    problem = Problem("long_conv", 2, 20, 0, 2048)
    case = problems.make_case(problem, CPU)
    foreseen, _ = measure._expect(problem, "naive", CPU)
    found = measure.peak_memory(lambda: case.run("naive", case.cotangents()), CPU)
    assert foreseen == pytest.approx(found, rel=0.3)
    assert "more than half of the" in measure._refusal(dataclasses.replace(problem, L=2**20), case, "naive", CPU)
    assert measure._reference(dataclasses.replace(problem, L=2**20), case, CPU) == "torch"


def test_what_takes_too_long_is_left_out_with_a_sentence(monkeypatch):
    monkeypatch.setitem(measure._PATIENCE, "others", 0.0)
    rows, omissions = measure.measure(SMALL["cauchy"], CPU, measure.Ceiling(1, 1))
    assert {row.backend for row in rows} == {"naive"}
    assert {row.work for row in rows} == {"forward+backward"}  # and the forward pass alone would take as long
    assert any("cauchy (H 20, L 33) on torch is left out: a call takes about" in each.sentence for each in omissions)


def test_doctor_says_what_is_used_and_why(capsys):
    assert main(["doctor", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    for word in (*OPERATORS, torch.__version__.split("+")[0], "used", "is preferred", "runs on CUDA devices"):
        assert word in said


def test_doctor_shows_a_failure(monkeypatch, capsys):
    def fail(*args):
        raise RuntimeError("the compiler is missing")

    operator = OPERATORS["cauchy"]
    broken = {**operator.implementations, Backend.KEOPS: Implementation(fail)}
    monkeypatch.setattr(operator, "implementations", broken)
    assert main(["doctor", "--device", "cpu"]) == 1
    assert "failed: the compiler is missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["kernels", "--operator", "cauchi"], ["'cauchi'", "cauchy"]),
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
