"""How each back end is measured and shown."""

import pytest
import torch
from ssm_bench.speed import measure, operators
from ssm_bench.speed.length_plot import draw
from ssm_bench.speed.treatment import TREATMENTS, in_order, treatment
from ssm_core.backends import OPERATORS, Backend, Implementation
from ssm_testing.problems import CPU, SMALL, TOP


def test_every_back_end_of_ssm_core_has_a_treatment() -> None:
    assert set(TREATMENTS) == set(Backend)


def test_back_ends_are_in_one_order_and_unknown_ones_come_last() -> None:
    assert in_order(["mine", "cuda", "other", "naive", "torch"]) == ["naive", "torch", "cuda", "mine", "other"]
    assert treatment("mine").label == "mine"
    assert treatment("mine") == treatment("mine")


def test_a_back_end_of_another_name_is_measured_and_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    operator = OPERATORS["vandermonde"]
    mine = Implementation(operator.implementations[Backend.TORCH].run)
    monkeypatch.setattr(operator, "implementations", {**operator.implementations, "mine": mine})
    rows = []
    for L in (33, 66):
        problem = operators.Problem("vandermonde", 0, 4, 8, L)
        more, _ = measure.measure(problem, CPU, TOP, first_only=True)
        rows += more
    assert [row.backend for row in rows] == ["naive", "torch", "mine"] * 2
    assert draw(rows, "title", tmp_path / "picture.png")


def test_an_operator_without_a_problem_is_an_error_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    monkeypatch.setitem(OPERATORS, "unheard_of", OPERATORS["cauchy"])
    with pytest.raises(NotImplementedError, match="No problem is known for unheard_of"):
        importlib.reload(operators)
    monkeypatch.undo()
    importlib.reload(operators)
    assert isinstance(operators.make_tensor_case(SMALL["cauchy"], torch.device("cpu")), operators.TensorCase)
