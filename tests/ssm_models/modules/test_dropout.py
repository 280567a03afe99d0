"""Dropout with one mask for the whole length."""

import math

import torch
from ssm_models.layers.s4 import S4Layer
from ssm_testing.configs import s4_layer_config


def test_dropout_masks_whole_features_when_tied() -> None:
    torch.manual_seed(0)
    for tied in (True, False):
        layer = S4Layer(6, s4_layer_config(d_state=4, dropout=0.5, tie_dropout=tied))
        dropped = layer.drop(torch.ones(4, 50, 6))
        share = (dropped == 0).float().mean(1)
        assert bool(((share == 0) | (share == 1)).all()) == tied
        assert math.isclose(layer.eval().drop(torch.ones(1, 5, 6)).sum(), 30.0)
