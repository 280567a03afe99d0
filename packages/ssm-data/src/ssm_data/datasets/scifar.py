"""Sequential CIFAR-10 (sCIFAR): colour images, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ssm_data.datasets.cifar10 import CIFAR10


@dataclass(frozen=True, kw_only=True)
class SequentialCIFAR(CIFAR10):
    """Colour images of ten classes as sequences of 1,024 pixels with three standardised channels."""

    name: ClassVar[str] = "scifar"
    title: ClassVar[str] = "sCIFAR"
