"""Rows, errors and omissions of a measurement, on small problems; no times are judged."""

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from ssm_bench import memory
from ssm_bench.speed import feasible, measure, operators
from ssm_bench.speed.grid import NAMES, Problem
from ssm_bench.speed.treatment import TREATMENTS
from ssm_core.backends import OPERATORS, Backend, Implementation
from ssm_testing.problems import CPU, SMALL, TOP, TRAINED


@pytest.mark.parametrize("name", NAMES)
def test_a_row_for_each_back_end_and_work(name):
    rows, omissions = measure.measure(SMALL[name], CPU, TOP)
    works = {"forward", "forward+backward"}
    if name == "ssm_step":
        works = {"forward"}
    elif SMALL[name].layers:
        works = {"training step"} if name in TRAINED else {"sample"}
    backends = {"naive", "torch"} if name in OPERATORS else {"naive", "auto"}
    assert {(row.work, row.backend) for row in rows} == {(work, each) for work in works for each in backends}
    assert not any(omission.failed for omission in omissions)
    for row in rows:
        assert row.problem == SMALL[name]
        assert 0 < row.quartile1_ms <= row.median_ms <= row.quartile3_ms
        assert row.least_ms <= row.median_ms
        assert row.repeats == 5
        assert 0 < row.error < 1e-3
        assert row.peak_mib > 0
        assert row.speedup == 1 or row.backend != "naive"
        assert row.backend != "naive" or row.naive_error == row.error
        assert math.isnan(row.gflops) or row.gflops_share == pytest.approx(row.gflops / 10)
        assert math.isnan(row.gflops) == (name == "sashimi-step")


@pytest.mark.parametrize("factor", [1.01, math.nan])
def test_error_sees_a_wrong_gradient(factor, monkeypatch):
    """One gradient is wrong in its third digit, or is nan."""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, c):
            return c.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * factor

    operator = OPERATORS["vandermonde"]
    right = operator.implementations[Backend.TORCH]
    wrong = Implementation(lambda c, a, L: right.run(Wrong.apply(c), a, L))
    monkeypatch.setattr(operator, "implementations", {**operator.implementations, Backend.TORCH: wrong})
    case = operators.make_tensor_case(SMALL["vandermonde"], CPU)
    found = measure.error(case, "torch", case.results("naive", double=True))
    assert found == pytest.approx(factor - 1, rel=1e-3, nan_ok=True)
    forward = dataclasses.replace(case, backward=False)
    assert measure.error(forward, "torch", forward.results("naive", double=True)) < 1e-5


def test_a_large_training_step_tells_the_memory_of_a_process(monkeypatch):
    asked = []
    monkeypatch.setattr(measure, "_LARGE", 0)
    monkeypatch.setattr(measure, "peak_resident", lambda *words: asked.append(words) or 3 * 2**20)
    problem = SMALL["s4d-scifar-training"]
    rows, _ = measure.measure(problem, CPU, TOP)
    assert asked == [(problem, "auto", "training step")]
    assert [row.resident_mib for row in rows if row.backend == "auto"] == [3.0]
    rows, _ = measure.measure(SMALL["s4d-layer"], CPU, TOP)
    assert all(math.isnan(row.resident_mib) for row in rows)


def test_what_does_not_fit_or_fails_is_left_out_with_a_sentence(monkeypatch):
    monkeypatch.setattr(memory.os, "sysconf", lambda name: 0)
    rows, omissions = measure.measure(SMALL["cauchy"], CPU, TOP)
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
    rows, omissions = measure.measure(SMALL["cauchy"], CPU, TOP)
    assert {row.backend for row in rows} == {"naive", "torch"}
    (failed,) = [each for each in omissions if each.failed]
    assert failed.sentence == "cauchy (H 20, L 33) on keops failed: no compiler"
    assert "RuntimeError: no compiler" in failed.trace


@pytest.mark.parametrize("failure", [torch.OutOfMemoryError("tried to allocate"), RuntimeError("illegal access")])
def test_what_fails_at_its_full_size_alone_leaves_the_others(failure, monkeypatch):
    operator = OPERATORS["cauchy"]
    right = operator.implementations[Backend.TORCH]

    def run(v, w, y):
        if len(w) > operators.FEW and len(y) > feasible._SMALL_L[False] / 2:
            raise failure
        return right.run(v, w, y)

    monkeypatch.setattr(operator, "implementations", {**operator.implementations, Backend.KEOPS: Implementation(run)})
    rows, omissions = measure.measure(Problem("cauchy", 0, 12, 4, 1200), CPU, TOP, first_only=True)
    assert {row.backend for row in rows} == {"naive", "torch"}
    short = isinstance(failure, torch.OutOfMemoryError)
    reason = "is left out: the device has too little memory." if short else f"failed: {failure}"
    assert [(each.sentence, each.failed) for each in omissions if "keops" in each.sentence] == [
        (f"cauchy (H 12, L 1200), forward+backward, on keops {reason}", not short)
    ]


def test_a_process_that_fails_leaves_the_other_problems(monkeypatch):
    monkeypatch.setattr(measure, "ProcessPoolExecutor", lambda count, mp_context: ThreadPoolExecutor(count))
    rows, [omission] = measure.measure_alone(Problem("cauchi", 0, 1, 2, 3), CPU, TOP)
    assert not rows
    assert (omission.sentence, omission.failed) == ("cauchi (H 1, L 3) failed: 'cauchi'", True)
    assert "KeyError: 'cauchi'" in omission.trace
    assert "make_tensor_case" in omission.trace


def test_a_process_of_its_own_measures_the_same():
    problem = SMALL["vandermonde_transpose"]  # which KeOps, that compiles, does not serve
    here, there = (each(problem, CPU, TOP, first_only=True) for each in (measure.measure, measure.measure_alone))
    assert [(row.backend, row.work, row.error) for row in here[0]] == [
        (row.backend, row.work, row.error) for row in there[0]
    ]


def test_what_takes_too_long_is_left_out_with_a_sentence(monkeypatch):
    monkeypatch.setitem(TREATMENTS, "torch", dataclasses.replace(TREATMENTS["torch"], patience=0.0))
    monkeypatch.setattr(measure, "_QUICK", 0.0)
    rows, omissions = measure.measure(SMALL["cauchy"], CPU, TOP)
    assert {row.backend for row in rows} == {"naive"}
    assert {row.work for row in rows} == {"forward+backward"}  # and the forward pass alone would take as long
    assert any("cauchy (H 20, L 33) on torch is left out: a call takes about" in each.sentence for each in omissions)
