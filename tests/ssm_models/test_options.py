"""Flat options and the tree of configurations are two forms of one thing."""

from typing import Any

import pytest
from ssm_models.config import DiagonalConfig, DPLRConfig, S4LayerConfig, SashimiConfig, StackConfig
from ssm_models.options import from_options, to_options
from ssm_models.zoo import ALIASES, ZOO, canonical


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("changes", [{}, {"n_layers": 2, "d_model": 16, "dropout": 0.1}], ids=["preset", "changed"])
def test_a_configuration_is_its_options(name: str, changes: dict[str, Any]) -> None:
    config = from_options(name, changes)
    options = to_options(config)
    assert from_options(name, options) == config
    assert changes.items() <= options.items()
    changed = to_options(config, changed_only=True)
    assert changed.items() <= options.items()
    assert list(changed) == [key for key in options if key in changed]


def test_a_layer_of_the_users_own() -> None:
    config = from_options("custom", {"path": "own.py:Layer", "args": {"width": 3}, "d_model": 8})
    assert config.layer.path == "own.py:Layer"
    assert from_options("custom", to_options(config)) == config
    assert to_options(config, changed_only=True) == {
        "d_model": 8, "path": "own.py:Layer", "args": {"width": 3},
    }  # fmt: skip
    with pytest.raises(ValueError, match="custom needs the option path"):
        from_options("custom", {})


def test_the_options_have_a_fixed_order() -> None:
    """The stack's, the layer's, the word for the kernel and the kernel's."""
    options = list(to_options(from_options("s4d", {})))
    assert options[:2] == ["n_layers", "d_model"]
    assert options.index("decoder") < options.index("bidirectional") < options.index("kernel") < options.index("init")


def test_a_word_reaches_the_part_that_has_it() -> None:
    config = from_options("s4", {"n_layers": 3, "channels": 2, "d_state": 16, "dropout": 0.2, "kernel": "diagonal"})
    assert (config.n_layers, config.layer.channels, config.layer.kernel.d_state) == (3, 2, 16)
    assert isinstance(config.layer.kernel, DiagonalConfig)
    assert (config.dropout, config.layer.dropout) == (0.2, 0.2)
    assert not config.bidirectional


def test_one_word_cannot_say_two_values() -> None:
    config = StackConfig(dropout=0.1, layer=S4LayerConfig(dropout=0.2))
    with pytest.raises(ValueError, match=r"dropout is 0\.1 in one part of the model and 0\.2 in another"):
        to_options(config)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("s4d", {"d_stat": 4}, "There is no option 'd_stat' of s4d; the nearest known: d_state"),
        (
            "s4d",
            {"rank": 2},
            "There is no option 'rank' of s4d with kernel=diagonal; kernel=dplr and kernel=dense would",
        ),
        ("s4", {"share_channels": True}, "of s4 with kernel=dplr; kernel=ema would have it"),
        ("lru", {"xyzzy": 1}, "There is no option 'xyzzy' of lru; known: "),
        ("s4", {"kernel": "fft"}, "kernel is one of diagonal, dplr, dense, ema, free, not 'fft'"),
        ("s4", {"kernel": None}, "kernel is one of diagonal, dplr, dense, ema, free, not None"),
        ("s4", {"layer": 1}, "There is no option 'layer' of s4"),
        ("s4", {"d_model": 10, "n_ssm": 3}, "n_ssm must divide d_model: 10 is no multiple of 3"),
        ("s4", {"d_state": "16"}, "d_state is a whole number, not '16'"),
        ("s4d", {"lr": {"A": float("nan")}}, "lr has an entry A that is a finite number, not nan"),
        ("s4d", {"init": "diag-line"}, "init of kernel=diagonal is one of .*, not 'diag-line'"),
        ("s5d", {}, "There is no model 's5d' in the zoo; there are hippo-legs"),
    ],
)
def test_bad_options_are_refused_with_a_sentence(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        from_options(name, options)
    assert str(error.value).endswith(".")


def test_another_kernel_takes_what_it_has_of_the_preset() -> None:
    config = from_options("s4d", {"kernel": "ema"})
    assert to_options(config, changed_only=True) == {"kernel": "ema"}
    assert from_options("s4d", {"kernel": "dplr"}).layer.kernel.init == "diag-legs"


def test_the_center_of_sashimi() -> None:
    config = from_options("sashimi", {"center": {"kernel": "diagonal", "d_state": 8}})
    assert isinstance(config, SashimiConfig)
    assert isinstance(config.s4.kernel, DPLRConfig)
    center = config.at_center().kernel
    assert isinstance(center, DiagonalConfig)
    assert (center.d_state, center.dt_transform, center.n_ssm) == (8, "softplus", 1)
    assert from_options("sashimi", to_options(config)) == config


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_the_model_itself(alias: str) -> None:
    assert canonical(alias) == ALIASES[alias]
    assert canonical(ALIASES[alias]) == ALIASES[alias]
    assert from_options(alias, {"d_state": 8}) == from_options(ALIASES[alias], {"d_state": 8})
    assert ZOO[alias] is ZOO[ALIASES[alias]]
