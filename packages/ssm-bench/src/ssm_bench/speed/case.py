"""The interface of a case: what ``measure`` can measure for a problem."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor


class Case(ABC):
    """A problem that can be run.

    Attributes:
        works: what can be timed: ``forward+backward``, ``forward``, ``training step``, ``sample``.
        backends: the back ends that can run; the baseline ``naive`` is the first.
        refusals: (back end, sentence) for each back end that cannot run.
        mixes: whether each feature depends on the others. If so, the time of a few features does not tell the time of
            all of them.
        units: number of times that one call does the work.
    """

    works: tuple[str, ...]
    backends: tuple[str, ...]
    refusals: tuple[tuple[str, str], ...] = ()
    mixes = False
    units = 1

    @abstractmethod
    def call(self, backend: str, work: str) -> Callable[[], object]:
        """Return the call that is timed."""

    @abstractmethod
    def results(self, backend: str, *, double: bool = False) -> tuple[Tensor, ...]:
        """Return outputs and gradients of the part of the problem on which errors are measured.

        Args:
            double: compute in float64.
        """

    @abstractmethod
    def flops(self, work: str) -> float:
        """Return the floating point operations of a unit in the fast real form; nan if they are not counted."""

    @abstractmethod
    def traffic(self, work: str) -> float:
        """Return the least bytes that a unit moves; nan if they are not counted."""
