"""Published models by name: each name gives a configuration with the presets of the paper. Does not import torch.

A preset holds the options that define the model; a recipe adds sizes and training. The presets of S4 and S4D follow
version 3 of the authors' code, which gave the published numbers:

- every feature has its own A, B and step size;
- S4D discretises with the bilinear rule, and B of S4D-LegS starts at 1, as in every other diagonal model;
- B of S4 is the whole input vector of its HiPPO measure.

Version 4 of that code starts S4D-LegS from the input vector of LegS (``B_init="hippo"``) and clips the imaginary part
of a HiPPO measure's B at 2 (``B_clip=2.0``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ssm_models.config import (
    HiPPORNNLayerConfig,
    Interface,
    LayerConfig,
    LRULayerConfig,
    S4LayerConfig,
    S4NDLayerConfig,
    S5LayerConfig,
    SashimiConfig,
    StackConfig,
)
from ssm_models.config.checks import field_types
from ssm_models.config.flat import model_from_options
from ssm_models.config.kernels import KERNELS


@dataclass(frozen=True)
class Paper:
    """A paper of the zoo."""

    title: str
    arxiv: str


@dataclass(frozen=True)
class Entry:
    """A model of the zoo.

    Attributes:
        family: models of one family share their settings in the recipes of benchmarks.
        paper: where the model was published.
        layer: class of the layer's configuration.
        model: class of the model's configuration.
        preset: flat options that define the model; they override the defaults of the classes.
        name: the name of the model in error messages.
    """

    family: str
    paper: Paper
    layer: type[LayerConfig]
    model: type[StackConfig] = StackConfig
    preset: Mapping[str, Any] = field(default_factory=dict)
    name: str = "the model"

    def __call__(self, **options: Any) -> StackConfig:
        """Return the configuration with flat options that override the preset.

        If the options choose another kernel, options of the preset that this kernel does not have are dropped.

        Raises:
            ValueError: there is no such option, or a value is wrong.
        """
        preset = self.preset
        if isinstance(kernel := options.get("kernel"), str) and kernel in KERNELS:
            other = set().union(*(field_types(each) for each in KERNELS.values())) - field_types(KERNELS[kernel]).keys()
            preset = {name: value for name, value in preset.items() if name not in other}
        return model_from_options(self.model, self.layer, {**preset, **options}, self.name)

    def why_not(self, io: Interface) -> str:
        """Return why the model does not fit a task, as a sentence; empty if it does."""
        if issubclass(self.layer, S4NDLayerConfig):
            if io.axes == 1:
                return "it needs an input with several axes, as images and videos have, and this input is a sequence."
            return "it gives one output for each example, and not one for each position." if io.l_output else ""
        return "" if io.axes == 1 else f"it runs over a sequence, and this input has {io.axes} axes."


HIPPO = Paper("HiPPO: Recurrent Memory with Optimal Polynomial Projections", "2008.07669")
LSSL = Paper(
    "Combining Recurrent, Convolutional, and Continuous-time Models with Linear State Space Layers", "2110.13985"
)
S4 = Paper("Efficiently Modeling Long Sequences with Structured State Spaces", "2111.00396")
SASHIMI = Paper("It's Raw! Audio Generation with State-Space Models", "2202.09729")
DSS = Paper("Diagonal State Spaces are as Effective as Structured State Spaces", "2203.14343")
HTTYH = Paper("How to Train Your HiPPO: State Space Models with Generalized Orthogonal Basis Projections", "2206.12037")
S4D = Paper("On the Parameterization and Initialization of Diagonal State Space Models", "2206.11893")
S5 = Paper("Simplified State Space Layers for Sequence Modeling", "2208.04933")
MEGA = Paper("Mega: Moving Average Equipped Gated Attention", "2209.10655")
S4ND = Paper("S4ND: Modeling Images and Videos as Multidimensional Signals Using State Spaces", "2210.06583")
LRU = Paper("Resurrecting Recurrent Neural Networks for Long Sequences", "2303.06349")


def _s4(paper: Paper, family: str = "s4", **preset: Any) -> Entry:
    return Entry(family, paper, S4LayerConfig, preset=preset)


def _lssl(**preset: Any) -> Entry:
    return _s4(LSSL, "lssl", kernel="dense", init="legs", n_ssm=1, **preset)


def _dss(**preset: Any) -> Entry:
    """Return a DSS model: all features share A, and B = 1, as C includes it; d_state counts 64 conjugate pairs."""
    rates = {"A": 0.001, "B": 0.0, "dt": 0.001}
    system = {"d_state": 128, "init": "diag-legs", "B_init": "constant", "n_ssm": 1}
    return _s4(DSS, "dss", kernel="diagonal", **system, lr=rates, **preset)


def _s4d(**preset: Any) -> Entry:
    return _s4(S4D, "s4d", kernel="diagonal", disc="bilinear", **preset)


def _sashimi(**preset: Any) -> Entry:
    """Return a SaShiMi with the sizes of the paper's audio models."""
    layer = {"init": "legs", "dt_transform": "softplus", "n_ssm": 1}
    stack = {"n_layers": 8, "d_model": 64, "norm": "scalar", "prenorm": True}
    return Entry("sashimi", SASHIMI, S4LayerConfig, SashimiConfig, {**layer, **stack, **preset})


