"""The contract of a kernel: one linear system a feature, in convolutional and recurrent form."""

from typing import Literal

from ssm_core.recurrence.bank import Recurrence
from torch import Tensor, nn

from ssm_models.config import KernelConfig
from ssm_models.contract import State, Stepper
from ssm_models.parameters import register


class Kernel(nn.Module):
    """A linear system for each of H features, with C outputs each.

    The layer adds the skip D and everything nonlinear.

    Args:
        d_model: H.
        config: the options; ``kernel`` is not looked at.
    """

    def __init__(self, d_model: int, config: KernelConfig) -> None:
        super().__init__()
        self.d_model = d_model
        self.config = config
        self.copies = config.n_ssm or d_model
        if d_model % self.copies:
            raise ValueError(f"n_ssm must divide d_model: {d_model} is no multiple of {self.copies}.")

    def _register(self, name: str, value: Tensor, group: Literal["A", "B", "C", "dt"]) -> None:
        """A parameter with the learning rate and weight decay that the options give its group."""
        register(self, name, value, lr=self.config.lr.get(group), wd=self.config.wd.get(group))

    def forward(self, L: int, rate: float = 1.0) -> Tensor:
        """The kernel (C, H, L)."""
        raise NotImplementedError

    def initial_state(self, batch_size: int) -> State:
        """The state at rest."""
        raise NotImplementedError

    def scan(self, u: Tensor, state: State, rate: float = 1.0) -> tuple[Tensor, State]:
        """The response (B, L, C, H) to ``u`` (B, L, H) from a state, and the state after it."""
        raise NotImplementedError

    def recurrence(self, rate: float = 1.0) -> Recurrence | None:
        """The recurrence as numbers, where it is diagonal or diagonal plus low-rank."""
        return None

    def stepper(self, rate: float = 1.0) -> Stepper:
        """The recurrence: ``u`` (B, H) and a state to the output (B, C, H) and the next state."""
        raise NotImplementedError
