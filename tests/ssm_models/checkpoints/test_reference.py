"""Settings and parameters in the words of the S4 authors' code become our layers."""

from typing import Any

import pytest
import torch
from ssm_models.checkpoints.reference import layer_config, parameters
from ssm_models.layers.s4 import S4Layer
from torch import Tensor

HIPPO = ("legs", "legsd", "lagt", "fourier", "fout", "fourier_diag", "foud", "fourier_decay", "fourier2")
DIAGONAL = ("lin", "inv", "inv2", "quad", "legs", "hippo", "real", "rand", "linear", "inverse", "quadratic")
SETTINGS: list[dict[str, Any]] = [
    {},
    {"mode": "conv", "l_max": 20, "channels": 2},
    {"mode": "ema", "d_state": 3, "channels": 2},
    {"mode": "ema", "d_state": 3, "dt_tie": True, "bidirectional": True, "efficient_bidirectional": True},
    *({"mode": mode, "init": "legs"} for mode in ("dense", "slow", "real")),
    *({"mode": mode, "init": init, "rank": 1} for mode in ("nplr", "s4", "diag", "s4d") for init in HIPPO),
    *({"mode": "diag", "init": f"diag-{name}"} for name in DIAGONAL),
    *({"mode": "dplr", "init": f"dplr-{name}", "rank": 2, "init_args": {"P_scale": 0.1}} for name in DIAGONAL),
    *({"mode": mode, "init": init, "n_ssm": 4} for mode in ("nplr", "diag") for init in ("hippo", "diag", "all")),
    *({"mode": mode, "init": "legt", "rank": 2} for mode in ("nplr", "diag")),
    *(
        {"mode": "diag", "init": "diag-lin", "init_args": {"B_init": kind}}
        for kind in ("constant", "random", "alternating", "unit-cw", "unit-ccw", "hippo")
    ),
    {
        "mode": "diag",
        "init": "diag-inv",
        "init_args": {
            "real_random": True, "real_scale": 2.0, "imag_random": True, "imag_scale": 0.5, "B_scale": 3.0,
            "normalize": True,
        },
    },
    {"init": "legs", "init_args": {"B_clip": None, "dtype": torch.float32, "diagonalize_precision": True}},
    {"init": None, "measure": "lagt", "disc": "zoh"},
    {"final_act": None, "postact": "glu"},
    {"activation": "id", "final_act": "id", "swap_channels": True, "channels": 2},
    {"gate": 2, "gate_act": "id", "mult_act": "gelu", "bottleneck": 2, "drop_kernel": 0.2, "dropout": 0.1},
    {"mode": "diag", "init": "diag-lin", "dt_fast": True, "deterministic": True},
    {"mode": "diag", "init": "diag-lin", "real_transform": "softplus", "imag_transform": "exp", "bandlimit": 0.5},
    {"mode": "diag", "init": "diag-real", "is_real": True},
    {"mode": "nplr", "init": "fourier", "dt_tie": False, "dt_transform": "softplus", "bandlimit": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_every_setting_that_works_there_works_here(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = S4Layer(8, layer_config({"d_state": 8, **settings}))
    u = torch.randn(2, 20, 8)
    y, _ = layer(u)
    y.square().mean().backward()
    assert y.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
    if not settings.get("bidirectional"):
        layer.eval()
        chunks, state = [], layer.initial_state(2)
        for chunk in u.split([7, 13], 1):
            part, state = layer(chunk, state)
            chunks.append(part)
        torch.testing.assert_close(torch.cat(chunks, 1), layer(u)[0], rtol=1e-3, atol=1e-3)


MODES = ("dplr", "diag", "dense", "real", "ema", "conv")
DIAGONAL_INITS = ("diag", "all", *(f"{family}-{name}" for family in ("diag", "dplr") for name in DIAGONAL))
KERNEL_OPTIONS: dict[str, Any] = {
    "d_state": 4, "channels": 2, "bidirectional": True, "rank": 3, "dt_min": 0.01, "dt_max": 0.2, "dt_tie": False,
    "dt_transform": "softplus", "n_ssm": 4, "lr": {"dt": 0.01, "A": 0.0}, "wd": 0.1, "real_transform": "relu",
    "imag_transform": "exp", "disc": "bilinear", "dt_fast": True, "bandlimit": 0.5, "is_real": True,
    "deterministic": True, "backend": "naive", "l_max": 9, "drop_kernel": 0.2, "verbose": False,
}  # fmt: skip
OF_DIAGONALS: dict[str, Any] = {
    "real_random": True, "real_scale": 2.0, "imag_random": True, "imag_scale": 0.5, "B_init": "alternating",
    "B_scale": 3.0, "P_scale": 0.1, "normalize": True,
}  # fmt: skip
OF_HIPPO = {"B_clip": 1.0, "dtype": torch.float64, "diagonalize_precision": False}
OF_THE_LAYER: dict[str, Any] = {
    "activation": "relu", "final_act": "id", "dropout": 0.1, "tie_dropout": True, "gate_act": "gelu",
    "mult_act": "gelu", "swap_channels": True, "gate": 2, "bottleneck": 2,
}  # fmt: skip
EVERY_OPTION = KERNEL_OPTIONS | OF_THE_LAYER | OF_DIAGONALS | OF_HIPPO


def fails_there(mode: str, init: str, option: str) -> bool:
    """Whether the published code knows no such combination."""
    if mode in ("ema", "conv"):
        return False
    if option == "is_real":
        return (mode, init) != ("diag", "diag-real")
    if option == "dt_tie":
        return mode in ("dense", "real")
    if option == "B_clip":
        return init in DIAGONAL_INITS and init != "all"
    return option in OF_DIAGONALS and init not in DIAGONAL_INITS


@pytest.mark.exhaustive
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("init", ["legt", "hippo", *HIPPO, *DIAGONAL_INITS])
def test_every_option_of_every_kernel_is_taken(mode: str, init: str) -> None:
    """Some do nothing in a combination; a recipe that sets them is still a recipe."""
    base: dict[str, Any] = {"mode": mode, "init": init, "d_state": 8, "l_max": 20, "rank": 2}
    for option, value in EVERY_OPTION.items():
        of_init = option in OF_DIAGONALS | OF_HIPPO
        settings = {**base, **({"init_args": {option: value}} if of_init else {option: value})}
        if fails_there(mode, init, option):
            with pytest.raises(ValueError, match=r"\.$"):
                layer_config(settings)
        else:
            S4Layer(8, layer_config(settings))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"mode": "fftconv"}, "no kernel mode 'fftconv'"),
        ({"mode": "dense", "comp": True}, "comp has no counterpart"),
        ({"weight_norm": True}, "weight_norm has no counterpart"),
        ({"colour": "red"}, "settings colour have no counterpart"),
        ({"activation": "modrelu"}, "activation is one of gelu, relu"),
        ({"dt_transform": "tanh"}, "dt_transform is one of exp, softplus"),
        ({"mode": "conv"}, "set l_max"),
        ({"mode": "diag", "is_real": True, "init": "diag-lin"}, "diag-real"),
    ],
)
def test_what_has_no_counterpart_is_refused_with_a_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        layer_config(settings)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({"lr": None}, {}),
        ({"lr": 0.001}, {"A": 0.001, "B": 0.001, "C": 0.001, "dt": 0.001}),
        ({"lr": {"dt": None, "A": 0.001, "B": 0.0}}, {"A": 0.001, "B": 0.0}),
        ({"lr": 0.001, "mode": "conv", "l_max": 9}, {"C": 0.001}),
        ({"lr": {"dt": 0.01, "A": 0.1}, "mode": "ema"}, {"A": 0.01, "B": 0.01, "dt": 0.01}),
    ],
)
def test_learning_rates(settings: dict[str, Any], rates: dict[str, float]) -> None:
    assert layer_config(settings).kernel.lr == rates
    as_decay = {"wd": settings["lr"], **{key: value for key, value in settings.items() if key != "lr"}}
    assert layer_config(as_decay).kernel.wd == rates


