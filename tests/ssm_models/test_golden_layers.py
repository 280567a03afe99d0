"""Our layers compute what the S4 authors' implementation computes: kernels, outputs, gradients, steps."""

import json
import os
from dataclasses import replace
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch
from ssm_models.checkpoints.reference import layer_config, parameters
from ssm_models.config import LayerConfig
from ssm_models.layers.s4 import S4Layer

GOLDEN = Path(os.environ.get("SSM_GOLDEN_DIR", Path(__file__).parents[1] / "golden")) / "layers"
CASES = json.loads((GOLDEN / "index.json").read_text()) if GOLDEN.is_dir() else {}
DPLR = [name for name in CASES if layer_config(CASES[name]["settings"]).kernel == "dplr"]
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

    def make(self, config: LayerConfig) -> S4Layer:
        return S4Layer(self.d_model, config).to(self.dtype)

    def group(self, prefix: str) -> dict[str, torch.Tensor]:
        return {
            key.removeprefix(prefix): torch.as_tensor(value)
            for key, value in self.arrays.items()
            if key.startswith(prefix)
        }

    def tensor(self, name: str) -> torch.Tensor:
        return torch.as_tensor(self.arrays[name]).to(self.dtype)

    def tolerance(self, key: str = "") -> float:
        if self.dtype == torch.float32:
            return 1e-4
        if self.arrays["kernel"].dtype == np.float32:
            return 1e-6  # the reference rounded the kernel, and all that follows from it
        slow = self.config.kernel == "dplr" and self.arrays["param/" + KERNEL + "A_imag"].min() < 2e-4
        if slow and key in (KERNEL + "A_real", KERNEL + "A_imag"):
            return 1e-8  # see test_the_gradient_of_a_resting_mode
        return 1e-9


def assert_close(actual: torch.Tensor, expected: np.ndarray | torch.Tensor, tolerance: float) -> None:
    expected = torch.as_tensor(expected).double()
    error = (actual.detach().double() - expected).abs().max() / expected.abs().max()
    assert error <= tolerance, f"relative error {error:.2e}"


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.mark.parametrize("name", CASES)
def test_kernel(name: str, dtype: torch.dtype) -> None:
    case = Case(name, dtype)
    expected = case.arrays["kernel"]
    assert_close(case.layer.kernel(expected.shape[-1]), expected, case.tolerance())


@pytest.mark.parametrize("name", CASES)
def test_output_and_gradients(name: str, dtype: torch.dtype) -> None:
    case = Case(name, dtype)
    u = case.tensor("u").requires_grad_()
    theirs = {
        key: value.to(dtype).requires_grad_() if value.is_floating_point() else value
        for key, value in case.stored.items()
    }
    y, state = torch.func.functional_call(case.layer, parameters(theirs), (u,))
    assert state is None
    assert_close(y, case.arrays["y"], case.tolerance())
    (y * case.tensor("g")).sum().backward()
    gradients = case.group("grad/")
    assert_close(u.grad, gradients.pop("u"), case.tolerance())
    assert gradients
    for key, expected in gradients.items():
        assert_close(theirs[key].grad, expected, case.tolerance(key))


@pytest.mark.parametrize("name", CASES)
def test_recurrent_forms(name: str, dtype: torch.dtype) -> None:
    """Single steps, and two chunks with the state handed on, give the reference's recurrent outputs."""
    case = Case(name, dtype)
    if "y_recurrent" not in case.arrays:
        pytest.skip("the reference cannot step this case")
    expected = case.arrays["y_recurrent"]
    # The reference's recurrence runs on beyond the length at which its convolution is cut.
    layer = case.make(replace(case.config, l_max=None))
    layer.load_state_dict(case.layer.state_dict())
    u = case.tensor("u")[:, : expected.shape[1]]
    state, step, outputs = layer.initial_state(len(u)), layer.stepper(), []
    for sample in u.unbind(1):
        y, state = step(sample, state)
        outputs.append(y)
    assert_close(torch.stack(outputs, 1), expected, case.tolerance())
    first, carried = layer(u[:, :17], layer.initial_state(len(u)))
    second, carried = layer(u[:, 17:], carried)
    assert_close(torch.cat((first, second), 1), expected, case.tolerance())
    assert_close(carried, state.detach(), case.tolerance())


@pytest.mark.parametrize(
    "name", [name for name in CASES if CASES[name]["settings"].get("mode", "dplr") in ("dplr", "nplr", "s4")]
)
def test_tying_C_to_a_length(name: str) -> None:
    """From the plain C, the kernel and C (I - A_bar^l) are those of the reference after its first forward."""
    case = Case(name, torch.float64)
    plain = case.make(replace(case.config, l_kernel=None))
    plain.load_state_dict(parameters(case.group("param/")))
    expected = case.arrays["kernel"]
    assert_close(plain.kernel(expected.shape[-1]), expected, 1e-9)
    tied = case.make(replace(case.config, l_kernel=None)).kernel
    tied.load_state_dict(plain.kernel.state_dict())
    assert_close(tied.tied_C(expected.shape[-1]), case.layer.kernel.C, 1e-6)  # the reference keeps it in float32


