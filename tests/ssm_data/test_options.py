"""Ranges of options: every number of every data set has one, and nonsense is refused with a sentence."""

import dataclasses
import math
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import pytest
from pydantic import TypeAdapter, ValidationError
from ssm_data import DATASETS
from ssm_data.options import Range, check

NONSENSE = {
    int: [-1, -(10**30), 10**30, 10**400, 2**63, 2.5, math.nan, math.inf, "7", None, True],
    float: [-1.0, -1e300, 1e300, math.nan, math.inf, -math.inf, "7", None, True],
    bool: [1, "yes", None],
}


def numbers():
    """Each field of each data set, its type, and its range."""
    for name, kind in DATASETS.items():
        for field, hint in get_type_hints(kind, include_extras=True).items():
            if field not in {each.name for each in dataclasses.fields(kind)}:
                continue
            base, *bounds = get_args(hint) if get_origin(hint) is Annotated else (hint,)
            yield name, field, base, bounds


FIELDS = list(numbers())


@pytest.mark.parametrize(("name", "field", "base", "bounds"), FIELDS)
def test_every_number_has_a_range(name, field, base, bounds):
    if base in (int, float):
        (bound,) = bounds
        assert isinstance(bound, Range)
        assert math.isfinite(max(bound.least, bound.above))
        assert math.isfinite(min(bound.most, bound.below))


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [(name, field, value) for name, field, base, _ in FIELDS for value in NONSENSE.get(base, [])],
)
def test_nonsense_is_refused_with_a_sentence(name, field, value):
    with pytest.raises(ValueError, match=rf"^{field} is .*; it must be .*\."):
        DATASETS[name](**{field: value})


@pytest.mark.parametrize(("name", "field"), [(n, f) for n, f, base, _ in FIELDS if get_origin(base) is Literal])
def test_a_word_that_is_not_offered_is_refused(name, field):
    for value in ("nonsense", "", None, 0, 1.0):
        with pytest.raises(ValueError, match=rf"^{field} is .*; it must be one of "):
            DATASETS[name](**{field: value})


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("limit", [{"train": 0}, {"val": -3}, {"test": 2.5}, {"train": math.nan}, {"val": True}])
def test_a_limit_is_a_whole_number(name, limit):
    with pytest.raises(ValueError, match=r"limit of \w+ is .*; it must be a whole number of at least 1"):
        DATASETS[name](limit=limit)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("delay", {"lag": 4000}, "lag is 4000; of 4000 steps it must be from 0 to 3999"),
        ("reconstruct", {"memory": 4001}, "memory is 4001"),
        ("delay", {"cutoff": 1e-9}, "cutoff of 1e-09 Hz is out of range"),
        ("reconstruct", {"step": 1.0}, "cutoff of 100 Hz is out of range"),
        ("etth", {"past": 9000}, "too few for past 9,000 and future 96"),
        ("audio-folder", {"folder": "../elsewhere"}, "name of a folder below --data"),
        ("audio-folder", {"folder": "/etc"}, "name of a folder below --data"),
        ("beethoven", {"folder": ""}, "name of a folder below --data"),
        ("text", {"l_max": 1}, "l_max is 1; it must be a whole number of at least 2"),
        ("sc35", {"dropped": 100}, "dropped is 100; it must be a finite number of at least 0 and below 100"),
        ("hmdb51", {"seconds": 0.0}, "seconds is 0.0; it must be a finite number above 0"),
        ("hmdb51", {"split": 4}, "split is 4; it must be one of 1, 2, 3"),
    ],
)
def test_options_that_do_not_fit_are_refused(name, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        DATASETS[name](**options)


def test_the_harness_gets_the_same_refusal():
    with pytest.raises(ValidationError, match="l_max is -1; it must be a whole number of at least 2"):
        TypeAdapter(DATASETS["text"]).validate_python({"l_max": -1})


def test_ranges():
    assert 1 in Range(1, 3)
    assert 3 in Range(1, 3)
    assert 4 not in Range(1, 3)
    assert 0 not in Range(above=0)
    assert 100 not in Range(0, below=100)
    assert "1" not in Range(1)
    assert str(Range(1, 3)) == "of at least 1 and at most 3"

    @dataclasses.dataclass
    class Options:
        share: Annotated[float, Range(0, 1)] = 1

    check(Options(0.5))
    check(Options(1))
    with pytest.raises(ValueError, match="share is 2; it must be a finite number of at least 0 and at most 1"):
        check(Options(2))
