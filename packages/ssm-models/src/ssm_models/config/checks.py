"""Refusals of bad values, each with a sentence."""

from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints


def require(condition: bool, message: str) -> None:
    """Refuse a configuration with a sentence."""
    if not condition:
        raise ValueError(message)


def require_choices(config: Any) -> None:
    """Refuse a value outside the list that a field's type gives."""
    for name, choices in _choices(config.__class__).items():
        value = getattr(config, name)
        require(value in choices, f"{name} is one of {', '.join(map(str, choices))}, not {value!r}.")


@cache
def _choices(cls: type) -> dict[str, tuple[Any, ...]]:
    """The values of the fields whose type is a Literal, None included where it is allowed."""
    found = {}
    for name, hint in get_type_hints(cls).items():
        literals = [each for each in (hint, *get_args(hint)) if get_origin(each) is Literal]
        if literals and get_origin(hint) is not dict:
            found[name] = get_args(literals[0]) + ((None,) if NoneType in get_args(hint) else ())
    return found


def require_share(name: str, value: float) -> None:
    require(0 <= value < 1, f"{name} is a share from 0 to below 1, not {value}.")


def require_divisible(name: str, value: int, divisor_name: str, divisor: int | None) -> None:
    require(
        divisor is None or value % divisor == 0,
        f"{divisor_name} must divide {name}: {value} is no multiple of {divisor}.",
    )