@pytest.mark.parametrize("name", CASES)
def test_initial_values(name: str) -> None:
    """A, B and P start where the reference starts; an eigenvector's phase is free, so B and P have one too."""
    case = Case(name, torch.float64)
    settings = CASES[name]["settings"]
    if "rand" in settings.get("init", "") or any("random" in str(x) for x in settings.get("init_args", {}).items()):
        pytest.skip("drawn at random")
    if case.config.kernel not in ("dplr", "diagonal"):
        pytest.skip("another basis, or drawn at random")
    torch.manual_seed(0)
    ours = case.make(case.config).kernel
    theirs = {key.removeprefix(KERNEL): value.double() for key, value in case.group("param/").items()}
    for key in ("A_real", "A_imag"):
        if key in theirs:
            torch.testing.assert_close(getattr(ours, key), theirs[key], rtol=2e-6, atol=2e-6)
    if case.config.is_real:
        torch.testing.assert_close(ours.B, theirs["B"], rtol=1e-6, atol=1e-6)
        return
    B, their_B = torch.view_as_complex(ours.B.detach()), torch.view_as_complex(theirs["B"])
    torch.testing.assert_close(B.abs(), their_B.abs(), rtol=1e-5, atol=1e-5)
    if "P" in theirs:
        P, their_P = torch.view_as_complex(ours.P.detach()), torch.view_as_complex(theirs["P"])
        torch.testing.assert_close(B * P.conj(), their_B * their_P.conj(), rtol=1e-5, atol=1e-5)
    span = case.config.dt_min, case.config.dt_max
    for kernel in (ours, case.layer.kernel):
        dt = kernel._system(1.0)[3]
        assert span[0] * 0.999 <= dt.min()
        assert dt.max() <= span[1] * 1.001


def test_the_gradient_of_a_resting_mode() -> None:
    """Where a Fourier mode rests, our gradient is right to 1e-12, and the golden one only to 1e-8."""
    golden = Path(__file__).parents[1] / "golden" / "layers"
    if golden != GOLDEN:
        pytest.skip("a fact on the arrays in the repository")
    case = Case("s4_fout", torch.float64)
    taps = []
    case.layer.kernel.register_forward_hook(lambda *each: (each[2].retain_grad(), taps.append(each[2]))[1])
    y, _ = case.layer(case.tensor("u"))
    (y * case.tensor("g")).sum().backward()
    feature, mode = 0, 7
    (kernel,) = taps
    truth = _derivative(case.layer.kernel, kernel.grad[0, feature], feature, mode)
    ours = case.layer.kernel.A_imag.grad[feature, mode].item()
    golden_value = case.arrays["grad/" + KERNEL + "A_imag"][feature, mode]
    assert abs(ours / truth - 1) < 1e-12
    assert 1e-9 < abs(golden_value / truth - 1) < 1e-7


def _derivative(kernel: torch.nn.Module, weights: torch.Tensor, feature: int, mode: int) -> float:
    """d/d A_imag of sum(weights * K) for one feature, by a difference quotient with 50 digits."""
    L, M = len(weights), kernel.entries
    with mpmath.workdps(50):

        def numbers(tensor: torch.Tensor) -> list:
            return [mpmath.mpc(*pair) for pair in tensor.detach().tolist()]

        def total(shift: mpmath.mpf) -> mpmath.mpf:
            dt = mpmath.exp(mpmath.mpf(kernel.inv_dt[feature, 0].item()))
            poles = []
            for m in range(M):
                imag = mpmath.mpf(kernel.A_imag[feature, m].item()) + (shift if m == mode else 0)
                poles.append(mpmath.mpc(-mpmath.exp(mpmath.mpf(kernel.A_real[feature, m].item())), -imag))
            B, C = numbers(kernel.B[0, feature]), numbers(kernel.C[0, feature])
            P = numbers(kernel.P[0, feature])
            Q = [mpmath.conj(p) for p in P]
            spectrum = []
            for f in range((L + 1) // 2):
                omega = mpmath.exp(-2j * mpmath.pi * f / L)
                z = 2 * (1 - omega) / (1 + omega)

                def r(left: list, right: list, z: mpmath.mpc = z) -> mpmath.mpc:
                    terms = [(a * b, pole) for a, b, pole in zip(left, right, poles, strict=True)]
                    return sum(
                        dt * v / (z - dt * w) + dt * mpmath.conj(v) / (z - dt * mpmath.conj(w)) for v, w in terms
                    )

                corrected = r(B, C) - r(B, Q) * r(P, C) / (1 + r(P, Q))
                spectrum.append(corrected * 2 / (1 + omega))
            result = mpmath.mpf(0)
            for step, weight in enumerate(weights.tolist()):
                tap = spectrum[0].real
                for f, value in enumerate(spectrum[1:], 1):
                    tap += 2 * (value * mpmath.exp(2j * mpmath.pi * f * step / L)).real
                # At the Nyquist frequency only B and C are left, which do not depend on A.
                result += mpmath.mpf(weight) * tap / L
            return result

        h = mpmath.mpf(10) ** -20
        return float((total(h) - total(-h)) / (2 * h))
