"""The uses of private parts of torch in ssm-core; ``tests/ssm_core/test_torch_internals.py`` guards them."""

from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])


def constant_when_compiled(function: Function) -> Function:
    """Let ``torch.compile`` call a function once, while it traces, and keep the result.

    This does what ``torch.compiler.assume_constant_result`` does, but without its import of the compiler, which takes
    seconds.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
