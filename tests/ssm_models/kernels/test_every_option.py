"""The whole matrix of kernels, initialisations and options: what is accepted has an effect, the rest is refused."""

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ssm_core.hippo import ALIASES, MEASURES
from ssm_core.initialize import COMBINATIONS, DIAGONALS
from ssm_core.ops import long_conv
from ssm_models.config.kernels import KERNELS
from ssm_models.kernels import make_kernel
from ssm_testing.configs import kernel_config
from torch import Tensor

DIAGONAL = (*DIAGONALS, "hippo", "linear", "inverse", "quadratic", "random")
INITS = (
    *(*MEASURES, *ALIASES, *COMBINATIONS),
    *(f"{family}-{name}" for family in ("diag", "dplr") for name in DIAGONAL),
)
# Without a low-rank correction (section 1.5 of the facts on the published code: transition() only).
DENSE_ONLY = ("lmu", "tlagt", "glagt")
OPTIONS: dict[str, Any] = {
    "d_state": 4, "disc": "zoh", "is_real": True, "n_ssm": 2, "rank": 3, "dt_min": 0.03, "dt_max": 0.3, "dt_tie": False,
    "share_channels": True, "dt_transform": "softplus", "dt_fast": True, "real_transform": "softplus",
    "imag_transform": "exp", "bandlimit": 0.001, "deterministic": True, "l_kernel": 5, "real_random": True,
    "real_scale": 2.0, "imag_random": True, "imag_scale": 3.0, "B_init": "alternating", "B_scale": 2.0, "B_clip": 0.1,
    "P_scale": 0.5, "normalize": True, "lr": {"A": 0.0}, "wd": {"A": 0.1, "B": 0.0, "dt": 0.0},
}  # fmt: skip
#: The tested initialisation, and the length at which the layer cuts.
NOT_VARIED = {"init", "l_max"}


def test_every_option_is_in_the_matrix() -> None:
    assert OPTIONS.keys() | NOT_VARIED == {each.name for cls in KERNELS.values() for each in dataclasses.fields(cls)}


def made(options: dict[str, Any]) -> tuple[list[Any], torch.Tensor] | str:
    """Everything that a kernel of these options is, or the sentence that refuses it."""
    torch.manual_seed(0)
    try:
        kernel = make_kernel(4, 2, kernel_config(**options))
    except ValueError as error:
        return str(error)
    marks = [(name, p.tolist(), getattr(p, "optim", None)) for name, p in kernel.named_parameters()]
    marks += [(name, b.tolist()) for name, b in kernel.named_buffers()]
    with torch.no_grad():
        return marks, kernel(12)


def base(kernel: str, init: str) -> dict[str, Any]:
    rank = {"rank": 2} if init == "legt" and kernel == "dplr" else {}
    if kernel == "free":
        return {"kernel": kernel, "l_max": 12}
    named = {} if kernel == "ema" else {"init": init}
    return {"kernel": kernel, "d_state": 8, **rank, **named}


def assert_sentence(refusal: str) -> None:
    assert refusal.endswith(".")
    assert len(refusal.split()) > 4


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("kernel", ["diagonal", "dplr", "dense"])
def test_every_initialisation_runs_where_it_has_a_meaning(kernel: str, init: str) -> None:
    plain = made(base(kernel, init))
    if init in DENSE_ONLY and kernel != "dense":
        assert isinstance(plain, str)
        assert_sentence(plain)
        return
    assert not isinstance(plain, str), plain
    assert plain[1].isfinite().all()
    for name, value in OPTIONS.items():
        changed = made(base(kernel, init) | {name: value})
        if isinstance(changed, str):
            assert_sentence(changed)
        elif name != "B_clip" or not init.startswith("fou"):  # the B of a Fourier measure is real: nothing to clip
            same = changed[0] == plain[0] and torch.equal(changed[1], plain[1])
            assert not same, f"{name}={value} is accepted and does nothing"


