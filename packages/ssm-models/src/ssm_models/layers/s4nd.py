"""S4ND: the S4 layer over any number of axes, with one kernel for each axis."""

from collections.abc import Sequence
from typing import cast

import torch
from ssm_core.backends import full_precision
from ssm_core.ops import long_conv
from torch import Tensor, nn

from ssm_models.config import S4NDLayerConfig
from ssm_models.contract import SequenceLayer, State
from ssm_models.kernels import make_kernel
from ssm_models.kernels.base import Kernel
from ssm_models.modules.activations import ACTIVATIONS
from ssm_models.modules.dropout import dropout


class S4NDLayer(SequenceLayer):
    """Convolve all axes of (B, L1, ..., Ld, H) with the mean of ``trank`` outer products of one-dimensional kernels.

    The convolution with each outer product runs along one axis after another. Row ``r * C + c`` of the kernel of an
    axis belongs to rank r of channel c, for C channels.

    Source: "S4ND: Modeling Images and Videos as Multidimensional Signals Using State Spaces"
    (arXiv:2210.06583), section 3. The mean over the ranks, and the order of the ranks in the rows, follow the authors'
    code.

    Args:
        d_model: H.
        config: the options of the layer.
    """

    def __init__(self, d_model: int, config: S4NDLayerConfig) -> None:
        super().__init__()
        config.check_width(d_model)
        self.config = config
        self.channels = config.channels * (2 if config.activation == "glu" else 1)
        self.D = nn.Parameter(torch.randn(self.channels, d_model))
        rows = self.channels * config.trank * (2 if config.bidirectional else 1)
        kernels = [make_kernel(d_model, rows, config.axis(i)) for i in range(config.dim)]
        self.kernel = cast(Sequence[Kernel], nn.ModuleList(kernels))
        self.drop_kernel = nn.Dropout(config.drop_kernel)
        self.drop = dropout(config.dropout, config.tie_dropout)
        width = d_model * config.channels
        self.output_linear = None
        self.d_output = width
        if config.final_act is not None:
            self.d_output = d_model
            self.output_linear = nn.Linear(width, d_model * (2 if config.final_act == "glu" else 1))

    def forward(
        self,
        u: Tensor,
        state: State = None,
        *,
        lengths: Tensor | None = None,
        rate: float | Sequence[float] = 1.0,
    ) -> tuple[Tensor, None]:
        """Convolve ``u``; see :meth:`SequenceLayer.forward`.

        Args:
            u: (B, L1, ..., Ld, H), real.
            state: must be None: the layer has no state.
            lengths: must be None: several axes have no common length.
            rate: sampling interval, see the contract; one number for all axes, or one for each axis.

        Returns:
            y (B, L1, ..., Ld, d_output), and None for the state.

        Raises:
            ValueError: a state or lengths are given, or ``u`` has another number of axes.
        """
        self.refuse_state(state)
        config = self.config
        if lengths is not None:
            raise ValueError("S4NDLayer takes no lengths: several axes have no common length. Leave lengths out.")
        if u.ndim != config.dim + 2:
            raise ValueError(
                f"S4NDLayer with dim={config.dim} takes an input (B, L1, ..., Ld, H) of {config.dim + 2} axes, "
                f"not {tuple(u.shape)}."
            )
        rates = [rate] * config.dim if isinstance(rate, int | float) else list(rate)
        y = u.unsqueeze(-2).expand(*u.shape[:-1], self.channels * config.trank, u.shape[-1])
        for axis, kernel in enumerate(self.kernel):
            y = self._convolve(y, axis, kernel, rates[axis])
        y = y.unflatten(-2, (config.trank, self.channels)).mean(-3)
        y = torch.addcmul(y, u.unsqueeze(-2), self.D.to(y.dtype)).flatten(-2)
        y = self.drop(ACTIVATIONS[config.activation](y))
        if self.output_linear is not None and config.final_act is not None:
            y = ACTIVATIONS[config.final_act](self.output_linear(y))
        return y, None

    def why_not_causal(self) -> str:
        return "its axes are axes of space, which have no order in time."

    def _convolve(self, y: Tensor, axis: int, kernel: Kernel, rate: float) -> Tensor:
        """Convolve y (B, L1, ..., Ld, R C, H) along one axis; each of the R C H features has its own kernel."""
        y = y.movedim(axis + 1, -3)
        L = y.shape[-3]
        K = L if self.config.size is None else min(L, round(self.config.size[axis] / rate))
        with full_precision(y):
            k = self.drop_kernel(kernel(K, rate))
        backward = None
        if self.config.bidirectional:
            k, backward = k.chunk(2)
            backward = backward.flatten(0, 1).unsqueeze(0)
        out = long_conv(y.flatten(-2).flatten(0, -3), k.flatten(0, 1).unsqueeze(0), backward)
        return out.view(y.shape).movedim(-3, axis + 1)