def assert_same_function(settings: dict[str, Any], state: dict[str, Tensor], taps: Tensor) -> None:
    """The layer of these settings has, with these parameters, this kernel and the kernel's gradients."""
    layer = S4Layer(taps.shape[1], layer_config({"activation": "id", "final_act": None, **settings})).double()
    ours = torch.func.functional_call(layer.kernel, kernel_parameters(state), (taps.shape[-1],))
    torch.testing.assert_close(ours, taps, rtol=1e-9, atol=1e-10)
    weights = torch.randn_like(taps)
    for mine, theirs in zip(
        torch.autograd.grad((ours * weights).sum(), state.values()),
        torch.autograd.grad((taps * weights).sum(), state.values()),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-9)


def kernel_parameters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    named = parameters({f"layer.kernel.{key}": value for key, value in state.items()})
    return {key.removeprefix("kernel."): value for key, value in named.items()}


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_moving_averages(shared: bool, tied: bool) -> None:
    torch.manual_seed(0)
    H, C, N, L = 3, 2, 4, 11
    rows = H if shared else C * H
    state = {"delta": leaf(rows, 1 if tied else N, 1), "alpha": leaf(rows, N, 1), "beta": leaf(rows, N, 1)}
    state["gamma"] = leaf(C * H, N)
    p = state["delta"].sigmoid()
    powers = (1 - p * state["alpha"].sigmoid()) ** torch.arange(L)
    each = (p * state["beta"] * powers).expand(rows, N, L).repeat(C if shared else 1, 1, 1)
    taps = torch.einsum("hnl,hn->hl", each, state["gamma"] / 2).view(C, H, L)
    settings = {"mode": "ema", "d_state": N, "channels": C, "dt_tie": tied, "efficient_bidirectional": shared}
    assert_same_function(settings, state, taps)


