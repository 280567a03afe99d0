"""Ranges of the options of data sets: each option declares its range, and :func:`check` checks all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

#: Maximum sequence length and maximum vocabulary size that an option may ask for.
MOST_STEPS = 10_000_000


@dataclass(frozen=True)
class Range:
    """Range of values of a numeric field; a field declares it as ``Annotated[int, Range(1)]``.

    Attributes:
        least, most: inclusive bounds.
        above, below: exclusive bounds.
    """

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float | np.number):
            return False
        return bool(self.least <= value <= self.most and self.above < value < self.below)

    def __str__(self) -> str:
        words = (("above", self.above), ("at least", self.least), ("at most", self.most), ("below", self.below))
        said = " and ".join(f"{word} {_written(bound)}" for word, bound in words if math.isfinite(bound))
        return f"of {said}" if said.startswith("at") else said


Seed = Annotated[int, Range(0, 2**63 - 1)]
Length = Annotated[int, Range(1, MOST_STEPS)]
#: Length of a text; the minimum is one symbol and the end symbol.
TextLength = Annotated[int, Range(2, MOST_STEPS)]
Side = Annotated[int, Range(1, 4096)]


def check(options: Any) -> None:
    """Check every field of an options dataclass against its type and its range.

    A number must be finite and lie in the :class:`Range` of its field; a ``Literal`` must have one of its values.

    Raises:
        ValueError: a value is out of range or has another type.
    """
    hints = _hints(type(options))  # type: ignore[arg-type]
    for field in fields(options):
        hint = hints[field.name]
        if (fault := _fault(getattr(options, field.name), hint)) is not None:
            raise ValueError(f"{field.name} is {getattr(options, field.name)!r}; it must be {fault}.")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _fault(value: Any, hint: Any) -> str | None:
    """Return a description of the allowed values, or None if the value is allowed."""
    if get_origin(hint) is Literal:
        allowed = get_args(hint)
        right = any(type(value) is type(each) and value == each for each in allowed)
        return None if right else f"one of {', '.join(map(str, allowed))}"
    base, *bounds = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if base is bool:
        return None if isinstance(value, bool) else "true or false"
    if base in (int, float):
        kind, name = (Integral, "a whole number") if base is int else (Real, "a finite number")
        right = isinstance(value, kind) and not isinstance(value, bool)
        right = right and (isinstance(value, Integral) or math.isfinite(value))
        if right and all(value in bound for bound in bounds):
            return None
        return " ".join([name, *map(str, bounds)])
    return None


def _written(bound: float) -> str:
    return f"{int(bound):,}" if bound == int(bound) else f"{bound:,g}"
