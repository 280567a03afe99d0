"""The verb ``bench doctor``."""

import re
from pathlib import Path

import pytest
import torch
from ssm_bench.cli import main
from ssm_bench.speed import examine
from ssm_core.backends import OPERATORS, Backend, Implementation
from ssm_testing.problems import do_not_wait


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    do_not_wait(monkeypatch)


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
    said = capsys.readouterr().out
    assert "failed: the compiler is missing" in said
    log = Path(re.search(r"tracebacks are in (\S+)\.$", said, re.MULTILINE)[1])
    assert "RuntimeError: the compiler is missing" in log.read_text()


def test_doctor_goes_on_where_nothing_of_an_operator_runs(monkeypatch, capsys):
    make = examine.make_tensor_case

    def fail(problem, device):
        if problem.name == "cauchy":
            raise RuntimeError("an illegal access")
        return make(problem, device)

    monkeypatch.setattr(examine, "make_tensor_case", fail)
    assert main(["doctor", "--device", "cpu"]) == 1
    said = capsys.readouterr().out
    assert "failed: an illegal access" in said
    assert "diagonal_scan" in said


def test_a_gpu_that_is_not_there_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert main(["doctor", "--device", "cuda:2"]) == 2
    assert "torch finds 2 of CUDA, from cuda:0 on" in capsys.readouterr().err
