"""The shared comparison of tensors finds a difference, and names where it is."""

import pytest
import torch
from ssm_testing.close import assert_close


def test_equal_values_pass() -> None:
    x = torch.randn(2, 3)
    assert_close({"a": (x, None, 3)}, {"a": (x + 1e-9, None, 3)}, 1e-6, "state")
    assert_close(torch.full((2,), 1e-3), torch.full((2,), 1.1e-3), 1e-3)  # the floor is 1
    assert_close(torch.zeros(0), torch.zeros(0), 0.0)


@pytest.mark.parametrize(
    ("actual", "expected", "sentence"),
    [
        (
            {"a": [torch.ones(2)]},
            {"a": [torch.tensor([1.0, 2.0])]},
            r"state\['a'\]\[0\] differs by 1.00e\+00 at \(1,\)",
        ),
        (torch.ones(2), torch.ones(3), r"state has shape \(2,\), not \(3,\)"),
        ((torch.ones(1), 2), (torch.ones(1), 3), r"state\[1\] is 2 instead of 3"),
        ((torch.ones(1),), (torch.ones(1), 3), "state has 1 entries instead of 2"),
        ({"a": 1}, {"b": 1}, "state has other keys"),
        (torch.tensor([float("nan")]), torch.ones(1), "state differs by nan"),
    ],
)
def test_a_difference_is_named(actual: object, expected: object, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        assert_close(actual, expected, 1e-6, "state")
