"""Operators and single layers as tensors and a call."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from ssm_core import ops
from ssm_core.backends import OPERATORS, Backend
from ssm_models.config import DiagonalConfig, DPLRConfig, KernelConfig, S4LayerConfig
from ssm_models.layers.naive import NaiveS4Layer
from ssm_models.layers.s4 import S4Layer
from torch import Tensor
from torch.func import functional_call

from ssm_bench.kernel_bench import arithmetic
from ssm_bench.kernel_bench.arithmetic import Flops
from ssm_bench.kernel_bench.case import Case
from ssm_bench.kernel_bench.grid import Problem

FEW = 8  # features on which errors are taken
_ORDER = (Backend.NAIVE, Backend.KEOPS, Backend.TORCH, Backend.CUDA, Backend.TENSOR_CORES)

_GLU_LAYERS: dict[str, Callable[[Problem], KernelConfig]] = {
    "s4d-layer": lambda p: DiagonalConfig(d_state=p.N, init="diag-lin", disc="zoh"),
    "s4-layer": lambda p: DPLRConfig(d_state=p.N, init="legs", l_kernel=p.L),
}


@dataclass(frozen=True)
class TensorCase(Case):
    """A function of tensors.

    Attributes:
        tensors: inputs in float32; those that learn require a gradient.
        features: the axis of H of each; None where there is none or where features mix.
        function: outputs for (tensors, back end).
        counts: floating point operations of the forward and the backward pass.
        backward: whether it is differentiated in use.
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
        """Inputs, outputs and gradients once in each pass that needs them."""
        inputs, outputs = _bytes(self.tensors), _bytes(self.cotangents)
        return 3 * inputs + 2 * outputs if work == "forward+backward" else inputs + outputs

    def cut(self, n: int) -> "TensorCase":
        """The same for the first n features, which are independent of the others; all of them where they mix."""
        tensors = tuple(
            x
            if axis is None
            else x.detach().narrow(axis, 0, min(n, x.shape[axis])).clone().requires_grad_(x.requires_grad)
            for x, axis in zip(self.tensors, self.features, strict=True)
        )
        return replace(self, tensors=tensors)

    def double(self) -> "TensorCase":
        """The same in float64."""
        tensors = tuple(x.detach().double().requires_grad_(x.requires_grad) for x in self.tensors)
        return replace(self, tensors=tensors)

    def run(self, backend: str, cotangents: Sequence[Tensor] | None) -> tuple[Tensor, ...]:
        """Outputs and, for given cotangents of them, the gradients of all tensors that learn."""
        if cotangents is None:
            with torch.no_grad():
                return self.function(self.tensors, backend)
        outputs = self.function(self.tensors, backend)
        learn = [x for x in self.tensors if x.requires_grad]
        return (*outputs, *torch.autograd.grad(outputs, learn, cotangents))

    @cached_property
    def cotangents(self) -> tuple[Tensor, ...]:
        """Random ones, in the dtype of the tensors, whose shapes do not hang on a kernel that may fail."""
        generator = torch.Generator().manual_seed(1)
        return tuple(
            torch.randn(y.shape, generator=generator, dtype=torch.float32).to(y)
            for y in self.run("torch" if "torch" in self.backends else "auto", None)
        )


def make_case(problem: Problem, device: torch.device) -> Case:
    """A problem with random numbers, always the same ones."""
    if problem.layers:
        from ssm_bench.kernel_bench import models  # imports Lightning, which takes seconds

        return models.make_case(problem, device)
    return make_tensor_case(problem, device)


def make_tensor_case(problem: Problem, device: torch.device) -> TensorCase:
    """The case of an operator or of a single layer."""
    torch.manual_seed(0)
    with torch.device(device):
        case = _MAKERS[problem.name](problem)
    if problem.name not in OPERATORS:
        return replace(case, backends=("naive", "auto"))
    operator = OPERATORS[problem.name]
    reasons = operator.refusals(*operands(problem, case.tensors))
    able = [each for each in _ORDER if each not in reasons]
    refusals = tuple((str(backend), reasons[backend]) for backend in operator.implementations if backend in reasons)
    return replace(case, backends=tuple(map(str, able)), refusals=refusals)


