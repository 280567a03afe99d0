"""The cases of operators and of single layers: tensors and a function."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from ssm_core import ops
from ssm_core.backends import OPERATORS
from ssm_models.config import DiagonalConfig, DPLRConfig, KernelConfig, S4LayerConfig
from ssm_models.layers.naive import NaiveS4Layer
from ssm_models.layers.s4 import S4Layer
from torch import Tensor
from torch.func import functional_call

from ssm_bench.speed import flops
from ssm_bench.speed.case import Case
from ssm_bench.speed.flops import Flops
from ssm_bench.speed.grid import Problem
from ssm_bench.speed.treatment import in_order

#: Number of features on which errors are measured.
FEW = 8

_GLU_LAYERS: dict[str, Callable[[Problem], KernelConfig]] = {
    "s4d-layer": lambda p: DiagonalConfig(d_state=p.N, init="diag-lin", disc="zoh"),
    "s4-layer": lambda p: DPLRConfig(d_state=p.N, init="legs", l_kernel=p.L),
}


@dataclass(frozen=True)
class TensorCase(Case):
    """A function of tensors.

    Attributes:
        tensors: inputs in float32; those that are trained require a gradient.
        features: the axis of H of each tensor; None if it has no such axis or if the features mix.
        function: returns the outputs for (tensors, back end).
        counts: floating point operations of the forward and of the backward pass.
        backward: whether the function is differentiated in use.
    """

    tensors: tuple[Tensor, ...]
    features: tuple[int | None, ...]
    function: Callable[[Sequence[Tensor], str], tuple[Tensor, ...]]
    counts: Flops
    backends: tuple[str, ...] = ()
    refusals: tuple[tuple[str, str], ...] = ()
    backward: bool = True

    @property
    def works(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("forward+backward", "forward") if self.backward else ("forward",)

    @property
    def mixes(self) -> bool:  # type: ignore[override]
        return all(axis is None for axis in self.features)

    def call(self, backend: str, work: str) -> Callable[[], object]:
        return partial(self.run, backend, self.cotangents if work == "forward+backward" else None)

    def results(self, backend: str, *, double: bool = False) -> tuple[Tensor, ...]:
        few = self.cut(FEW)
        cotangents = few.cotangents if self.backward else None
        if not double:
            return few.run(backend, cotangents)
        return few.double().run(backend, cotangents and [each.double() for each in cotangents])

    def flops(self, work: str) -> float:
        return sum(self.counts) if work == "forward+backward" else self.counts[0]

    def traffic(self, work: str) -> float:
        """Count inputs, outputs and gradients once in each pass that needs them."""
        inputs, outputs = _bytes(self.tensors), _bytes(self.cotangents)
        return 3 * inputs + 2 * outputs if work == "forward+backward" else inputs + outputs

    def cut(self, n: int) -> "TensorCase":
        """Return the case of the first n features if the features are independent, else the case of all features."""
        tensors = tuple(
            x
            if axis is None
            else x.detach().narrow(axis, 0, min(n, x.shape[axis])).clone().requires_grad_(x.requires_grad)
            for x, axis in zip(self.tensors, self.features, strict=True)
        )
        return replace(self, tensors=tensors)

    def double(self) -> "TensorCase":
        """Return the case in float64."""
        tensors = tuple(x.detach().double().requires_grad_(x.requires_grad) for x in self.tensors)
        return replace(self, tensors=tensors)

    def run(self, backend: str, cotangents: Sequence[Tensor] | None) -> tuple[Tensor, ...]:
        """Return the outputs and, if their cotangents are given, the gradients of all tensors that are trained."""
        if cotangents is None:
            with torch.no_grad():
                return self.function(self.tensors, backend)
        outputs = self.function(self.tensors, backend)
        trained = [x for x in self.tensors if x.requires_grad]
        return (*outputs, *torch.autograd.grad(outputs, trained, cotangents))

    @cached_property
    def cotangents(self) -> tuple[Tensor, ...]:
        """Random cotangents of the outputs. Their shapes come from a back end that does not fail."""
        generator = torch.Generator().manual_seed(1)
        return tuple(
            torch.randn(y.shape, generator=generator, dtype=torch.float32).to(y)
            for y in self.run("torch" if "torch" in self.backends else "auto", None)
        )


def make_tensor_case(problem: Problem, device: torch.device) -> TensorCase:
    """Return the case of an operator or of a single layer."""
    torch.manual_seed(0)
    with torch.device(device):
        case = _MAKERS[problem.name](problem)
    if problem.name not in OPERATORS:
        return replace(case, backends=("naive", "auto"))
    operator = OPERATORS[problem.name]
    reasons = operator.refusals(*operands(problem, case.tensors))
    names = in_order([str(backend) for backend in operator.implementations])
    refusals = tuple((name, reasons[name]) for name in names if name in reasons)
    return replace(case, backends=tuple(name for name in names if name not in reasons), refusals=refusals)


def operands(problem: Problem, tensors: tuple[Tensor, ...]) -> tuple[Tensor | int | None, ...]:
    """Return the arguments of the operator's implementations."""
    more: dict[str, tuple[int | None, ...]] = {"vandermonde": (problem.L,), "long_conv": (None,)}
    return (*tensors, *more.get(problem.name, ()))


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)


