"""The HiPPO-RNN: a recurrent network that writes a signal into a HiPPO memory."""

import torch
from ssm_core.discretize import bilinear_dense, zoh_dense
from ssm_core.hippo import transition
from ssm_core.products import bmm
from torch import Tensor, nn

from ssm_models.config import HiPPORNNLayerConfig
from ssm_models.contract import SequenceLayer, State, Stepper
from ssm_models.modules.padding import mask_padding


class HiPPORNNLayer(SequenceLayer):
    """A recurrent layer with a hidden state h, a memory m of S signals in order N, and linear maps of the input x.

    Each sample writes ``f = W_uxh [x, h]`` into the memory, ``m += A m + B f``, and updates
    ``h = (1 - g) h + g tanh(W_hxm [x, m])`` with the gate ``g = sigmoid(W_gxm [x, m])``, as a GRU with one gate does.
    ``gate="lstm"`` gives the update of an LSTM, ``c = f c + i tanh(W_hxm [x, m])`` and ``h = o tanh(c)``, with
    three such gates i, f and o.

    A and B hold the discretised change of a step. The change of LegS depends on the elapsed time, so LegS has one pair
    for each sample up to ``l_max``. It uses the last pair for all later samples, and the first sample fills the memory
    with a constant. The state is (h, m, number of samples); for an LSTM it is (h, c, m, number of samples).

    Source: "HiPPO: Recurrent Memory with Optimal Polynomial Projections" (arXiv:2008.07669), section 3 and appendix
    F.2.

    Args:
        d_model: H, the width of the hidden state and of the output.
        config: the options of the layer.
        d_input: width of the input; None: H.
    """

    A: Tensor  # (N, N), or (l_max, N, N) for LegS
    B: Tensor  # (N, 1), or (l_max, N, 1)

    def __init__(self, d_model: int, config: HiPPORNNLayerConfig, d_input: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.d_output = d_model
        d_input = d_input or d_model
        A, B = _changes(config, 1.0)
        self.register_buffer("A", A.to(torch.get_default_dtype()))
        self.register_buffer("B", B.to(torch.get_default_dtype()))
        seen = d_input + config.memory_size * config.memory_order
        self.W_uxh = nn.Linear(d_input + d_model, config.memory_size)
        self.W_hxm = nn.Linear(seen, d_model)
        gates = {"none": 0, "gru": 1, "lstm": 3}[config.gate]
        self.W_gxm = nn.Linear(seen, gates * d_model) if gates else None

    def forward(
        self, u: Tensor, state: State = None, *, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, State]:
        step = self.stepper(rate)
        carried = self.initial_state(len(u)) if state is None else state
        outputs = []
        for sample in mask_padding(u, lengths).unbind(1):
            y, carried = step(sample, carried)
            outputs.append(y)
        return torch.stack(outputs, 1), None if state is None else carried

    def initial_state(self, batch_size: int) -> State:
        hidden = [self.A.new_zeros(batch_size, self.d_output)] * (2 if self.config.gate == "lstm" else 1)
        return *hidden, self.A.new_zeros(batch_size, self.config.memory_size, self.config.memory_order), 0

    def stepper(self, rate: float = 1.0) -> Stepper:
        A, B = self.A, self.B
        if rate != 1.0:
            A, B = (each.to(A) for each in _changes(self.config, rate))
        scaled = self.config.measure == "legs"

        def step(x: Tensor, state: State) -> tuple[Tensor, State]:
            h, *cell, m, t = state
            f = self.W_uxh(torch.cat((x, h), -1)).unsqueeze(-1).to(m.dtype)
            if scaled and t == 0:
                m = torch.cat((f, f.new_zeros(*f.shape[:-1], m.shape[-1] - 1)), -1)
            else:
                i = min(t, len(A)) - 1 if scaled else ...
                m = m + _map(m, A[i]) + _map(f, B[i])
            seen = torch.cat((x, m.flatten(1)), -1)
            candidate = torch.tanh(self.W_hxm(seen))
            if self.W_gxm is None:
                h = candidate
            elif cell:
                i, f, o = torch.sigmoid(self.W_gxm(seen)).chunk(3, -1)
                cell = [f * cell[0] + i * candidate]
                h = o * torch.tanh(cell[0])
            else:
                h = h + torch.sigmoid(self.W_gxm(seen)) * (candidate - h)
            return h, (h, *cell, m, t + 1)

        return step


def _map(x: Tensor, A: Tensor) -> Tensor:
    """Return ``A x`` for each x of (B, S, n), in full precision."""
    return bmm(x.flatten(0, 1)[None], A.mT[None]).view(*x.shape[:-1], len(A))


def _changes(config: HiPPORNNLayerConfig, rate: float) -> tuple[Tensor, Tensor]:
    """Return A_bar - I and B_bar, float64. LegS has no unit of time, so its matrices do not depend on the rate."""
    N = config.memory_order
    A, B = transition(config.measure, N)
    if config.measure == "legs":
        t = torch.arange(1, config.l_max + 1, dtype=torch.float64)
        A_bar, B_bar = bilinear_dense(A, B, 1 / t)
    else:
        A_bar, B_bar = zoh_dense(A, B, config.dt * rate)
    return A_bar - torch.eye(N, dtype=torch.float64), B_bar.unsqueeze(-1)