def accepted(options: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Those of the named options that go with the ones before."""
    for name in names:
        try:
            kernel_config(**options | {name: OPTIONS[name]})
        except ValueError:
            continue
        options = options | {name: OPTIONS[name]}
    return options


@pytest.mark.exhaustive
@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    kernel=st.sampled_from(["diagonal", "dplr", "dense"]),
    init=st.sampled_from(INITS),
    names=st.lists(st.sampled_from(sorted(OPTIONS)), unique=True, max_size=8),
    L=st.sampled_from([1, 2, 5, 13, 31, 67]),
    cut=st.integers(1, 66),
    seed=st.integers(0, 100),
)
def test_the_three_forms_of_drawn_options(
    kernel: str, init: str, names: list[str], L: int, cut: int, seed: int
) -> None:
    """The convolution, two chunks and steps, in outputs, states and gradients."""
    torch.manual_seed(seed)
    try:
        made = make_kernel(4, 2, kernel_config(**accepted(base(kernel, init), names))).double()
    except ValueError as error:
        assert_sentence(str(error))
        return
    u = torch.randn(2, L, 4, dtype=torch.float64, requires_grad=True)
    inputs = [u, *(p for p in made.parameters() if p.requires_grad)]
    whole = long_conv(u, made(L))
    chunked, state = [], made.initial_state(2)
    for chunk in u.split([cut, L - cut] if cut < L else [L], 1):
        y, state = made.scan(chunk, state)
        chunked.append(y)
    stepped, final, step = [], made.initial_state(2), made.stepper()
    for sample in u.unbind(1):
        y, final = step(sample, final)
        stepped.append(y)
    assert_equal(state, final)
    weights = torch.randn_like(whole)
    expected = torch.autograd.grad((whole * weights).sum(), inputs)
    for form in (torch.cat(chunked, 1), torch.stack(stepped, 1)):
        assert_equal(form, whole)
        for mine, each in zip(torch.autograd.grad((form * weights).sum(), inputs), expected, strict=True):
            assert_equal(mine, each)


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10 * max(1.0, float(expected.detach().abs().max())))


@pytest.mark.parametrize("kernel", ["ema", "free"])
def test_kernels_without_a_state_space_refuse_its_options(kernel: str) -> None:
    own = {"ema": {"dt_tie": False}, "free": {}}[kernel]
    plain = made(base(kernel, "") | own)
    assert not isinstance(plain, str), plain
    taken = {"ema": {"d_state", "dt_tie", "share_channels", "lr", "wd"}, "free": {"lr", "wd"}}[kernel]
    rates = {"lr": {"C": 0.1}, "wd": {"C": 0.1}}
    for name, value in {**OPTIONS, **rates, "init": "diag-lin", "dt_tie": True}.items():
        changed = made(base(kernel, "") | own | {name: value})
        if name in taken:
            assert not isinstance(changed, str), changed
            assert changed[0] != plain[0] or not torch.equal(changed[1], plain[1])
        else:
            assert isinstance(changed, str), name
            assert_sentence(changed)


@pytest.mark.parametrize("init", ["legs", "diag-inv", "diag-legs", "dplr-inv"])
def test_a_dense_kernel_is_the_dplr_one_of_the_same_initialisation(init: str) -> None:
    """One system: as a full matrix, and as diagonal plus low-rank."""
    kernels = []
    for kind in ("dense", "dplr"):
        torch.manual_seed(0)
        options = {"P_scale": 0.3} if init.startswith("dplr") else {}
        clip = {"B_clip": None} if kind == "dplr" and init == "legs" else {}
        config = kernel_config(kernel=kind, init=init, d_state=8, deterministic=True, n_ssm=2, **options, **clip)
        with torch.random.fork_rng():
            torch.set_default_dtype(torch.float64)
            try:
                kernels.append(make_kernel(4, 1, config))
            finally:
                torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(kernels[0](40), kernels[1](40), rtol=1e-9, atol=1e-10)
