"""Checks of configurations: types, choices, ranges, divisibility. Every refusal is a sentence.

The type of a field gives all conditions on one value: ``int``, ``Literal["a", "b"]``, ``Count | None``. The type of a
number includes its range, see :class:`Range`. The class itself checks the conditions that involve several fields.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Range:
    """The numbers that an option can have.

    Attributes:
        low: the smallest one.
        high: the largest one.
        open_low: ``low`` itself is excluded.
        open_high: ``high`` itself is excluded.
    """

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def fault(self, value: float) -> str:
        """Return the bound that a number violates, as the end of a sentence; empty if it is in the range."""
        if value < self.low or (self.open_low and value == self.low):
            return f"is {'above' if self.open_low else 'at least'} {self.low}, not {value}"
        if value > self.high or (self.open_high and value == self.high):
            return f"is {'below' if self.open_high else 'at most'} {self.high}, not {value}"
        return ""


#: The largest allowed size, which fits a 32-bit integer of torch.
_MOST = 2**31 - 1
#: A number of things: a whole number that is at least 1.
Count = Annotated[int, Range(1, _MOST)]
#: A number of things that can be 0: a whole number that is not negative.
Natural = Annotated[int, Range(0, _MOST)]
#: A real number above 0.
Positive = Annotated[float, Range(0, open_low=True)]
#: A real number that is not negative.
NonNegative = Annotated[float, Range(0)]
#: A real number from 0 to below 1, such as a dropout probability.
Share = Annotated[float, Range(0, 1, open_high=True)]


class Config:
    """Base of all configurations: a frozen dataclass whose values are checked when it is made."""

    def __post_init__(self) -> None:
        for name, hint in field_types(type(self)).items():
            # A frozen dataclass forbids assignment, but here whole numbers become floats and lists become tuples.
            object.__setattr__(self, name, checked(name, getattr(self, name), hint))


def field_types(cls: Any) -> dict[str, Any]:
    """Return the type of each field of a dataclass, with its range."""
    return _field_types(cls)


@cache
def _field_types(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {each.name: hints[each.name] for each in dataclasses.fields(cls)}


def require(condition: bool, message: str) -> None:
    """Check a condition on a configuration.

    Raises:
        ValueError: the condition is false; the error has the given message.
    """
    if not condition:
        raise ValueError(message)


def require_divisible(name: str, value: int, divisor_name: str, divisor: int | None) -> None:
    """Raise a ValueError if ``value`` is not a multiple of ``divisor``; None divides every number."""
    require(
        divisor is None or value % divisor == 0,
        f"{divisor_name} must divide {name}: {value} is no multiple of {divisor}.",
    )


def require_steps(dt_min: float, dt_max: float) -> None:
    """Raise a ValueError if the range of step sizes is empty."""
    require(dt_min <= dt_max, f"Step sizes need dt_min <= dt_max, not {dt_min} and {dt_max}.")


def checked(name: str, value: Any, hint: Any) -> Any:
    """Check a value against its type, and return it in that type.

    Whole numbers become floats and lists become tuples if the type asks for it. Nothing else is converted: not a string
    to a number, not a float to a whole number, not a bool to a number.

    Args:
        name: name of the option, for the error message.
        value: any value.
        hint: the type of the option.

    Raises:
        ValueError: the value does not have the type, or is outside the range. The message gives the name and the value.
    """
    fault, value = _convert(value, hint)
    require(not fault, f"{name} {fault}.")
    return value


def _convert(value: Any, hint: Any) -> tuple[str, Any]:
    """Return what is wrong with a value, as the end of a sentence, or an empty string and the converted value."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and NoneType in args:
            return "", None
        (inner,) = (each for each in args if each is not NoneType)
        fault, value = _convert(value, inner)
        return (f"{fault}; null is allowed too" if fault else ""), value
    if origin is Annotated:
        fault, converted = _convert(value, args[0])
        return fault or args[1].fault(value), converted
    if origin is Literal:
        known = any(type(value) is type(each) and value == each for each in args)
        return ("" if known else f"is one of {', '.join(map(str, args))}, not {value!r}"), value
    if origin is tuple:
        return _convert_list(value, args[0])
    if origin is dict:
        return _convert_mapping(value, *args)
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return ("", float(value)) if number else (f"is a finite number, not {value!r}", value)
    if hint is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return ("" if whole else f"is a whole number, not {value!r}"), value
    if hint is Any or isinstance(value, hint):
        return "", value
    return f"is {_NOUNS.get(hint, f'a {hint.__name__}')}, not {value!r}", value


#: The names of types in error messages.
_NOUNS = {bool: "true or false", str: "a text"}


def _convert_list(value: Any, item: Any) -> tuple[str, Any]:
    if not isinstance(value, list | tuple):
        return f"is a list, not {value!r}", value
    faults, items = zip(*(_convert(each, item) for each in value), strict=True) if value else ((), ())
    return next((f"has an entry that {fault}" for fault in faults if fault), ""), items


def _convert_mapping(value: Any, key_type: Any, item: Any) -> tuple[str, Any]:
    if not isinstance(value, Mapping):
        return f"has entries key: value, and is not {value!r}", value
    found = {}
    for key, each in value.items():
        fault, _ = _convert(key, key_type)
        if fault:
            known = ", ".join(map(str, get_args(key_type)))
            return f"has entries for {known}, not for {key!r}" if known else f"has a key that {fault}", value
        fault, found[key] = _convert(each, item)
        if fault:
            return f"has an entry {key} that {fault}", value
    return "", found
