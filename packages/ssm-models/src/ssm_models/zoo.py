"""Named models: a paper's name gives its configuration class with the paper's presets. Does not import torch.

A preset holds what makes the model that model; a recipe adds sizes and training. The presets of S4 and S4D follow
version 3 of the authors' code, which gave the published numbers:

- every feature has its own A, B and step size;
- S4D discretises with the bilinear rule, and B of S4D-LegS starts at 1 like that of every other diagonal model;
- B of S4 is the whole input vector of its HiPPO measure.

Version 4 of that code starts S4D-LegS from the input vector of LegS (``B_init="hippo"``) and clips the imaginary part
of a HiPPO measure's B at 2 (``B_clip=2.0``).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from ssm_models.config import (
    HiPPORNNConfig,
    Interface,
    LRUConfig,
    S4Config,
    S4NDConfig,
    S5Config,
    SashimiConfig,
    StackConfig,
)

_s4 = partial(S4Config, kernel="dplr", B_clip=None)
_lssl = partial(S4Config, kernel="dense", init="legs", n_ssm=1, lr={"A": 0.0001, "B": 0.0001, "dt": 0.001})
_dss = partial(
    S4Config,
    kernel="diagonal",
    d_state=128,
    init="diag-legs",
    B_init="constant",
    n_ssm=1,
    lr={"A": 0.001, "B": 0.0, "dt": 0.001},
)
_sashimi = partial(
    SashimiConfig, init="legs", dt_transform="softplus", n_ssm=1, n_layers=8, d_model=64, norm="scalar", prenorm=True
)
_s4d = partial(S4Config, kernel="diagonal", disc="bilinear")
_s4d_legs = partial(_s4d, init="diag-legs", B_init="constant")

_PRESETS: dict[str, partial[Any]] = {
    # "HiPPO: Recurrent Memory with Optimal Polynomial Projections" (arXiv:2008.07669).
    "hippo-legs": partial(HiPPORNNConfig, measure="legs"),
    "hippo-legt": partial(HiPPORNNConfig, measure="legt"),
    "hippo-lagt": partial(HiPPORNNConfig, measure="lagt"),
    # "Combining Recurrent, Convolutional, and Continuous-time Models with Linear State Space Layers"
    # (arXiv:2110.13985): A and B trained, and LSSL-f with both fixed.
    "lssl": partial(_lssl),
    "lssl-f": partial(_lssl, lr={"A": 0.0, "B": 0.0, "dt": 0.001}),
    # "Efficiently Modeling Long Sequences with Structured State Spaces" (arXiv:2111.00396).
    "s4": partial(_s4, init="legs"),
    # "How to Train Your HiPPO" (arXiv:2206.12037).
    "s4-fout": partial(_s4, init="fourier"),
    "s4-legs-fout": partial(_s4, init="hippo"),
    # "Diagonal State Spaces are as Effective as Structured State Spaces" (arXiv:2203.14343).
    # One spectrum for all features, B = 1 (it is part of C); 64 complex entries are 128 with their conjugates.
    "dss-exp": partial(_dss, disc="zoh"),
    "dss-softmax": partial(_dss, disc="dss", real_transform="none"),
    # "It's Raw! Audio Generation with State-Space Models" (arXiv:2202.09729), in the sizes of its audio models.
    "sashimi": partial(_sashimi),
    "sashimi-unet": partial(_sashimi, unet=True, n_ssm=None, pool_weight_norm=False),
    # "S4ND: Modeling Images and Videos as Multidimensional Signals Using State Spaces" (arXiv:2210.06583).
    "s4nd": partial(S4NDConfig, bidirectional=True, n_ssm=1, dt_min=0.1, dt_max=1.0, norm="layer", prenorm=True),
    # "Simplified State Space Layers for Sequence Modeling" (arXiv:2208.04933).
    "s5": partial(S5Config),
    # "Resurrecting Recurrent Neural Networks for Long Sequences" (arXiv:2303.06349).
    "lru": partial(LRUConfig),
    # The moving averages of "Mega: Moving Average Equipped Gated Attention" (arXiv:2209.10655), without attention.
    "ema": partial(S4Config, kernel="ema", d_state=16, dt_tie=False),
    # "On the Parameterization and Initialization of Diagonal State Space Models" (arXiv:2206.11893).
    # "s4d" is S4D-LegS: later papers reprint that row under the name S4D.
    "s4d": partial(_s4d_legs),
    "s4d-inv": partial(_s4d, init="diag-inv"),
    "s4d-lin": partial(_s4d, init="diag-lin"),
    "s4d-real": partial(_s4d, init="diag-real", is_real=True),
}

#: Other names of a model; a model has one hash, whatever it was called.
ALIASES = {"s4-legs": "s4", "s4d-legs": "s4d"}


@dataclass(frozen=True)
class Entry:
    """A model of the zoo: its configuration class with presets, and the family that benchmarks have settings for."""

    preset: partial[Any]
    family: str

    def __call__(self, **options: Any) -> StackConfig:
        """Return the configuration with some options changed."""
        return self.preset(**options)

    def why_not(self, io: Interface) -> str:
        """Return why the model does not fit a task, as a sentence; empty if it does."""
        axes = len(io.l_max) if isinstance(io.l_max, tuple) else 1
        if issubclass(self.preset.func, S4NDConfig):
            return "" if axes > 1 else "it needs images or videos, and this input is a sequence."
        return "" if axes == 1 else f"it runs over a sequence, and this input has {axes} axes."


def canonical(name: str) -> str:
    """Return the name of a model that may be called by another one."""
    return ALIASES.get(name, name)


def _family(name: str) -> str:
    return name.partition("-")[0]


ZOO: dict[str, Entry] = {
    **{name: Entry(preset, _family(name)) for name, preset in _PRESETS.items()},
    **{alias: Entry(_PRESETS[name], _family(name)) for alias, name in ALIASES.items()},
}
