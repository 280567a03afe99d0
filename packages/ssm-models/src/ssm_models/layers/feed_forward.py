"""The position-wise network between the sequence layers of SaShiMi."""

from torch import Tensor, nn
from torch.nn import functional as F

from ssm_models.contract import SequenceLayer, State, Stepper
from ssm_models.modules.dropout import dropout


class FeedForward(SequenceLayer):
    """Map each sample u to ``W2 gelu(W1 u)`` separately, so that there is no state.

    Args:
        d_model: H.
        expand: the hidden width is ``expand`` H.
        p_dropout: dropout probability of the hidden features.
        tied: whether all positions share one mask.
    """

    def __init__(self, d_model: int, expand: int, p_dropout: float, tied: bool) -> None:
        super().__init__()
        self.d_output = d_model
        self.hidden = nn.Linear(d_model, expand * d_model)
        self.drop = dropout(p_dropout, tied)
        self.output_linear = nn.Linear(expand * d_model, d_model)

    def forward(
        self, u: Tensor, state: State = None, *, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, State]:
        return self.output_linear(self.drop(F.gelu(self.hidden(u)))), None

    def initial_state(self, batch_size: int) -> State:
        return None

    def stepper(self, rate: float = 1.0) -> Stepper:
        return self.forward
