"""Dropout over (B, L, H), optionally with one mask for all positions."""

from torch import Tensor, nn
from torch.nn import functional as F


class TiedDropout(nn.Module):
    """Drop whole features of (B, ..., H): all positions of an example share one mask.

    Args:
        p: probability that a feature is dropped.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        mask = F.dropout(x.new_ones(x.shape[0], *[1] * (x.ndim - 2), x.shape[-1]), self.p)
        return x * mask

    def extra_repr(self) -> str:
        return f"p={self.p}"


def dropout(p: float, tied: bool) -> nn.Module:
    """Return a dropout over (B, L, H).

    Args:
        p: probability of each drop.
        tied: whether all positions share one mask.
    """
    if p == 0:
        return nn.Identity()
    return TiedDropout(p) if tied else nn.Dropout(p)
