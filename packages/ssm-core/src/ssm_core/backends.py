"""Choose which implementation of an operator runs, and explain why.

Every operator of :mod:`ssm_core.ops` declares its implementations in order of preference. ``Backend.AUTO`` runs the
first one that does not refuse the given tensors; a refusal is a sentence that says why. A back end that is named, by an
argument or with :func:`use_backend`, runs or raises an error; it is never replaced silently.
"""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from ssm_core.torch_internals import constant_when_compiled


class Backend(StrEnum):
    """The back ends that come with this package. An operator may declare others, under any name."""

    #: The first back end, in order of preference, that does not refuse the tensors.
    AUTO = "auto"
    #: Code that reads as the formula; the tests compare the others with it.
    NAIVE = "naive"
    #: Fast plain PyTorch, for any device.
    TORCH = "torch"
    #: pykeops, compiled at first use.
    KEOPS = "keops"
    #: ssm-kernels, compiled at run time.
    CUDA = "cuda"
    #: ssm-kernels, with matrix products on tensor cores.
    TENSOR_CORES = "tensor-cores"


class BackendError(RuntimeError):
    """The named back end refuses the tensors; the message says why."""


@dataclass(frozen=True)
class Implementation:
    """One way to compute an operator.

    Attributes:
        run: the function; it takes the arguments of the operator in order.
        refusal: takes the same arguments; returns a sentence that says why they cannot be served, or None.
        reserve: a sentence that says why AUTO never chooses it, although it can be named; None if AUTO may choose it.
    """

    run: Callable[..., Any]
    refusal: Callable[..., str | None] | None = None
    reserve: str | None = None


@dataclass(frozen=True)
class Choice:
    """The back end that runs for given tensors, and why the others do not.

    Attributes:
        used: the back end that runs.
        others: for every other back end, a sentence that says why it does not run.
    """

    used: str
    others: Mapping[str, str]


#: All operators by name. Importing :mod:`ssm_core.ops` fills it.
OPERATORS: dict[str, "Operator"] = {}

_named: dict[str, str] = {}


def backend_names() -> list[str]:
    """Return the names of all back ends but AUTO: first :class:`Backend`, then others that operators declare."""
    ours = [each for each in Backend if each is not Backend.AUTO]
    others = (name for each in OPERATORS.values() for name in each.implementations if name not in ours)
    return [*ours, *dict.fromkeys(others)]


def find_backend(name: str) -> str:
    """Return a back end by its name.

    Raises:
        ValueError: no back end has the name.
    """
    if isinstance(name, Backend):
        return name
    known = [Backend.AUTO, *backend_names()]
    if name not in known:
        raise ValueError(f"There is no back end {name!r}; there are {', '.join(known)}.")
    return known[known.index(name)]


class Operator:
    """The implementations of an operator.

    Args:
        name: name of the operator.
        implementations: the implementations by back end, in order of preference.
    """

    def __init__(self, name: str, implementations: Mapping[Any, Implementation]) -> None:
        self.name = name
        self.implementations: dict[str, Implementation] = dict(implementations)
        OPERATORS[name] = self

    def __call__(self, backend: str, *args: Any) -> Any:
        """Run the operator on ``args``.

        Raises:
            BackendError: the named back end refuses the arguments.
            ValueError: there is no such back end.
        """
        return self.implementations[self._resolve(backend, args)].run(*args)

    def explain(self, *args: Any, backend: str = Backend.AUTO) -> Choice:
        """Return which back end runs for ``args``, and why each of the others does not."""
        used, reasons = self._resolve(backend, args), self.refusals(*args)
        for each, implementation in self.implementations.items():
            reasons.setdefault(each, implementation.reserve or f"{used} is preferred.")
        return Choice(used, {each: reason for each, reason in reasons.items() if each != used})

    def refusals(self, *args: Any) -> dict[str, str]:
        """Return the back ends that cannot run ``args``, each with a sentence that says why."""
        return {each: reason for each in backend_names() if (reason := self._refusal(each, args)) is not None}

    def asked(self, backend: str) -> str:
        """Return the back end that an argument names; if that is AUTO, return the one that :func:`use_backend` set."""
        asked = find_backend(backend)
        return _named.get(self.name, Backend.AUTO) if asked == Backend.AUTO else asked

    def _resolve(self, backend: str, args: tuple) -> str:
        asked = self.asked(backend)
        if asked == Backend.AUTO:
            open_ones = (each for each, found in self.implementations.items() if found.reserve is None)
            return next(each for each in open_ones if self._refusal(each, args) is None)
        reason = self._refusal(asked, args)
        if reason is not None:
            raise BackendError(f"{self.name} cannot run on the back end '{asked}': {reason}")
        return asked

    def _refusal(self, backend: str, args: tuple) -> str | None:
        if backend not in self.implementations:
            return f"{self.name} has no such implementation."
        refusal = self.implementations[backend].refusal
        return refusal(*args) if refusal else None


