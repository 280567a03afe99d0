"""The recurrences of many layers advanced together, for models that step through layers one after another.

The next output of a layer is the sum of two parts: one depends only on the state, the other is a multiple of the next
input. The same holds for the next state. The first parts are computed for all layers together, before any input is
known. The states are completed for all layers together, after the last layer. So a step needs a few calls for all
layers together, and one call for each layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssm_core.complex import cmul
from ssm_core.products import einsum
from ssm_core.real_form import row


@dataclass(frozen=True)
class Recurrence:
    """``x' = A_bar x + B_bar u`` and ``y = 2 Re sum_m C x'``, with ``A_bar x = diagonal x - left 2 Re sum_m right x``.

    Attributes:
        diagonal: complex (H, M, 2).
        left: complex (R, H, M, 2); R = 0 for a diagonal system.
        right: complex (R, H, M, 2).
        B: B_bar, complex (H, M, 2).
        C: complex (C, H, M, 2).
    """

    diagonal: Tensor
    left: Tensor
    right: Tensor
    B: Tensor
    C: Tensor

    @property
    def sizes(self) -> tuple[int, ...]:
        """(R, C, H, M): recurrences whose sizes are equal go into one bank."""
        return len(self.left), *self.C.shape[:-1]


class Bank:
    """Recurrences of equal sizes.

    Attributes:
        direct: the factor of an input in the output of the same step, real (C, H) for each recurrence.

    Args:
        recurrences: K recurrences of equal sizes.
    """

    def __init__(self, recurrences: Sequence[Recurrence]) -> None:
        diagonal, left, right, B, C = (
            torch.stack([getattr(each, name) for each in recurrences])
            for name in ("diagonal", "left", "right", "B", "C")
        )
        self._diagonal = torch.view_as_complex(diagonal).unsqueeze(1)  # (K, 1, H, M)
        left, right, C_rows, B = left.flatten(-2), row(right), row(C), B.flatten(-2)  # (K, [R or C,] H, N)
        C_left = einsum("kchn,krhn->kcrh", C_rows, left)
        after = row(cmul(C, diagonal.unsqueeze(1))) - einsum("kcrh,krhn->kchn", C_left, right)  # C A_bar
        self._rows = torch.cat((after, right), 1).unsqueeze(1)  # (K, 1, C + R, H, N)
        self._left, self._B = left.unsqueeze(2).unbind(1), B.unsqueeze(1)
        self.direct = einsum("kchn,khn->kch", C_rows, B).unbind()

    def predict(self, states: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the outputs and the states of the next step for inputs of zero.

        Args:
            states: complex (B, H, M, 2) for each recurrence.

        Returns:
            Outputs (B, C, H) for each recurrence, and the states (K, B, H, N).
        """
        x = torch.stack(tuple(states))
        # Sums of elementwise products, because matrix products might round to TF32.
        seen = (self._rows * x.flatten(-2).unsqueeze(2)).sum(-1)
        predicted, inner = seen.tensor_split((seen.shape[2] - len(self._left),), 2)
        moved = torch.view_as_real(torch.view_as_complex(x) * self._diagonal).flatten(-2)
        for left, each in zip(self._left, inner.unsqueeze(-1).unbind(2), strict=True):
            moved = torch.addcmul(moved, left, each, value=-1)
        return predicted.unbind(), moved

    def advance(self, moved: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the next states, complex (B, H, M, 2) for each recurrence.

        Args:
            moved: the states that :meth:`predict` returned.
            inputs: the inputs of the step, real (B, H) for each recurrence.
        """
        u = torch.stack(tuple(inputs)).to(moved.dtype).unsqueeze(-1)
        return torch.addcmul(moved, self._B, u).unflatten(-1, (-1, 2)).unbind()
