"""The contract of a kernel: one linear system a feature, in convolutional and recurrent form."""

from torch import Tensor, nn

from ssm_models.layers.base import State, Stepper


class Kernel(nn.Module):
    """A linear system for each of H features, with C outputs each.

    The layer adds the skip D and everything nonlinear.
    """

    def forward(self, L: int, rate: float = 1.0) -> Tensor:
        """The kernel (C, H, L)."""
        raise NotImplementedError

    def initial_state(self, batch_size: int) -> State:
        """The state at rest."""
        raise NotImplementedError

    def scan(self, u: Tensor, state: State, rate: float = 1.0) -> tuple[Tensor, State]:
        """The response (B, L, C, H) to ``u`` (B, L, H) from a state, and the state after it."""
        raise NotImplementedError

    def stepper(self, rate: float = 1.0) -> Stepper:
        """The recurrence: ``u`` (B, H) and a state to the output (B, C, H) and the next state."""
        raise NotImplementedError