@contextmanager
def use_backend(backend: str, *operators: str) -> Iterator[None]:
    """Run the calls in the ``with`` block on ``backend``, unless their own ``backend=`` argument is not AUTO.

    This holds for the whole process, not for one thread.

    Args:
        backend: the back end to use; AUTO restores the automatic choice.
        operators: names of the operators that use it; all operators if no name is given.

    Raises:
        ValueError: there is no such back end or operator.
    """
    unknown = [name for name in operators if name not in OPERATORS]
    if unknown:
        raise ValueError(f"There is no operator {unknown[0]!r}; there are {', '.join(sorted(OPERATORS))}.")
    before = dict(_named)
    _named.update(dict.fromkeys(operators or OPERATORS, find_backend(backend)))
    try:
        yield
    finally:
        _named.clear()
        _named.update(before)


def kernels_refusal(*tensors: Tensor) -> str | None:
    """Return why ssm-kernels cannot serve the tensors, as a sentence, or None."""
    return _unfit(*tensors) or kernels_missing()


def tensor_cores_refusal(signal: Tensor, *tensors: Tensor) -> str | None:
    """Return why ssm-kernels cannot serve the tensors on tensor cores, as a sentence, or None.

    Args:
        signal: may be float32 or bfloat16.
        tensors: the other tensors.
    """
    return _unfit(signal, allowed=(torch.float32, torch.bfloat16)) or _unfit(*tensors) or tensor_cores_missing()


def _unfit(*tensors: Tensor, allowed: tuple[torch.dtype, ...] = (torch.float32,)) -> str | None:
    for tensor in tensors:
        if tensor.device.type != "cuda":
            return f"it runs on CUDA devices, and a tensor is on {tensor.device}."
        if tensor.dtype not in allowed:
            names = " or ".join(str(each).removeprefix("torch.") for each in allowed)
            return f"it computes in {names}, and a tensor is {str(tensor.dtype).removeprefix('torch.')}."
    return None


@constant_when_compiled
def kernels_missing() -> str | None:
    """Return why ssm-kernels cannot run on this machine with any tensors, or None."""
    if importlib.util.find_spec("ssm_kernels") is None:
        return "ssm-kernels is not installed; install ssm-core[cuda]."
    import ssm_kernels

    usable, sentence = ssm_kernels.available()
    return None if usable else sentence


@constant_when_compiled
def tensor_cores_missing() -> str | None:
    """Return why ssm-kernels cannot use tensor cores on this machine with any tensors, or None."""
    if reason := kernels_missing():
        return reason
    major, minor = torch.cuda.get_device_capability()
    return None if major >= 8 else f"it needs tf32 and bfloat16 tensor cores, sm_80 or newer, not sm_{major}{minor}."


def keops_refusal(*_: Tensor | int) -> str | None:
    """Return why KeOps cannot run, or None. This does not import KeOps, which would print and look for compilers."""
    if importlib.util.find_spec("pykeops") is None:
        return "pykeops is not installed; install ssm-core[keops]."
    return None


def float64_refusal(*tensors: Tensor | int) -> str | None:
    """Return why a form that keeps some sums in float64 cannot serve the tensors, or None."""
    if any(isinstance(tensor, Tensor) and tensor.device.type == "mps" for tensor in tensors):
        return "it keeps some numbers in float64, which the device does not have."
    return None


def at_least_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Convert the tensors to their common dtype, or to float32 if the common dtype is narrower."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return tuple(tensor.to(dtype) for tensor in tensors)


def full_precision(tensor: Tensor) -> torch.autocast:
    """Return a context without autocast on the device of a tensor: operators compute in the dtype of their inputs."""
    return torch.autocast(tensor.device.type, enabled=False)
