"""What is measured of a problem: what ``problems`` and ``models`` make, and ``measure`` runs."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor


class Case(ABC):
    """A problem that can be run.

    Attributes:
        works: what can be timed of it: ``forward+backward``, ``forward``, ``training step``, ``sample``.
        backends: those that can run, the baseline ``naive`` first.
        refusals: for each that cannot, a sentence.
        mixes: whether each feature depends on the others, so that the time of a few says nothing of that of all.
        units: what is timed happens so many times in a call.
    """

    works: tuple[str, ...]
    backends: tuple[str, ...]
    refusals: tuple[tuple[str, str], ...] = ()
    mixes = False
    units = 1

    @abstractmethod
    def call(self, backend: str, work: str) -> Callable[[], object]:
        """What is timed."""

    @abstractmethod
    def results(self, backend: str, *, double: bool = False) -> tuple[Tensor, ...]:
        """Outputs and gradients of so much of the problem as errors are taken of; ``double``: in float64."""

    @abstractmethod
    def flops(self, work: str) -> float:
        """Floating point operations of a unit, in the fast real form; nan where nobody counts them."""

    @abstractmethod
    def traffic(self, work: str) -> float:
        """Bytes that a unit moves at least; nan where nobody counts them."""
