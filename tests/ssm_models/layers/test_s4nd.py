"""The kernel of S4ND over several axes: the mean over the tensor ranks, rank-major, from its formula in float64."""

import itertools

import numpy as np
import pytest
import torch
from ssm_models.layers.s4nd import S4NDLayer
from ssm_testing.configs import s4nd_layer_config
from torch import Tensor, nn

H, N = 2, 4


def taps(kernel: nn.Module, L: int) -> np.ndarray:
    """S4D with zero-order hold, ``2 Re sum_n C_n (exp(dt w_n) - 1) / w_n exp(dt w_n l) B_n``: (rows, H, L)."""

    def pairs(value: Tensor) -> np.ndarray:
        return torch.view_as_complex(value.detach()).numpy()

    w = -kernel.A_real.detach().exp().numpy() - 1j * kernel.A_imag.detach().numpy()  # (S, M)
    dt, B, C = kernel.inv_dt.detach().exp().numpy(), pairs(kernel.B).reshape(w.shape), pairs(kernel.C)
    C = C * B * (np.exp(dt * w) - 1) / w
    return 2 * np.einsum("rhm,hml->rhl", C, np.exp((dt * w)[..., None] * np.arange(L))).real


def expected_output(layer: S4NDLayer, u: np.ndarray) -> np.ndarray:
    """The output (B, L1, L2, C, H) before the activation: sums over all pairs of positions.

    Row ``r * C + c`` of an axis's kernel is rank r of channel c. A bidirectional kernel has these rows twice: first
    those for the past and the present, then those for the future, whose first tap belongs to a lag of one step.
    """
    config, C, shape = layer.config, layer.channels, u.shape[1:-1]
    per_axis = []
    for kernel, L in zip(layer.kernel, shape, strict=True):
        k = taps(kernel, L)
        rows = C * config.trank
        lagged = np.zeros((rows, H, 2 * L - 1))  # lag l at index l + L - 1
        lagged[..., L - 1 :] = k[:rows]
        if config.bidirectional:
            lagged[..., : L - 1] = k[rows:, :, : L - 1][..., ::-1]
        per_axis.append(lagged)
    y = np.zeros((*u.shape[:-1], C, H))
    for c in range(C):
        ranks = [[axis[r * C + c] for axis in per_axis] for r in range(config.trank)]
        K = sum(np.einsum("hi,hj->hij", first, second) for first, second in ranks) / config.trank
        for i, j, a, b in itertools.product(*map(range, (*shape, *shape))):
            y[:, i, j, c] += K[:, i - a + shape[0] - 1, j - b + shape[1] - 1] * u[:, a, b]
    return y + layer.D.detach().numpy() * u[..., None, :]


