"""How the measurements treat each back end: its place in tables, time limit and color. Does not import torch.

An operator may declare a back end under any name. A name that is not listed here is measured, too, after the others.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Treatment:
    """How one back end is measured and shown.

    Attributes:
        label: its name in a picture.
        color: its color in a picture.
        patience: the seconds that one call may take; a slower back end is left out with a sentence.
        ours: whether it counts as "ours" in the summary. That is what AUTO may choose, or a layer or model as it is.
    """

    label: str
    color: str
    patience: float = 20.0
    ours: bool = True


TREATMENTS = {
    "naive": Treatment("naive: the formula", "#8c8c8c", ours=False),
    "keops": Treatment("KeOps", "#d98c21", patience=3.0, ours=False),
    "torch": Treatment("PyTorch, fast form", "#2166ac"),
    "cuda": Treatment("CUDA kernel", "#1b9e4b"),
    # AUTO uses the tensor cores only for bfloat16; the measurements are in float32.
    "tensor-cores": Treatment("CUDA kernel on tensor cores", "#c2307a", ours=False),
    "auto": Treatment("our layer (naive: its formula)", "#7b4ea3"),
}
_OTHER_COLORS = ("#a6611a", "#018571", "#5e3c99", "#b2182b")


def treatment(backend: str) -> Treatment:
    """Return the treatment of a back end; one that is not listed gets a color that depends on its name."""
    if backend in TREATMENTS:
        return TREATMENTS[backend]
    return Treatment(backend, _OTHER_COLORS[sum(backend.encode()) % len(_OTHER_COLORS)])


def in_order(backends: list[str]) -> list[str]:
    """Sort back ends: first those of :data:`TREATMENTS`, in its order; then the others, in the given order."""
    order = list(TREATMENTS)
    return sorted(backends, key=lambda each: order.index(each) if each in order else len(order))
