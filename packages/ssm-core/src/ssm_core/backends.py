"""Which implementation of an operator runs, and why.

Every operator of :mod:`ssm_core.ops` declares its implementations in order of preference. With
``Backend.AUTO`` the first one that does not refuse the given tensors runs; a refusal is a sentence.
A back end that is asked for by name, as an argument or with :func:`use_backend`, runs or raises:
it is never replaced silently.
"""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor


class Backend(StrEnum):
    """An implementation of an operator."""

    AUTO = "auto"  # the preferred one of those that take the tensors
    NAIVE = "naive"  # the formula itself: the oracle of the tests
    TORCH = "torch"  # plain PyTorch in its fast form: any device
    KEOPS = "keops"  # pykeops, compiled at first use
    CUDA = "cuda"  # ssm-kernels, compiled at run time
    TENSOR_CORES = "tensor-cores"  # ssm-kernels, as matrix products


class BackendError(RuntimeError):
    """The back end that was asked for by name refuses; the message says why."""


@dataclass(frozen=True)
class Implementation:
    """One way to compute an operator.

    Attributes:
        run: the function; takes the operator's arguments in order.
        refusal: takes the same arguments and gives a sentence why they cannot be served, or None.
        reserve: a sentence why AUTO never takes it, though it can be named; None if AUTO may.
    """

    run: Callable[..., Any]
    refusal: Callable[..., str | None] | None = None
    reserve: str | None = None


@dataclass(frozen=True)
class Choice:
    """What runs for given tensors.

    Attributes:
        used: the back end that runs.
        others: for every other back end, a sentence why it does not.
    """

    used: Backend
    others: Mapping[Backend, str]


OPERATORS: dict[str, "Operator"] = {}
"""All operators by name, filled as :mod:`ssm_core.ops` is imported."""

_named: dict[str, Backend] = {}


class Operator:
    """An operator's implementations, the preferred one first."""

    def __init__(self, name: str, implementations: Mapping[Backend, Implementation]) -> None:
        self.name = name
        self.implementations = dict(implementations)
        OPERATORS[name] = self

    def __call__(self, backend: Backend | str, *args: Any) -> Any:
        """Run on ``args`` with the back end asked for; :class:`BackendError` if it refuses."""
        return self.implementations[self._resolve(backend, args)].run(*args)

    def explain(self, *args: Any, backend: Backend | str = Backend.AUTO) -> Choice:
        """Say which back end runs for ``args``, and for each of the others why it does not."""
        used, reasons = self._resolve(backend, args), self.refusals(*args)
        for each, implementation in self.implementations.items():
            reasons.setdefault(each, implementation.reserve or f"{used} is preferred.")
        return Choice(used, {each: reason for each, reason in reasons.items() if each is not used})

    def refusals(self, *args: Any) -> dict[Backend, str]:
        """The back ends that cannot run ``args``, each with the sentence why."""
        others = (each for each in Backend if each is not Backend.AUTO)
        return {each: reason for each in others if (reason := self._refusal(each, args)) is not None}

    def asked(self, backend: Backend | str) -> Backend:
        """What a ``backend=`` argument asks for: itself or, where it leaves the choice open, what is named around."""
        asked = Backend(backend)
        return _named.get(self.name, Backend.AUTO) if asked is Backend.AUTO else asked

    def _resolve(self, backend: Backend | str, args: tuple) -> Backend:
        asked = self.asked(backend)
        if asked is Backend.AUTO:
            open_ones = (each for each, found in self.implementations.items() if found.reserve is None)
            return next(each for each in open_ones if self._refusal(each, args) is None)
        reason = self._refusal(asked, args)
        if reason is not None:
            raise BackendError(f"{self.name} cannot run on the back end '{asked}': {reason}")
        return asked

    def _refusal(self, backend: Backend, args: tuple) -> str | None:
        if backend not in self.implementations:
            return f"{self.name} has no such implementation."
        refusal = self.implementations[backend].refusal
        return refusal(*args) if refusal else None


