"""The decoder of tasks with a target for each position: the next token, forecasting, copying, delay."""

from torch import Tensor, nn


class PositionDecoder(nn.Module):
    """Apply a linear map to each of the last ``l_output`` positions, or to all positions if there are fewer.

    (B, L, H) becomes (B, min(L, l_output), d_output). Padding is on the right and is decoded too; its outputs have no
    targets.

    Args:
        d_model: H.
        d_output: numbers for each position.
        l_output: number of positions.
    """

    def __init__(self, d_model: int, d_output: int, l_output: int) -> None:
        super().__init__()
        self.l_output = l_output
        self.output_transform = nn.Linear(d_model, d_output)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.output_transform(x[:, -self.l_output :])
