"""The contract of every layer and backbone.

A causal layer computes one function in three forms that agree: ``forward`` over a whole sequence,
``forward`` over consecutive chunks with the state handed on, and ``step`` over single samples.
The state is an explicit value: a tensor or a tuple of states.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

State = Any
"""A tensor, or a tuple of states; None where a layer carries nothing."""
Stepper = Callable[[Tensor, State], tuple[Tensor, State]]
"""Maps a sample (B, H) and a state to the output (B, H) and the next state."""


class SequenceLayer(nn.Module):
    """Base of layers and backbones that map (B, L, d_model) to (B, L, d_output)."""

    d_output: int

    def forward(
        self, u: Tensor, state: State = None, *, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, State]:
        """Run over a sequence.

        Args:
            u: input (B, L, H).
            state: the state before the first sample, or None for rest. The state after the last one is
                returned only where one was given: a plain forward does not pay for it.
            lengths: integers (B,); what lies beyond a sequence's length counts as zero.
            rate: the input's sampling interval in units of the one that the layer was trained at (2 for
                every second sample).

        Returns:
            Output (B, L, d_output) and the next state or None.
        """
        raise NotImplementedError

    def initial_state(self, batch_size: int) -> State:
        """The state at rest."""
        raise NotImplementedError(f"{type(self).__name__} cannot step: {self.why_not_causal()}")

    def stepper(self, rate: float = 1.0) -> Stepper:
        """The recurrence with all that does not change between steps computed once."""
        raise NotImplementedError(f"{type(self).__name__} cannot step: {self.why_not_causal()}")

    def step(self, u: Tensor, state: State, *, rate: float = 1.0) -> tuple[Tensor, State]:
        """One sample: ``u`` (B, H) and a state to the output (B, d_output) and the next state.

        For many samples, keep a :meth:`stepper`.
        """
        return self.stepper(rate)(u, state)

    def why_not_causal(self) -> str:
        """The sentence that tells why the layer has no recurrent form."""
        return "it defines no recurrence."

    def refuse_state(self, state: State) -> None:
        if state is not None:
            raise ValueError(f"{type(self).__name__} carries no state: {self.why_not_causal()}")
