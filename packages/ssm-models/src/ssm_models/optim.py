"""Groups of parameters for an optimiser, and learning rate schedules that change at every step."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def parameter_groups(
    model: nn.Module, lr: float, weight_decay: float, *, decay_norms_and_biases: bool = False
) -> list[dict[str, Any]]:
    """Return the parameters of a model in groups of equal learning rate and weight decay, as an optimiser takes them.

    The attribute ``optim`` of a parameter (see :func:`ssm_models.parameters.register`) overrides the values of the run.

    Args:
        model: the model; each of its parameters that requires a gradient is in one group.
        lr: learning rate of parameters that have none of their own.
        weight_decay: weight decay of parameters that have none of their own.
        decay_norms_and_biases: also decay biases and the weights of norms and embeddings of the backbone, as the
            recipes of the S4 and S4D papers do. Encoder and decoder always decay.
    """
    undecayed = set() if decay_norms_and_biases else _norms_and_biases(getattr(model, "backbone", model))
    groups: dict[tuple[float, float], list[Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            own = getattr(parameter, "optim", {})
            decay = 0.0 if id(parameter) in undecayed else own.get("weight_decay", weight_decay)
            groups.setdefault((own.get("lr", lr), decay), []).append(parameter)
    return [
        {"params": parameters, "lr": each_lr, "weight_decay": decay} for (each_lr, decay), parameters in groups.items()
    ]


def _norms_and_biases(module: nn.Module) -> set[int]:
    norms = (nn.LayerNorm, nn.GroupNorm, nn.Embedding, nn.SyncBatchNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return {
        id(parameter)
        for each in module.modules()
        for name, parameter in each.named_parameters(recurse=False)
        if name == "bias" or isinstance(each, norms)
    }


def constant(optimizer: Optimizer, warmup_steps: int = 0) -> LambdaLR:
    """Return linear warm-up, then each group's own learning rate."""
    return _schedule(optimizer, warmup_steps, lambda step: 1.0)


def linear_warmup(optimizer: Optimizer, warmup_steps: int, total_steps: int) -> LambdaLR:
    """Return linear warm-up, then linear decay to 0 at ``total_steps``."""
    return _schedule(optimizer, warmup_steps, lambda step: max(0.0, 1 - _progress(step, warmup_steps, total_steps)))


def cosine_warmup(optimizer: Optimizer, warmup_steps: int, total_steps: int) -> LambdaLR:
    """Return linear warm-up, then half a cosine down to 0 at ``total_steps``."""
    return _schedule(
        optimizer,
        warmup_steps,
        lambda step: 0.5 * (1 + math.cos(math.pi * min(1.0, _progress(step, warmup_steps, total_steps)))),
    )


def multistep(optimizer: Optimizer, milestones: Sequence[int], gamma: float) -> LambdaLR:
    """Return each group's own learning rate, multiplied by ``gamma`` at each of the given steps."""
    return _schedule(optimizer, 0, lambda step: gamma ** sum(step >= milestone for milestone in milestones))


def _progress(step: int, warmup_steps: int, total_steps: int) -> float:
    return (step - warmup_steps) / max(1, total_steps - warmup_steps)


def _schedule(optimizer: Optimizer, warmup_steps: int, after: Callable[[int], float]) -> LambdaLR:
    return LambdaLR(optimizer, lambda step: step / max(1, warmup_steps) if step < warmup_steps else after(step))
