"""The problems that ``bench kernels`` measures. Does not import torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """An operator, layer or model at one size.

    Attributes:
        name: of the operator; ``s4d-layer``, ``s4-layer``; ``<model>-<task>-training``, a training step of a
            benchmark's recipe; ``sashimi-step``, a generated sample.
        B: batch, H: features, N: state size (N/2 conjugate pairs), L: length; 0 where a size has no meaning.
        layers: of a model; of SaShiMi at each scale. 0: no model.
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
    # The paper's model; its batch is 16.
    Problem("s4d-path-x-training", 2, 256, 64, 16384, layers=6),
)

NAMES = (
    *dict.fromkeys(problem.name for problem in _EVERYWHERE),
    *(f"{model}-{task}-training" for task in ("scifar", "listops") for model in ("s4d", "s4")),
)

_SWEPT = ("vandermonde", "cauchy", "long_conv", "diagonal_scan", "s4d-layer", "s4-layer")


def grid(device: str) -> tuple[Problem, ...]:
    """The problems of a device of the type ("cpu", "cuda").

    Training steps have the width and length of the papers; their batch and layers too on a GPU, while on a CPU, where
    such a step takes a minute, both are cut.
    """
    sizes = {  # B, H, L, layers
        "cpu": {"scifar": (4, 512, 1024, 2), "listops": (8, 128, 2048, 2)},
        "cuda": {"scifar": (50, 512, 1024, 6), "listops": (50, 128, 2048, 8)},
    }[device]
    training = [
        Problem(f"{model}-{task}-training", B, H, 64, L, layers)
        for task, (B, H, L, layers) in sizes.items()
        for model in ("s4d", "s4")
    ]
    return (*_EVERYWHERE, *training)


def sweep(device: str) -> tuple[Problem, ...]:
    """Problems of one size at growing length, as the pictures draw them: as much as a device of the type ("cpu",
    "cuda") does in about a minute with all back ends."""
    B, H, lengths = (4, 32, (256, 1024, 4096, 16384)) if device == "cpu" else (16, 256, (1024, 4096, 16384, 65536))
    problems = []
    for name in _SWEPT:
        # Layers hold the activations of a whole batch, and naive scans go sample by sample.
        longest = lengths[-2] if name in ("diagonal_scan", "s4d-layer", "s4-layer") else lengths[-1]
        batch = 0 if name in ("vandermonde", "cauchy") else B
        states = 0 if name == "long_conv" else 64
        problems += [Problem(name, batch, H, states, L) for L in lengths if longest >= L]
    return tuple(problems)
