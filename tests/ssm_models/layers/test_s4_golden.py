"""Our layers compute what the S4 authors' implementation computes: kernels, outputs, gradients, steps."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from ssm_models.checkpoints.reference import layer_config, parameters
from ssm_models.config import DiagonalConfig, DPLRConfig, S4LayerConfig
from ssm_models.kernels.ssm import SSMKernel
from ssm_models.layers.s4 import S4Layer
from ssm_models.parameters import TRANSFORMS
from ssm_testing.close import assert_close
from torch import Tensor
from torch.nn import functional as F

OURS = Path(__file__).parents[2] / "golden" / "layers"
GOLDEN = Path(os.environ.get("SSM_GOLDEN_DIR", OURS.parent)) / "layers"
CASES = json.loads((GOLDEN / "index.json").read_text()) if GOLDEN.is_dir() else {}
KERNEL = "layer.kernel."


class Case:
    """A golden case and our layer with its parameters."""

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        case = CASES[name]
        self.dtype = dtype
        self.arrays = dict(np.load(GOLDEN / f"{name}.npz"))
        self.stored = self.group("param/") | self.group("param_after_first_forward/")
        l_kernel = int(self.stored.get(KERNEL + "l_kernel", 0))
        settings = {"d_state": case["d_state"], **case["settings"]}
        self.config = layer_config(settings, l_kernel=l_kernel)
        self.d_model = case["d_model"]
        self.layer = self.make(self.config)
        self.layer.load_state_dict(parameters(self.stored))

    def make(self, config: S4LayerConfig) -> S4Layer:
        return S4Layer(self.d_model, config).to(self.dtype)

    def group(self, prefix: str) -> dict[str, Tensor]:
        return {
            key.removeprefix(prefix): torch.as_tensor(value)
            for key, value in self.arrays.items()
            if key.startswith(prefix)
        }

    def tensor(self, name: str) -> Tensor:
        return torch.as_tensor(self.arrays[name]).to(self.dtype)

    @property
    def tolerance(self) -> float:
        return 1e-4 if self.dtype == torch.float32 else 1e-9

    @property
    def rounded(self) -> bool:
        """Whether the reference computed the kernel and its spectrum in float32 (and the rest in float64)."""
        return self.arrays["kernel"].dtype == np.float32

    def resting(self) -> np.ndarray:
        """Which of the modes (S, M) of a DPLR system rest: the reference's gradients of their A cancel digits."""
        if not isinstance(self.config.kernel, DPLRConfig):
            return np.zeros((1, 1), dtype=bool)
        return np.abs(self.arrays["param/" + KERNEL + "A_imag"]) < 2e-4


def relative_error(actual: Tensor, expected: np.ndarray | Tensor) -> float:
    expected = torch.as_tensor(expected).double()
    return float((actual.detach().double() - expected.detach()).abs().max() / expected.detach().abs().max())


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.mark.parametrize("name", CASES)
def test_kernel(name: str, dtype: torch.dtype) -> None:
    case = Case(name, dtype)
    expected = case.arrays["kernel"]
    kernel = case.layer.kernel(expected.shape[-1]).detach()
    if case.rounded and dtype == torch.float64:  # the array is our kernel's nearest float32
        expected = torch.as_tensor(expected).double()
        assert ((kernel - expected).abs() <= 2.0**-24 * (1 + 1e-6) * kernel.abs()).all()
        return
    assert_close(kernel, expected, case.tolerance, "the kernel", floor=0)


def convolution_with_a_rounded_spectrum(layer: S4Layer) -> Callable[..., Tensor]:
    """As the reference convolves where its kernel came in float32: float32 until the spectra are multiplied.

    Its skip is no part of the convolution, as the layer's is, and stays float64.
    """

    def convolve(u: Tensor, k: Tensor, k_reverse: Tensor | None = None) -> Tensor:
        L, K = u.shape[1], k.shape[-1]
        k = F.pad((k - F.pad(layer.D.unsqueeze(-1), (0, K - 1))).float(), (0, L))
        if k_reverse is not None:
            k = k + F.pad(k_reverse.float().flip(-1), (L, 0))
        spectrum = torch.fft.rfft(k)[None] * torch.fft.rfft(u.mT, n=K + L)[:, None]
        y = torch.fft.irfft(spectrum, n=K + L)[..., :L].permute(0, 3, 1, 2)
        return y + u.unsqueeze(2) * layer.D

    return convolve