@contextmanager
def use_backend(backend: Backend | str, *operators: str) -> Iterator[None]:
    """Inside the ``with`` block, calls that leave the choice open run on ``backend``.

    Process-wide, not per thread. A ``backend=`` argument other than AUTO goes first.

    Args:
        backend: the back end to use; AUTO gives the choice back.
        operators: the operators it holds for; all if none is named.

    Raises:
        ValueError: an unknown back end or operator.
    """
    unknown = [name for name in operators if name not in OPERATORS]
    if unknown:
        raise ValueError(f"There is no operator {unknown[0]!r}; there are {', '.join(sorted(OPERATORS))}.")
    before = dict(_named)
    _named.update(dict.fromkeys(operators or OPERATORS, Backend(backend)))
    try:
        yield
    finally:
        _named.clear()
        _named.update(before)


def kernels_refusal(*tensors: Tensor) -> str | None:
    """Why ssm-kernels cannot serve the tensors, or None."""
    return _unfit(*tensors) or kernels_missing()


def tensor_cores_refusal(signal: Tensor, *tensors: Tensor) -> str | None:
    """Why ssm-kernels cannot serve a signal in float32 or bfloat16 and the other tensors on tensor cores, or None."""
    return _unfit(signal, allowed=(torch.float32, torch.bfloat16)) or _unfit(*tensors) or tensor_cores_missing()


def _unfit(*tensors: Tensor, allowed: tuple[torch.dtype, ...] = (torch.float32,)) -> str | None:
    for tensor in tensors:
        if tensor.device.type != "cuda":
            return f"it runs on CUDA devices, and a tensor is on {tensor.device}."
        if tensor.dtype not in allowed:
            names = " or ".join(str(each).removeprefix("torch.") for each in allowed)
            return f"it computes in {names}, and a tensor is {str(tensor.dtype).removeprefix('torch.')}."
    return None


def kernels_missing() -> str | None:
    """Why ssm-kernels cannot run on this machine, whatever the tensors, or None."""
    if importlib.util.find_spec("ssm_kernels") is None:
        return "ssm-kernels is not installed; install ssm-core[cuda]."
    import ssm_kernels

    usable, sentence = ssm_kernels.available()
    return None if usable else sentence


def tensor_cores_missing() -> str | None:
    """Why ssm-kernels cannot use tensor cores on this machine, whatever the tensors, or None."""
    if reason := kernels_missing():
        return reason
    major, minor = torch.cuda.get_device_capability()
    return None if major >= 8 else f"its tensor cores know tf32 and bfloat16 from sm_80 on, not sm_{major}{minor}."


# What torch.compiler.assume_constant_result marks; that itself imports the compiler, which takes seconds.
kernels_missing._dynamo_marked_constant = True  # type: ignore[attr-defined]
tensor_cores_missing._dynamo_marked_constant = True  # type: ignore[attr-defined]


def keops_refusal(*_: Tensor | int) -> str | None:
    """Why KeOps cannot run, or None. Does not import it: it prints and looks for compilers then."""
    if importlib.util.find_spec("pykeops") is None:
        return "pykeops is not installed; install ssm-core[keops]."
    return None


def float64_refusal(*tensors: Tensor | int) -> str | None:
    """Why a form that keeps some sums in float64 cannot serve the tensors, or None."""
    if any(isinstance(tensor, Tensor) and tensor.device.type == "mps" for tensor in tensors):
        return "it keeps some numbers in float64, which the device has not."
    return None


def at_least_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in their common dtype, and never below float32."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return tuple(tensor.to(dtype) for tensor in tensors)


def full_precision(tensor: Tensor) -> torch.autocast:
    """A context without autocast on the tensor's device: operators compute in the dtype of their inputs."""
    return torch.autocast(tensor.device.type, enabled=False)
