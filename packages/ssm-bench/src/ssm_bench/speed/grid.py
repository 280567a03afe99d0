"""The problems that ``bench kernels`` measures. Does not import torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """An operator, layer or model at one size.

    Attributes:
        name: an operator; ``s4d-layer`` or ``s4-layer``; ``<model>-<task>-training``, a training step of a benchmark's
            recipe; or ``sashimi-step``, a generated sample.
        B: batch.
        H: features.
        N: state size (N/2 conjugate pairs).
        L: length. B, N or L is 0 if that size has no meaning for the problem.
        layers: number of layers of a model (for SaShiMi at each scale); 0 for an operator or a layer.
    """

    name: str
    B: int
    H: int
    N: int
    L: int
    layers: int = 0


_EVERYWHERE = (
    *(Problem("vandermonde", 0, H, 64, L) for H, L in ((128, 1024), (256, 4096), (256, 16384))),
    Problem("vandermonde_transpose", 16, 128, 64, 1024),
    *(Problem("cauchy", 0, H, 64, L) for H, L in ((128, 1024), (256, 4096), (256, 16384))),
    *(Problem("long_conv", B, H, 0, L) for B, H, L in ((16, 128, 1024), (2, 256, 16384))),
    Problem("diagonal_scan", 16, 128, 64, 1024),
    Problem("ssm_step", 1, 64, 64, 1),
    Problem("s4d-layer", 16, 128, 64, 1024),
    Problem("s4-layer", 16, 128, 64, 1024),
    Problem("sashimi-step", 1, 64, 64, 1, layers=8),
    # The model has the paper's size; the paper's batch is 16.
    Problem("s4d-path-x-training", 2, 256, 64, 16384, layers=6),
)

NAMES = (
    *dict.fromkeys(problem.name for problem in _EVERYWHERE),
    *(f"{model}-{task}-training" for task in ("scifar", "listops") for model in ("s4d", "s4")),
)

#: Problems that are measured at several lengths.
_AT_SEVERAL_LENGTHS = ("vandermonde", "cauchy", "long_conv", "diagonal_scan", "s4d-layer", "s4-layer")


def grid(device: str) -> tuple[Problem, ...]:
    """Return the problems of a type of device, "cpu" or "cuda".

    Training steps have the width and the length of the papers. On a GPU they have the papers' batch and layers, too. A
    CPU would need a minute for such a step, so there batch and layers are smaller.
    """
    # B, H, L, layers
    sizes = {
        "cpu": {"scifar": (4, 512, 1024, 2), "listops": (8, 128, 2048, 2)},
        "cuda": {"scifar": (50, 512, 1024, 6), "listops": (50, 128, 2048, 8)},
    }[device]
    training = [
        Problem(f"{model}-{task}-training", B, H, 64, L, layers)
        for task, (B, H, L, layers) in sizes.items()
        for model in ("s4d", "s4")
    ]
    return (*_EVERYWHERE, *training)


def length_sweep(device: str) -> tuple[Problem, ...]:
    """Return problems of one size at growing length, which the picture shows.

    A device of the type, "cpu" or "cuda", measures them with all back ends in about a minute.
    """
    B, H, lengths = (4, 32, (256, 1024, 4096, 16384)) if device == "cpu" else (16, 256, (1024, 4096, 16384, 65536))
    problems = []
    for name in _AT_SEVERAL_LENGTHS:
        # A layer holds the activations of a whole batch, and a naive scan goes sample by sample.
        longest = lengths[-2] if name in ("diagonal_scan", "s4d-layer", "s4-layer") else lengths[-1]
        batch = 0 if name in ("vandermonde", "cauchy") else B
        states = 0 if name == "long_conv" else 64
        problems += [Problem(name, batch, H, states, L) for L in lengths if longest >= L]
    return tuple(problems)