@pytest.mark.parametrize("trank", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_kernel_is_the_mean_over_the_ranks(trank: int, channels: int, bidirectional: bool) -> None:
    torch.manual_seed(0)
    config = s4nd_layer_config(
        kernel="diagonal", disc="zoh", init="diag-lin", d_state=N, dt_min=0.1, dt_max=1.0, trank=trank,
        channels=channels, bidirectional=bidirectional, activation="none", final_act=None,
    )  # fmt: skip
    layer = S4NDLayer(H, config).double()
    u = torch.randn(2, 4, 5, H, dtype=torch.float64)
    expected = expected_output(layer, u.numpy())
    np.testing.assert_allclose(layer(u)[0].detach().numpy(), expected.reshape(*u.shape[:-1], -1), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("trank", [1, 2])
def test_glu_pairs_the_halves_of_the_channels_at_every_rank(trank: int) -> None:
    torch.manual_seed(0)
    config = s4nd_layer_config(
        kernel="diagonal", disc="zoh", init="diag-lin", d_state=N, dt_min=0.1, dt_max=1.0, trank=trank, channels=2,
        activation="glu", final_act=None,
    )  # fmt: skip
    layer = S4NDLayer(H, config).double()
    u = torch.randn(2, 3, 4, H, dtype=torch.float64)
    y = expected_output(layer, u.numpy())
    expected = y[..., :2, :] / (1 + np.exp(-y[..., 2:, :]))
    np.testing.assert_allclose(layer(u)[0].detach().numpy(), expected.reshape(*u.shape[:-1], -1), rtol=1e-9, atol=1e-11)


def test_equal_ranks_are_one_rank() -> None:
    """A layer of rank 2 whose ranks are equal computes what the layer of rank 1 computes."""
    torch.manual_seed(0)
    layers = [S4NDLayer(H, s4nd_layer_config(d_state=N, channels=2, trank=trank)).double() for trank in (1, 2)]
    state = layers[0].state_dict()
    doubled = {key: torch.cat((value, value)) if key.endswith(".C") else value for key, value in state.items()}
    layers[1].load_state_dict(doubled)
    u = torch.randn(2, 4, 5, H, dtype=torch.float64)
    torch.testing.assert_close(layers[1](u)[0], layers[0](u)[0])


@pytest.mark.parametrize("shape", [(7,), (5, 6), (3, 4, 5)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_s4nd_is_a_convolution_over_all_axes(shape: tuple[int, ...], bidirectional: bool) -> None:
    """Against the sum over all pairs of positions, with the kernel's outer products written out."""
    torch.manual_seed(0)
    config = s4nd_layer_config(
        kernel="diagonal", disc="zoh", init="diag-lin", d_state=4, dim=len(shape), trank=2, channels=2,
        bidirectional=bidirectional, activation="none", final_act=None,
    )  # fmt: skip
    H = 2
    layer = S4NDLayer(H, config).double()
    u = torch.randn(2, *shape, H, dtype=torch.float64)
    total = u.unsqueeze(-2).unsqueeze(-2).expand(*u.shape[:-1], 2, 2, H)
    for axis, (L, kernel) in enumerate(zip(shape, layer.kernel, strict=True)):
        k = kernel(L).unflatten(0, (-1, 2, 2)).transpose(1, 2)  # (direction, C, rank, H, L)
        lag = torch.arange(L)[:, None] - torch.arange(L)
        matrix = torch.where(lag >= 0, k[0][..., lag.clamp_min(0)], 0)  # (C, rank, H, L, L)
        if bidirectional:
            matrix = matrix + torch.where(lag < 0, k[1][..., (-lag - 1).clamp_min(0)], 0)
        total = torch.einsum("crhij,...jcrh->...icrh", matrix, total.movedim(axis + 1, -4))
        total = total.movedim(-4, axis + 1)
    expected = (total.mean(-2) + layer.D * u.unsqueeze(-2)).flatten(-2)
    torch.testing.assert_close(layer(u)[0], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["diagonal", "dplr"])
def test_s4nd_at_half_the_resolution(kind: str) -> None:
    """A layer trained on a smooth image, at rate 2 on every second sample of it, also along one axis alone."""
    torch.manual_seed(0)
    config = s4nd_layer_config(
        kernel=kind, d_state=8, init="diag-lin" if kind == "diagonal" else "legs", dt_min=1e-3, dt_max=1e-2,
        activation="none", final_act=None,
    )  # fmt: skip
    layer = S4NDLayer(2, config).double()
    t = torch.linspace(0, 1, 301, dtype=torch.float64)[1:]
    u = (torch.sin(8 * t)[:, None] * torch.cos(5 * t))[None, ..., None] * torch.ones(2, dtype=torch.float64)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        loss = torch.nn.functional.mse_loss(layer(u)[0][:, 30:, 30:], u[:, :-30, :-30])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    fine, _ = layer(u)
    for rate, slices in ((2.0, (slice(1, None, 2),) * 2), ((1.0, 2.0), (slice(None), slice(1, None, 2)))):
        coarse, _ = layer(u[:, slices[0], slices[1]], rate=rate)
        expected = fine[:, slices[0], slices[1]]
        assert (coarse - expected).norm() < 0.03 * expected.norm()
