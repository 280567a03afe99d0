"""Combinations of options that have no meaning are refused with a sentence."""

import pytest
from ssm_testing.configs import s4_config


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kernel": "dplr", "disc": "zoh"}, "kernel=diagonal and kernel=dense would have it"),
        (
            {"kernel": "dplr", "is_real": True, "init": "diag-real"},
            "'is_real' of the model with kernel=dplr; kernel=diagonal would have it",
        ),
        ({"kernel": "diagonal", "rank": 2}, "no option 'rank'"),
        ({"kernel": "dense", "bandlimit": 0.5}, "no option 'bandlimit'"),
        ({"kernel": "dense", "disc": "dss"}, "disc is one of zoh, bilinear, not 'dss'"),
        ({"kernel": "free"}, "set l_max"),
        ({"kernel": "diagonal", "is_real": True}, "init=diag-real"),
        (
            {"kernel": "diagonal", "is_real": True, "init": "diag-real", "bandlimit": 0.5},
            "bandlimit has no meaning for init=diag-real",
        ),
        ({"kernel": "diagonal", "is_real": True, "init": "diag-real", "disc": "dss"}, "complex kernel"),
        ({"d_state": 5}, "even"),
        ({"dt_min": 0.1, "dt_max": 0.01}, "dt_min <= dt_max"),
        ({"lr": {"E": 0.1}}, "entries for A, B, C, dt, not for 'E'"),
        ({"wd": {"A": -0.1}}, "wd has an entry A that is at least 0"),
        ({"bandlimit": 0.0}, "bandlimit"),
        ({"dropout": 1.0}, "dropout is below 1"),
        ({"gate_act": "gelu"}, "set gate"),
        ({"gate": 2, "final_act": None}, "final_act"),
        ({"d_model": 10, "n_ssm": 3}, "n_ssm must divide d_model"),
        ({"d_model": 10, "bottleneck": 4}, "bottleneck must divide d_model"),
        ({"n_layers": 0}, "n_layers"),
        ({"rank": 0}, "rank is at least 1"),
        ({"l_max": 0}, "l_max is at least 1"),
    ],
)
def test_unsupported_combinations_are_refused_with_a_sentence(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        s4_config(**options)
    assert str(error.value).endswith(".")
