"""A new back end costs its file and one line in the operator; it can be named and explained like the others."""

import sys
from pathlib import Path

import pytest
import torch
from ssm_core.backends import OPERATORS, Backend, BackendError, Implementation, use_backend
from ssm_core.ops import cauchy, vandermonde

BACKEND = '''
import torch


def refusal(c, a, L):
    return "it serves up to 100 taps." if L > 100 else None


def vandermonde(c, a, L):
    """Horner's rule in time: each tap is the last one times the poles."""
    pole, x, taps = torch.view_as_complex(a).exp(), torch.view_as_complex(c), []
    for _ in range(L):
        taps.append(2 * x.sum(-1).real)
        x = x * pole
    return torch.stack(taps, -1)
'''


@pytest.fixture
def throw_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "throwaway_backend.py").write_text(BACKEND)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "throwaway_backend", raising=False)
    import throwaway_backend

    # The line in the operator.
    line = {"horner": Implementation(throwaway_backend.vandermonde, throwaway_backend.refusal)}
    monkeypatch.setattr(OPERATORS["vandermonde"], "implementations", OPERATORS["vandermonde"].implementations | line)
    return "horner"


def test_a_throw_away_back_end_runs(throw_away: str) -> None:
    torch.manual_seed(0)
    c, a = torch.randn(2, 3, 4, 2).double(), -torch.rand(3, 4, 2).double()
    expected = vandermonde(c, a, 50, backend="naive")
    torch.testing.assert_close(vandermonde(c, a, 50, backend=throw_away), expected)
    with use_backend(throw_away, "vandermonde"):
        torch.testing.assert_close(vandermonde(c, a, 50), expected)
    with pytest.raises(BackendError, match="vandermonde cannot run on the back end 'horner': it serves up to 100 taps"):
        vandermonde(c, a, 101, backend=throw_away)
    choice = OPERATORS["vandermonde"].explain(c, a, 50)
    assert choice.used is Backend.TORCH
    assert choice.others[throw_away] == "torch is preferred."
    with pytest.raises(BackendError, match="cauchy cannot run on the back end 'horner': cauchy has no such"):
        cauchy(c, a, torch.ones(2).double(), backend=throw_away)


def test_its_name_is_known_only_while_it_is_declared() -> None:
    with pytest.raises(ValueError, match="There is no back end 'horner'; there are auto, naive, "):
        vandermonde(torch.ones(1, 1, 1, 2), -torch.ones(1, 1, 2), 3, backend="horner")