_ENTRIES: dict[str, Entry] = {
    "hippo-legs": Entry("hippo", HIPPO, HiPPORNNLayerConfig, preset={"measure": "legs"}),
    "hippo-legt": Entry("hippo", HIPPO, HiPPORNNLayerConfig, preset={"measure": "legt"}),
    "hippo-lagt": Entry("hippo", HIPPO, HiPPORNNLayerConfig, preset={"measure": "lagt"}),
    # LSSL trains A and B; LSSL-f fixes both.
    "lssl": _lssl(lr={"A": 0.0001, "B": 0.0001, "dt": 0.001}),
    "lssl-f": _lssl(lr={"A": 0.0, "B": 0.0, "dt": 0.001}),
    "s4": _s4(S4, kernel="dplr", B_clip=None, init="legs"),
    "s4-fout": _s4(HTTYH, kernel="dplr", B_clip=None, init="fourier"),
    # Half of the copies start from LegS and half from FouT, so the number of copies must be even.
    "s4-legs-fout": _s4(HTTYH, "s4-mixture", kernel="dplr", B_clip=None, init="hippo"),
    "dss-exp": _dss(disc="zoh"),
    "dss-softmax": _dss(disc="dss", real_transform="none"),
    "sashimi": _sashimi(),
    "sashimi-unet": _sashimi(unet=True, n_ssm=None, pool_weight_norm=False),
    "s4nd": Entry(
        "s4nd",
        S4ND,
        S4NDLayerConfig,
        preset={
            "bidirectional": True, "n_ssm": 1, "dt_min": 0.1, "dt_max": 1.0, "norm": "layer", "prenorm": True,
        },
    ),
    "s5": Entry("s5", S5, S5LayerConfig),
    "lru": Entry("lru", LRU, LRULayerConfig),
    # The moving averages of Mega, without attention.
    "ema": _s4(MEGA, "ema", kernel="ema", d_state=16, dt_tie=False),
    # "s4d" is S4D-LegS: later papers reprint that row under the name S4D.
    "s4d": _s4d(init="diag-legs", B_init="constant"),
    "s4d-inv": _s4d(init="diag-inv"),
    "s4d-lin": _s4d(init="diag-lin"),
    "s4d-real": _s4d(init="diag-real", is_real=True),
}  # fmt: skip

#: Aliases of models. A model has the same hash under all its names.
ALIASES = {"s4-legs": "s4", "s4d-legs": "s4d"}

#: Every model by its name and by its aliases; an alias has the entry of its model.
ZOO: dict[str, Entry] = {name: replace(entry, name=name) for name, entry in _ENTRIES.items()}
ZOO |= {alias: ZOO[name] for alias, name in ALIASES.items()}


def canonical(name: str) -> str:
    """Return the name of the model that a name or an alias stands for."""
    return ALIASES.get(name, name)