@pytest.mark.parametrize("mode", ["dense", "real"])
def test_dense_systems(mode: str) -> None:
    """In the reference they are complex; ``dense`` starts as conjugate pairs, whose gradients need not be."""
    torch.manual_seed(0)
    H, C, N, L = 4, 2, 6, 9
    M = N // 2

    def paired(*shape: int) -> Tensor:
        half = torch.randn(*shape, M, dtype=torch.complex128)
        if mode == "real":
            return torch.cat((half.real, half.imag), -1) + 0j
        return torch.cat((half, half.conj()), -1)

    A = -torch.diag_embed(
        paired(2).abs() + (1j * torch.cat((torch.arange(M), -torch.arange(M))) if mode == "dense" else 0)
    )
    P = paired(2)
    A = A - P[..., None] * P[:, None].conj() / 2
    state = {"A": A, "B": paired(2), "C": paired(C, H)}
    state = {key: torch.view_as_real(value).clone().requires_grad_() for key, value in state.items()}
    state["inv_dt"] = leaf(H, 1)
    A, B, C_ = (torch.view_as_complex(state[key]) for key in ("A", "B", "C"))
    A, B, dt = A.repeat(2, 1, 1), B.repeat(2, 1), state["inv_dt"].exp()[:, :, None]
    one = torch.eye(N)
    x = torch.linalg.solve(one - dt / 2 * A, dt * B[..., None])
    taps = []
    for _ in range(L):
        taps.append(torch.einsum("chn,hn->ch", C_, x[..., 0]).real)
        x = torch.linalg.solve(one - dt / 2 * A, x + dt / 2 * A @ x)
    settings = {"mode": mode, "d_state": N, "n_ssm": 2, "channels": C}
    assert_same_function(settings, state, torch.stack(taps, -1))


def test_free_taps() -> None:
    taps = leaf(2, 3, 7)
    assert_same_function({"mode": "conv", "l_max": 7, "channels": 2}, {"kernel": taps}, taps.clone())


def test_swapped_channels_lie_together() -> None:
    torch.manual_seed(0)
    settings = {"activation": "id", "final_act": None, "channels": 2, "d_state": 4}
    plain, swapped = (S4Layer(3, layer_config({**settings, "swap_channels": swap})) for swap in (False, True))
    swapped.load_state_dict(plain.state_dict())
    u = torch.randn(2, 5, 3)
    torch.testing.assert_close(swapped(u)[0], plain(u)[0].unflatten(-1, (2, 3)).mT.flatten(-2))
