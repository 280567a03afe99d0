"""The decoder of tasks with a target for each position: next token, forecasting, copying, delay."""

from torch import Tensor, nn


class PositionDecoder(nn.Module):
    """A linear map of each of the last ``l_output`` positions, or of all where there are fewer.

    (B, L, H) to (B, min(L, l_output), d_output). Padding is on the right, so it is decoded too: its outputs have no
    targets.
    """

    def __init__(self, d_model: int, d_output: int, l_output: int) -> None:
        super().__init__()
        self.l_output = l_output
        self.output_transform = nn.Linear(d_model, d_output)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.output_transform(x[:, -self.l_output :])
