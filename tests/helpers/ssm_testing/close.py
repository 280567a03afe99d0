"""Comparison of tensors, and of what is made of tensors."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def assert_close(actual: Any, expected: Any, tolerance: float, name: str = "the tensor", *, floor: float = 1.0) -> None:
    """Assert that two values agree; the message names the tensor that does not.

    Args:
        actual: a tensor or an array, or a list, tuple or mapping of such; numbers and None must be equal.
        expected: of the same structure.
        tolerance: largest difference, as a share of the largest magnitude of the expected tensor.
        name: of the value; an entry of a list or mapping adds its index or key.
        floor: the largest magnitude counts as this at least; 0 for a strictly relative comparison.
    """
    if isinstance(expected, Mapping):
        assert actual.keys() == expected.keys(), f"{name} has other keys"
        for key in expected:
            assert_close(actual[key], expected[key], tolerance, f"{name}[{key!r}]", floor=floor)
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected), f"{name} has {len(actual)} entries instead of {len(expected)}"
        for i, (one, other) in enumerate(zip(actual, expected, strict=True)):
            assert_close(one, other, tolerance, f"{name}[{i}]", floor=floor)
    elif isinstance(expected, Tensor | np.ndarray):
        _assert_close(torch.as_tensor(actual).detach(), torch.as_tensor(expected).detach(), tolerance, name, floor)
    else:
        assert actual == expected, f"{name} is {actual!r} instead of {expected!r}"


def _assert_close(actual: Tensor, expected: Tensor, tolerance: float, name: str, floor: float) -> None:
    assert actual.shape == expected.shape, f"{name} has shape {tuple(actual.shape)}, not {tuple(expected.shape)}"
    if not expected.numel():
        return
    wide = torch.complex128 if expected.is_complex() or actual.is_complex() else torch.float64
    actual, expected = actual.to(wide), expected.to(wide)
    difference = (actual - expected).abs()
    error, scale = difference.max().item(), max(floor, expected.abs().max().item())
    where = tuple(map(int, np.unravel_index(int(difference.argmax()), tuple(difference.shape) or (1,))))
    assert error <= tolerance * scale, (
        f"{name} differs by {error:.2e} at {where}, more than {tolerance:.0e} of its largest magnitude {scale:.2e}"
    )
