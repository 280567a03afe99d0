"""The residual stack."""

import pytest
from ssm_models.model import build_backbone
from ssm_models.zoo import ZOO


def test_the_stack_refuses_a_layer_of_another_width() -> None:
    config = ZOO["s4d"](d_model=4, d_state=4, channels=2, final_act=None)
    with pytest.raises(ValueError, match="set final_act"):
        build_backbone(config)
