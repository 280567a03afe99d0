"""The sentence on a name that does not exist names the nearest known ones."""

import pytest
from ssm_bench.errors import BusyError, Preempted, RunError, UserError, unknown


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("s4e", ["s4", "s4d", "lru"], "There is no model 's4e'; the nearest known: s4d, s4."),
        ("xyz", ["s4", "lru"], "There is no model 'xyz'; known: lru, s4."),
        ("xyz", [], "There is no model 'xyz'; none is known."),
    ],
)
def test_an_unknown_name(name: str, known: list[str], said: str) -> None:
    error = unknown("model", name, known)
    assert isinstance(error, UserError)
    assert set(str(error).replace(".", "").replace(",", "").split()) == set(
        said.replace(".", "").replace(",", "").split()
    )


def test_what_is_no_failure_of_code_is_not_caught_as_one() -> None:
    assert not issubclass(Preempted, Exception)
    assert issubclass(BusyError, RunError)
