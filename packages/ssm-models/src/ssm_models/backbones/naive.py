"""A step of SaShiMi that runs block by block: the oracle of the tests and the baseline of the timings."""

from typing import Any, cast

import torch
from torch import Tensor

from ssm_models.backbones.sashimi import Sashimi, Scale
from ssm_models.contract import State, Stepper


def sashimi_stepper(model: Sashimi) -> Stepper:
    """Return a stepper of a SaShiMi that is not a U-Net; it runs the step of each block separately.

    The initial state is None. Later states have one entry for each scale, the finest first: the fine samples since the
    last coarse one, the outputs of the last coarse sample for the fine samples after it, and the states of the blocks.
    """
    scales = [cast(Scale, scale) for scale in model.scales]
    lists = [list(cast(Any, blocks)) for blocks in (*(scale.after for scale in scales), model.center)]
    chains = [[block.stepper() for block in blocks] for blocks in lists]

    def at_rest(B: int) -> State:
        state: State = []
        for i, blocks in enumerate(lists):
            factor = scales[i].factor if i < len(scales) else 0
            silence = model.norm.weight.new_zeros(B, model.config.d_model * model.config.expand**i)
            state.append(([], [silence] * factor, [block.initial_state(B) for block in blocks]))
        return state

    def descend(i: int, x: Tensor, state: State) -> Tensor:
        seen, said, states = state[i]
        if i < len(scales):
            z = said[len(seen)]
            seen.append(x)
            if len(seen) == scales[i].factor:
                coarse = descend(i + 1, scales[i].coarsen(torch.stack(seen, 1))[:, 0], state)
                said[:] = scales[i].refine(coarse[:, None]).unbind(1)
                seen.clear()
            x = x + z
        y = x
        for j, step in enumerate(chains[i]):
            y, states[j] = step(y, states[j])
        return x + y

    def step(u: Tensor, state: State) -> tuple[Tensor, State]:
        state = at_rest(len(u)) if state is None else state
        return model.norm.step(descend(0, u, state)), state

    return step