def operands(problem: Problem, tensors: tuple[Tensor, ...]) -> tuple[Tensor | int | None, ...]:
    """What the operator's implementations take."""
    more: dict[str, tuple[int | None, ...]] = {"vandermonde": (problem.L,), "long_conv": (None,)}
    return (*tensors, *more.get(problem.name, ()))


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)


def _exponents(H: int, M: int, dt: float = 0.01) -> Tensor:
    """S4D-Lin for a step size, (H, M, 2)."""
    real, imag = torch.full((H, M), -0.5), math.pi * torch.arange(M).expand(H, M)
    return dt * torch.stack((real, imag), -1)


def _learn(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(x.detach().requires_grad_() for x in tensors)


def _vandermonde(p: Problem) -> TensorCase:
    M = p.N // 2
    return TensorCase(
        _learn(torch.randn(1, p.H, M, 2), _exponents(p.H, M)),
        (1, 0),
        lambda x, backend: (ops.vandermonde(x[0], x[1], p.L, backend=backend),),
        arithmetic.vandermonde(p),
    )


def _vandermonde_transpose(p: Problem) -> TensorCase:
    M = p.N // 2
    return TensorCase(
        _learn(torch.randn(p.B, p.H, p.L), _exponents(p.H, M)),
        (1, 0),
        lambda x, backend: (ops.vandermonde_transpose(*x, backend=backend),),
        arithmetic.vandermonde_transpose(p),
    )


def _cauchy(p: Problem) -> TensorCase:
    """As S4 of rank 1 calls it: four numerators, the nodes of a real FFT of L points without the first."""
    M, F, K = p.N // 2, p.L // 2, 4
    y = 2 * torch.tan(math.pi / p.L * torch.arange(1, F + 1, dtype=torch.float64)).to(torch.float32)
    return TensorCase(
        (*_learn(torch.randn(K, p.H, M, 2), _exponents(p.H, M)), y),
        (1, 0, None),
        lambda x, backend: (ops.cauchy(*x, backend=backend),),
        arithmetic.cauchy(p),
    )


def _long_conv(p: Problem) -> TensorCase:
    return TensorCase(
        _learn(torch.randn(p.B, p.L, p.H), torch.randn(1, p.H, p.L)),
        (2, 1),
        lambda x, backend: (ops.long_conv(*x, backend=backend),),
        arithmetic.long_conv(p),
    )


def _recurrence(p: Problem) -> tuple[Tensor, Tensor, Tensor]:
    M = p.N // 2
    a = _exponents(p.H, M)
    a_bar = torch.view_as_real(torch.view_as_complex(a).exp())
    return a_bar, torch.randn(p.H, M, 2), torch.randn(1, p.H, M, 2)


def _diagonal_scan(p: Problem) -> TensorCase:
    M = p.N // 2
    return TensorCase(
        _learn(torch.randn(p.B, p.L, p.H), torch.randn(p.B, p.H, M, 2), *_recurrence(p)),
        (2, 1, 0, 0, 1),
        lambda x, backend: ops.diagonal_scan(*x, backend=backend),
        arithmetic.diagonal_scan(p),
    )


def _ssm_step(p: Problem) -> TensorCase:
    M = p.N // 2
    return TensorCase(
        (torch.randn(p.B, p.H), torch.randn(p.B, p.H, M, 2), *_recurrence(p)),
        (1, 1, 0, 0, 1),
        lambda x, backend: ops.ssm_step(*x, backend=backend),
        arithmetic.diagonal_scan(p),
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

    parameters = _learn(*layers["auto"].parameters())
    return TensorCase(
        (*_learn(torch.randn(p.B, p.L, p.H)), *parameters),
        (None,) * (1 + len(parameters)),
        call,
        arithmetic.layer(p, dplr=p.name == "s4-layer"),
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
