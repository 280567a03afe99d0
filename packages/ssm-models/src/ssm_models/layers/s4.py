"""The S4 layer: a long convolution for each feature, a nonlinearity, and a map that mixes the features."""

import torch
from ssm_core.backends import full_precision
from ssm_core.ops import long_conv
from ssm_core.recurrence.bank import Recurrence
from torch import Tensor, nn
from torch.nn import functional as F

from ssm_models.config import S4LayerConfig
from ssm_models.contract import SequenceLayer, State, Stepper
from ssm_models.kernels import make_kernel
from ssm_models.kernels.fir import fir_scan, fir_stepper
from ssm_models.modules.activations import ACTIVATIONS
from ssm_models.modules.dropout import dropout
from ssm_models.modules.gated_linear import GatedLinear
from ssm_models.modules.padding import mask_padding


class S4Layer(SequenceLayer):
    """Convolve with an SSM kernel, add the skip, and apply an activation and a map that mixes the features.

    Source: "Efficiently Modeling Long Sequences with Structured State Spaces" (arXiv:2111.00396), figure 1 and section
    3.4; gate and bottleneck follow "Long Range Language Modeling via Gated State Spaces" (arXiv:2206.13947),
    section 3.

    Args:
        d_model: H.
        config: the options of the layer.

    Raises:
        ValueError: the sizes do not fit.
    """

    def __init__(self, d_model: int, config: S4LayerConfig) -> None:
        super().__init__()
        self.config = config
        config.check_width(d_model)
        inner = d_model // (config.bottleneck or 1)
        width = inner * config.channels
        # A gated linear unit has twice as many input channels as output channels.
        channels = config.channels * (2 if config.activation == "glu" else 1)
        self.input_linear = nn.Linear(d_model, inner) if config.bottleneck else None
        self.D = nn.Parameter(torch.randn(channels, inner))
        self.kernel = make_kernel(inner, channels * (2 if config.bidirectional else 1), config.kernel)
        self.drop_kernel = nn.Dropout(config.drop_kernel)
        self.drop = dropout(config.dropout, config.tie_dropout)
        self.input_gate, self.output_gate = None, None
        if config.gate is not None:
            gated = inner * config.gate
            self.input_gate = nn.Linear(inner, gated)
            if gated != width:
                self.output_gate = nn.Linear(width, gated)
            width = gated
        self.output_linear = None
        self.d_output = width
        if config.final_act is not None:
            self.d_output = d_model
            self.output_linear = (GatedLinear if config.final_act == "glu" else nn.Linear)(width, d_model)

    def forward(
        self, u: Tensor, state: State = None, *, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, State]:
        u = self._enter(mask_padding(u, lengths))
        if state is None:
            return self._leave(u, self._convolve(u, rate)), None
        self._refuse_recurrence()
        if lengths is not None:
            raise ValueError("A carried state goes with unpadded chunks: give lengths or a state.")
        if self.config.kernel.l_max is None:
            with full_precision(u):
                y, state = self.kernel.scan(u, state, rate)
        else:
            y, state = fir_scan(u, state, self._cut_kernel(rate))
        return self._leave(u, self._skip(u, y)), state

    def initial_state(self, batch_size: int) -> State:
        self._refuse_recurrence()
        if self.config.kernel.l_max is None:
            return self.kernel.initial_state(batch_size)
        dtype = torch.promote_types(self.D.dtype, torch.float32)
        return self.D.new_zeros(batch_size, self.config.kernel.l_max - 1, self.D.shape[1], dtype=dtype)

    def stepper(self, rate: float = 1.0) -> Stepper:
        self._refuse_recurrence()
        cut = self.config.kernel.l_max is not None
        with full_precision(self.D):
            kernel_step = fir_stepper(self._cut_kernel(rate)) if cut else self.kernel.stepper(rate)

        def step(u: Tensor, state: State) -> tuple[Tensor, State]:
            u = self._enter(u)
            with full_precision(u):
                y, state = kernel_step(u, state)
            return self._leave(u, self._skip(u, y)), state

        return step

    def recurrence(self, rate: float = 1.0) -> Recurrence | None:
        """Return the recurrence of the kernel, for a bank that advances many layers at once.

        Return None if the layer has no such recurrence.
        """
        if self.config.bidirectional or self.config.kernel.l_max is not None:
            return None
        with full_precision(self.D):
            return self.kernel.recurrence(rate)

    def respond(self, u: Tensor, predicted: Tensor, direct: Tensor) -> tuple[Tensor, Tensor]:
        """Run one step of a layer whose recurrence a bank advances.

        Args:
            u: input, real (B, H).
            predicted: output of the recurrence for a zero input, real (B, C, H).
            direct: factor of the input in that output, including the skip, real (C, H).

        Returns:
            Output (B, d_output), and the input of the recurrence (B, H).
        """
        u = self._enter(u)
        y = torch.addcmul(predicted, direct, u.unsqueeze(-2)).to(u.dtype)
        return self._leave(u, y), u

    def why_not_causal(self) -> str:
        return "a bidirectional layer needs the future of its input; set bidirectional=false."

    def _refuse_recurrence(self) -> None:
        if self.config.bidirectional:
            raise ValueError(f"S4Layer carries no state: {self.why_not_causal()}")

    def _enter(self, u: Tensor) -> Tensor:
        return u if self.input_linear is None else self.input_linear(u)

    def _convolve(self, u: Tensor, rate: float) -> Tensor:
        """Map (B, L, H) to (B, L, C, H), including the skip."""
        L = u.shape[1]
        if self.config.kernel.l_max is not None:
            L = min(L, round(self.config.kernel.l_max / rate))
        k = self._kernel(L, rate)
        forward, backward = k.chunk(2) if self.config.bidirectional else (k, None)
        # The skip is added to the tap at lag 0, so that it needs no extra pass over the sequence.
        return long_conv(u, forward + F.pad(self.D.to(k.dtype).unsqueeze(-1), (0, k.shape[-1] - 1)), backward)

    def _skip(self, u: Tensor, y: Tensor) -> Tensor:
        """Add the input (..., H), scaled by D, to the convolution (..., C, H)."""
        return torch.addcmul(y, u.unsqueeze(-2), self.D.to(y.dtype))

    def _cut_kernel(self, rate: float) -> Tensor:
        assert self.config.kernel.l_max is not None
        return self._kernel(round(self.config.kernel.l_max / rate), rate)

    def _kernel(self, L: int, rate: float) -> Tensor:
        with full_precision(self.D):
            return self.drop_kernel(self.kernel(L, rate))

    def _only_gelu(self) -> bool:
        """Return whether a GELU is the only operation between the convolution and the output map."""
        dropped = self.training and self.config.dropout > 0
        return self.config.activation == "gelu" and not dropped and self.input_gate is None

    def _leave(self, u: Tensor, y: Tensor) -> Tensor:
        """Map the convolution with skip to the output.

        Args:
            u: input of the convolution, real (..., H), for the gate.
            y: convolution with skip, real (..., C, H).

        Returns:
            Real (..., d_output).
        """
        config = self.config
        y = (y.mT if config.swap_channels else y).flatten(-2)
        if isinstance(self.output_linear, GatedLinear) and self._only_gelu():
            return self.output_linear(y, of_gelu=True)
        y = self.drop(ACTIVATIONS[config.activation](y))
        if self.input_gate is not None:
            if self.output_gate is not None:
                y = self.output_gate(y)
            gate = ACTIVATIONS[config.gate_act](self.input_gate(u))
            y = ACTIVATIONS[config.mult_act](y * gate)
        if self.output_linear is None or config.final_act is None:
            return y
        y = self.output_linear(y)
        return y if config.final_act == "glu" else ACTIVATIONS[config.final_act](y)
