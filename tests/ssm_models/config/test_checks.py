"""Types, choices and ranges of options: every number has a range, and a bad value is refused with a sentence."""

import dataclasses
import math
import re
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from ssm_models import config
from ssm_models.config.checks import Config, Count, NonNegative, Positive, Range, Share, checked, field_types
from ssm_models.config.kernels import KERNELS

CLASSES = {
    *KERNELS.values(),
    *(each for each in vars(config).values() if isinstance(each, type) and issubclass(each, Config)),
}


def bare_numbers(hint: Any) -> list[Any]:
    """The number types inside a type that have no range."""
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        return [] if any(isinstance(each, Range) for each in marks) else bare_numbers(inner)
    if get_origin(hint) is Literal:
        return []
    if hint in (int, float):
        return [hint]
    return [found for each in get_args(hint) for found in bare_numbers(each)]


@pytest.mark.parametrize("cls", sorted(CLASSES, key=lambda cls: cls.__name__))
def test_every_number_has_a_range(cls: type[Config]) -> None:
    assert dataclasses.is_dataclass(cls)
    lacking = [name for name, hint in field_types(cls).items() if bare_numbers(hint)]
    assert not lacking, f"{cls.__name__}: {lacking} have no range"


@pytest.mark.parametrize(
    ("value", "hint", "sentence"),
    [
        ("16", Count, "x is a whole number, not '16'."),
        (3.5, Count, "x is a whole number, not 3.5."),
        (16.0, Count, "x is a whole number, not 16.0."),
        (True, Count, "x is a whole number, not True."),
        (None, Count, "x is a whole number, not None."),
        (0, Count, "x is at least 1, not 0."),
        (2**40, Count, "x is at most 2147483647, not 1099511627776."),
        (0, Count | None, "x is at least 1, not 0; null is allowed too."),
        ("0.1", NonNegative, "x is a finite number, not '0.1'."),
        (False, NonNegative, "x is a finite number, not False."),
        (math.nan, NonNegative, "x is a finite number, not nan."),
        (math.inf, NonNegative, "x is a finite number, not inf."),
        (-0.1, NonNegative, "x is at least 0, not -0.1."),
        (0, Positive, "x is above 0, not 0."),
        (1.0, Share, "x is below 1, not 1.0."),
        (1, bool, "x is true or false, not 1."),
        ("true", bool, "x is true or false, not 'true'."),
        (3, str, "x is a text, not 3."),
        ("c", Literal["a", "b"], "x is one of a, b, not 'c'."),
        (["a"], Literal["a", "b"], "x is one of a, b, not ['a']."),
        ("c", Literal["a", "b"] | None, "x is one of a, b, not 'c'; null is allowed too."),
        (3, tuple[Count, ...], "x is a list, not 3."),
        ("ab", tuple[Count, ...], "x is a list, not 'ab'."),
        ([1, 0], tuple[Count, ...], "x has an entry that is at least 1, not 0."),
        (0.1, dict[Literal["A", "B"], NonNegative], "x has entries key: value, and is not 0.1."),
        ({"E": 0.1}, dict[Literal["A", "B"], NonNegative], "x has entries for A, B, not for 'E'."),
        ({"A": -1}, dict[Literal["A", "B"], NonNegative], "x has an entry A that is at least 0, not -1."),
        ({1: 2}, dict[str, Any], "x has a key that is a text, not 1."),
    ],
)
def test_a_bad_value_is_refused_with_a_sentence(value: Any, hint: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        checked("x", value, hint)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, Positive, 1.0),
        (None, Count | None, None),
        ([4, 2], tuple[Count, ...], (4, 2)),
        ([], tuple[Count, ...], ()),
        ({"A": 0}, dict[Literal["A", "B"], NonNegative], {"A": 0.0}),
        ({"a": [1]}, dict[str, Any], {"a": [1]}),
        ("a", Literal["a", "b"] | None, "a"),
    ],
)
def test_a_good_value_has_its_type(value: Any, hint: Any, expected: Any) -> None:
    found = checked("x", value, hint)
    assert found == expected
    assert type(found) is type(expected)
    if isinstance(found, dict):
        assert [type(each) for each in found.values()] == [type(each) for each in expected.values()]


def plain(hint: Any) -> Any:
    """A type without its ranges and None."""
    while get_origin(hint) in (Annotated, Union, UnionType):
        (hint,) = [each for each in get_args(hint) if each is not type(None) and not isinstance(each, Range)]
    return hint


@pytest.mark.parametrize("cls", sorted(CLASSES, key=lambda cls: cls.__name__))
@pytest.mark.parametrize("value", ["7", 2.5, math.nan, math.inf, -1, True], ids=str)
def test_no_numeric_option_takes_nonsense(cls: type[Config], value: Any) -> None:
    """A string, a fraction for a whole number, NaN, infinity, a negative number, a bool."""
    tried = 0
    for name, hint in field_types(cls).items():
        kind = plain(hint)
        fits = (kind is float and value == 2.5) or kind not in (int, float)
        if not fits:
            tried += 1
            with pytest.raises(ValueError, match=rf"^{name} .*\.$"):
                checked(name, value, hint)
    assert tried or not any(plain(each) in (int, float) for each in field_types(cls).values()) or value == 2.5
