"""Make the case of a problem, always with the same random numbers."""

import torch

from ssm_bench.speed.case import Case
from ssm_bench.speed.grid import Problem
from ssm_bench.speed.operators import make_tensor_case


def make_case(problem: Problem, device: torch.device) -> Case:
    """Return the case of an operator, a layer or a model."""
    if problem.layers:
        from ssm_bench.speed import models  # imports Lightning, which takes seconds

        kind = models.SteppingCase if problem.name == "sashimi-step" else models.TrainingCase
        return kind(problem, device)
    return make_tensor_case(problem, device)