def _exponents(H: int, M: int, dt: float = 0.01) -> Tensor:
    """Return ``dt A`` of S4D-Lin, (H, M, 2)."""
    real, imag = torch.full((H, M), -0.5), math.pi * torch.arange(M).expand(H, M)
    return dt * torch.stack((real, imag), -1)


def _trained(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(x.detach().requires_grad_() for x in tensors)


def _vandermonde(p: Problem) -> TensorCase:
    M = p.N // 2
    return TensorCase(
        _trained(torch.randn(1, p.H, M, 2), _exponents(p.H, M)),
        (1, 0),
        lambda x, backend: (ops.vandermonde(x[0], x[1], p.L, backend=backend),),
        flops.vandermonde(p),
    )


def _vandermonde_transpose(p: Problem) -> TensorCase:
    M = p.N // 2
    return TensorCase(
        _trained(torch.randn(p.B, p.H, p.L), _exponents(p.H, M)),
        (1, 0),
        lambda x, backend: (ops.vandermonde_transpose(*x, backend=backend),),
        flops.vandermonde_transpose(p),
    )


def _cauchy(p: Problem) -> TensorCase:
    """Return the call of S4 of rank 1: four numerators, at the nodes of a real FFT of L points except the first."""
    M, F, K = p.N // 2, p.L // 2, 4
    y = 2 * torch.tan(math.pi / p.L * torch.arange(1, F + 1, dtype=torch.float64)).to(torch.float32)
    return TensorCase(
        (*_trained(torch.randn(K, p.H, M, 2), _exponents(p.H, M)), y),
        (1, 0, None),
        lambda x, backend: (ops.cauchy(*x, backend=backend),),
        flops.cauchy(p),
    )


def _long_conv(p: Problem) -> TensorCase:
    return TensorCase(
        _trained(torch.randn(p.B, p.L, p.H), torch.randn(1, p.H, p.L)),
        (2, 1),
        lambda x, backend: (ops.long_conv(*x, backend=backend),),
        flops.long_conv(p),
    )


def _recurrence(p: Problem) -> tuple[Tensor, Tensor, Tensor]:
    M = p.N // 2
    a = _exponents(p.H, M)
    a_bar = torch.view_as_real(torch.view_as_complex(a).exp())
    return a_bar, torch.randn(p.H, M, 2), torch.randn(1, p.H, M, 2)


def _diagonal_scan(p: Problem) -> TensorCase:
    M = p.N // 2
    return TensorCase(
        _trained(torch.randn(p.B, p.L, p.H), torch.randn(p.B, p.H, M, 2), *_recurrence(p)),
        (2, 1, 0, 0, 1),
        lambda x, backend: ops.diagonal_scan(*x, backend=backend),
        flops.diagonal_scan(p),
    )


def _ssm_step(p: Problem) -> TensorCase:
    M = p.N // 2
    return TensorCase(
        (torch.randn(p.B, p.H), torch.randn(p.B, p.H, M, 2), *_recurrence(p)),
        (1, 1, 0, 0, 1),
        lambda x, backend: ops.ssm_step(*x, backend=backend),
        flops.diagonal_scan(p),
        backward=False,
    )


def _layer(p: Problem) -> TensorCase:
    """Return a layer with a GLU output map; ``naive`` is its formula."""
    config = S4LayerConfig(kernel=_GLU_LAYERS[p.name](p))
    layers = {"auto": S4Layer(p.H, config), "naive": NaiveS4Layer(p.H, config)}
    names = [name for name, _ in layers["auto"].named_parameters()]

    def call(x: Sequence[Tensor], backend: str) -> tuple[Tensor, ...]:
        output, _ = functional_call(layers[backend], dict(zip(names, x[1:], strict=True)), (x[0],))
        return (output,)

    parameters = _trained(*layers["auto"].parameters())
    return TensorCase(
        (*_trained(torch.randn(p.B, p.L, p.H)), *parameters),
        (None,) * (1 + len(parameters)),
        call,
        flops.layer(p, dplr=p.name == "s4-layer"),
    )


_MAKERS: dict[str, Callable[[Problem], TensorCase]] = {
    "vandermonde": _vandermonde,
    "vandermonde_transpose": _vandermonde_transpose,
    "cauchy": _cauchy,
    "long_conv": _long_conv,
    "diagonal_scan": _diagonal_scan,
    "ssm_step": _ssm_step,
    "s4d-layer": _layer,
    "s4-layer": _layer,
}
if unknown := OPERATORS.keys() - _MAKERS.keys():
    raise NotImplementedError(
        f"No problem is known for {', '.join(sorted(unknown))}; add it to {__name__} and to grid."
    )
