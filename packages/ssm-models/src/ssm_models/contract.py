"""The contract of every layer and backbone.

A causal layer computes one function in three forms that agree: ``forward`` over a whole sequence,
``forward`` over consecutive chunks with the state passed from chunk to chunk, and ``step`` over single samples.
The state is an explicit value: a tensor or a tuple of states.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

#: A tensor, or a tuple of states; None for a layer without a state.
State = Any
#: A function that maps a sample (B, H) and a state to the output (B, H) and the next state.
Stepper = Callable[[Tensor, State], tuple[Tensor, State]]


class SequenceLayer(nn.Module):
    """Base of layers and backbones that map (B, L, d_model) to (B, L, d_output)."""

    d_output: int

    def forward(
        self, u: Tensor, state: State = None, *, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, State]:
        """Run over a sequence.

        Args:
            u: input, real (B, L, H).
            state: the state before the first sample; None for a sequence that starts from zero. The state after the
                last sample is returned only if a state is given here, because its computation costs time.
            lengths: integers (B,); positions beyond the length of a sequence count as zero.
            rate: the sampling interval of the input, in units of the interval that the layer was trained at: 2 if the
                input holds every second sample.

        Returns:
            Output (B, L, d_output), and the next state or None.
        """
        raise NotImplementedError

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first sample of a sequence.

        Raises:
            NotImplementedError: the layer cannot step; the message says why.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot step: {self.why_not_causal()}")

    def stepper(self, rate: float = 1.0) -> Stepper:
        """Return the recurrence as a function of a sample and a state.

        This method computes once everything that does not change between steps.

        Raises:
            NotImplementedError: the layer cannot step; the message says why.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot step: {self.why_not_causal()}")

    def step(self, u: Tensor, state: State, *, rate: float = 1.0) -> tuple[Tensor, State]:
        """Run one step.

        For many samples, call :meth:`stepper` once and use the function that it returns.

        Args:
            u: one sample, real (B, H).
            state: the state before it.
            rate: see :meth:`forward`.

        Returns:
            Output (B, d_output), and the next state.
        """
        return self.stepper(rate)(u, state)

    def why_not_causal(self) -> str:
        """Return why the layer has no recurrent form, as the end of a sentence."""
        return "it defines no recurrence."

    def refuse_state(self, state: State) -> None:
        """Raise an error if a state is given to a layer that has none.

        Raises:
            ValueError: the state is not None.
        """
        if state is not None:
            raise ValueError(f"{type(self).__name__} carries no state: {self.why_not_causal()}")
