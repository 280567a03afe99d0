"""The contract of a kernel: one linear system for each feature, in convolutional and recurrent form."""

from typing import Any

from ssm_core.recurrence.bank import Recurrence
from torch import Tensor, nn

from ssm_models.config import KernelConfig
from ssm_models.config.kernels import Group
from ssm_models.contract import State, Stepper
from ssm_models.parameters import register


class Kernel(nn.Module):
    """A linear system for each of H features, with C outputs for each.

    The layer adds the skip D and the nonlinearities. A subclass is constructed as ``Kernel(d_model, channels,
    config)``.

    Args:
        d_model: H.
        config: the options of the kernel.

    Raises:
        ValueError: the number of features does not fit the options.
    """

    config: Any

    def __init__(self, d_model: int, config: KernelConfig) -> None:
        super().__init__()
        config.check_width(d_model)
        self.d_model = d_model
        self.config = config

    def _register(self, name: str, value: Tensor, group: Group) -> None:
        """Add a parameter with the learning rate and weight decay that the options give its group."""
        register(self, name, value, lr=self.config.lr.get(group), wd=self.config.wd.get(group))

    def forward(self, L: int, rate: float = 1.0) -> Tensor:
        """Return the kernel, real (C, H, L).

        Args:
            L: number of taps.
            rate: sampling interval, see :meth:`ssm_models.contract.SequenceLayer.forward`.
        """
        raise NotImplementedError

    def initial_state(self, batch_size: int) -> State:
        """Return the initial state, which is zero."""
        raise NotImplementedError

    def scan(self, u: Tensor, state: State, rate: float = 1.0) -> tuple[Tensor, State]:
        """Run over a chunk.

        Args:
            u: input, real (B, L, H).
            state: the state before the first sample.
            rate: sampling interval.

        Returns:
            The response (B, L, C, H), and the state after the last sample.
        """
        raise NotImplementedError

    def recurrence(self, rate: float = 1.0) -> Recurrence | None:
        """Return the tensors of the recurrence if it is diagonal or diagonal plus low-rank; None otherwise."""
        return None

    def stepper(self, rate: float = 1.0) -> Stepper:
        """Return a function that maps a sample ``u`` (B, H) and a state to the output (B, C, H) and the next state."""
        raise NotImplementedError