@pytest.mark.parametrize("name", CASES)
def test_output_and_gradients(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(name, dtype)
    if case.rounded and dtype == torch.float64:
        monkeypatch.setattr("ssm_models.layers.s4.long_conv", convolution_with_a_rounded_spectrum(case.layer))
    u = case.tensor("u").requires_grad_()
    theirs = {
        key: value.to(dtype).requires_grad_() if value.is_floating_point() else value
        for key, value in case.stored.items()
    }
    taps = []
    case.layer.kernel.register_forward_hook(lambda *each: (each[2].retain_grad(), taps.append(each[2]))[1])
    y, state = torch.func.functional_call(case.layer, parameters(theirs), (u,))
    assert state is None
    assert_close(y, case.arrays["y"], case.tolerance, "the output", floor=0)
    (y * case.tensor("g")).sum().backward()
    gradients = case.group("grad/")
    assert_close(u.grad, gradients.pop("u"), case.tolerance, "the gradient of the input", floor=0)
    assert gradients
    resting = case.resting()
    if dtype == torch.float64 and resting.any():
        key = KERNEL + "A_imag"
        weights = F.pad(taps[0].grad, (0, case.config.kernel.l_kernel - taps[0].shape[-1]))
        exact = gradient_in_50_digits(case.layer.kernel, weights, resting)
        assert_close(theirs[key].grad[resting], exact, 1e-12, f"the gradient of {key}", floor=0)
        of_the_array = relative_error(gradients[key][resting], exact)
        assert of_the_array < 1e-7
        assert of_the_array > 1e-9 or GOLDEN != OURS, "the array is exact itself; compare with it"
        gradients[key][resting] = exact
    for key, expected in gradients.items():
        assert_close(theirs[key].grad, expected, case.tolerance, f"the gradient of {key}", floor=0)


@pytest.mark.parametrize("name", CASES)
def test_recurrent_forms(name: str, dtype: torch.dtype) -> None:
    """Single steps, and two chunks with the state handed on, give the reference's recurrent outputs."""
    case = Case(name, dtype)
    if "y_recurrent" not in case.arrays:
        pytest.skip("the reference cannot step this case")
    expected = case.arrays["y_recurrent"]
    # The reference's recurrence runs on beyond the length at which its convolution is cut.
    layer = case.make(replace(case.config, kernel=replace(case.config.kernel, l_max=None)))
    layer.load_state_dict(case.layer.state_dict())
    u = case.tensor("u")[:, : expected.shape[1]]
    state, step, outputs = layer.initial_state(len(u)), layer.stepper(), []
    for sample in u.unbind(1):
        y, state = step(sample, state)
        outputs.append(y)
    assert_close(torch.stack(outputs, 1), expected, case.tolerance, "the output of steps", floor=0)
    first, carried = layer(u[:, :17], layer.initial_state(len(u)))
    second, carried = layer(u[:, 17:], carried)
    assert_close(torch.cat((first, second), 1), expected, case.tolerance, "the output of chunks", floor=0)
    assert_close(carried, state, case.tolerance, "the state", floor=0)


@pytest.mark.parametrize(
    "name", [name for name in CASES if CASES[name]["settings"].get("mode", "dplr") in ("dplr", "nplr", "s4")]
)
def test_tying_C_to_a_length(name: str) -> None:
    """From the plain C, the kernel and C (I - A_bar^l) are those of the reference after its first forward."""
    case = Case(name, torch.float64)
    plain = case.make(replace(case.config, kernel=replace(case.config.kernel, l_kernel=None)))
    plain.load_state_dict(parameters(case.group("param/")))
    expected = case.arrays["kernel"]
    assert_close(plain.kernel(expected.shape[-1]), expected, 1e-9, "the kernel", floor=0)
    tied = case.make(replace(case.config, kernel=replace(case.config.kernel, l_kernel=None))).kernel
    tied.load_state_dict(plain.kernel.state_dict())
    assert_close(tied.tied_C(expected.shape[-1]), case.layer.kernel.C, 1e-9, "C", floor=0)


@pytest.mark.parametrize("name", CASES)
def test_initial_values(name: str) -> None:
    """A, B and P start where the reference starts; an eigenvector's phase is free, so B and P have one too."""
    case = Case(name, torch.float64)
    settings = CASES[name]["settings"]
    if "rand" in settings.get("init", "") or any("random" in str(x) for x in settings.get("init_args", {}).items()):
        pytest.skip("drawn at random")
    if not isinstance(case.config.kernel, DPLRConfig | DiagonalConfig):
        pytest.skip("another basis, or drawn at random")
    torch.manual_seed(0)
    ours = case.make(case.config).kernel
    theirs = {key.removeprefix(KERNEL): value.double() for key, value in case.group("param/").items()}
    for key in ("A_real", "A_imag"):
        if key in theirs:
            torch.testing.assert_close(getattr(ours, key), theirs[key], rtol=2e-6, atol=2e-6)
    if ours.is_real:
        torch.testing.assert_close(ours.B, theirs["B"], rtol=1e-6, atol=1e-6)
        return
    B, their_B = torch.view_as_complex(ours.B.detach()), torch.view_as_complex(theirs["B"])
    torch.testing.assert_close(B.abs(), their_B.abs(), rtol=1e-5, atol=1e-5)
    if "P" in theirs:
        P, their_P = torch.view_as_complex(ours.P.detach()), torch.view_as_complex(theirs["P"])
        torch.testing.assert_close(B * P.conj(), their_B * their_P.conj(), rtol=1e-5, atol=1e-5)
    span = ours.config.dt_min, ours.config.dt_max
    for kernel in (ours, case.layer.kernel):
        dt = kernel._system(1.0)[3]
        assert span[0] * 0.999 <= dt.min()
        assert dt.max() <= span[1] * 1.001


def gradient_in_50_digits(kernel: SSMKernel, weights: Tensor, resting: np.ndarray) -> Tensor:
    """The gradient of ``sum(weights * kernel)`` for the A_imag of some modes, by difference quotients with 50 digits.

    Where a Fourier mode rests, the generating function at frequency 0 is a difference of two numbers with equal
    leading digits: the gradient that the reference takes of it in float64 is good to 1e-8.

    Args:
        kernel: of DPLR systems, in float64.
        weights: (C, H, L).
        resting: which modes (S, M).
    """
    A, B, C, dt = (each.detach() for each in kernel._system(1.0))
    P = kernel._per_feature(kernel.P, 1).detach()
    gradient = []
    with mpmath.workdps(50):
        step = mpmath.mpc(0, mpmath.mpf(10) ** -20)
        for s, m in zip(*resting.nonzero(), strict=True):
            total = mpmath.mpf(0)
            for h in range(s, kernel.d_model, kernel.copies):
                function = _weighted_kernel(A[h], B[h], C[:, h], dt[h].expand(len(A[h])), P[:, h], weights[:, h], m)
                total += (function(step) - function(-step)) / (2 * step.imag)
            gradient.append(float(total))
    parameter = kernel.A_imag.detach()[resting].requires_grad_()
    (slope,) = torch.autograd.grad(TRANSFORMS[kernel.config.imag_transform](parameter).sum(), parameter)
    return -slope * torch.tensor(gradient, dtype=torch.float64)


def _weighted_kernel(
    A: Tensor, B: Tensor, C: Tensor, dt: Tensor, P: Tensor, weights: Tensor, mode: int
) -> Callable[[mpmath.mpc], mpmath.mpf]:
    """``sum(weights * K)`` of one feature as a function of what is added to the A of a mode."""

    def numbers(x: Tensor) -> list[Any]:
        return [mpmath.mpc(*each.tolist()) if each.ndim == 1 else numbers(each) for each in x]

    length = weights.shape[-1]
    poles, steps = numbers(A), [mpmath.mpf(each) for each in dt.tolist()]
    inputs, outputs = [numbers(B), *numbers(P)], [*numbers(C), *([p.conjugate() for p in row] for row in numbers(P))]
    products = [[[a * b * t for a, b, t in zip(x, y, steps, strict=True)] for y in outputs] for x in inputs]
    turns = [mpmath.expjpi(mpmath.mpf(-2 * n) / length) for n in range(length)]
    # At the Nyquist frequency only B and C are left, which do not depend on A.
    frequencies = range((length + 1) // 2)
    sums = [
        [sum(w * turns[f * n % length] for n, w in enumerate(row)) for f in frequencies] for row in weights.tolist()
    ]

    def function(change: mpmath.mpc) -> mpmath.mpf:
        w = [t * (pole + (change if m == mode else 0)) for m, (t, pole) in enumerate(zip(steps, poles, strict=True))]
        total = mpmath.mpf(0)
        for f in frequencies:
            omega = turns[f]
            z = 2 * (1 - omega) / (1 + omega)
            terms = [(1 / (z - each), 1 / (z - each.conjugate())) for each in w]
            r = mpmath.matrix(
                [
                    [sum(v * a + v.conjugate() * b for v, (a, b) in zip(row, terms, strict=True)) for row in each]
                    for each in products
                ]
            )
            c = len(sums)
            correction = r[0, c:] * (mpmath.eye(r.rows - 1) + r[1:, c:]) ** -1 * r[1:, :c]
            for i, row in enumerate(sums):
                value = (r[0, i] - correction[0, i]) * 2 / (1 + omega) * row[f].conjugate()
                total += value.real * (1 if f == 0 else 2) / length
        return total

    return function
