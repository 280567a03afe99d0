"""The cases of whole models: a training step of a recipe, and the samples that a SaShiMi generates."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ssm_data.contract import Batch
from ssm_models.backbones.naive import sashimi_stepper
from ssm_models.backbones.sashimi import Sashimi
from ssm_models.backbones.stack import ResidualStack
from ssm_models.contract import State, Stepper
from ssm_models.generation.replay import Replay
from ssm_models.layers.naive import NaiveS4Layer
from ssm_models.model import SequenceModel, build_backbone, build_model
from ssm_models.zoo import ZOO
from torch import Tensor, nn

from ssm_bench.allocator import keep_freed_memory
from ssm_bench.catalog import benchmark
from ssm_bench.fit import interface
from ssm_bench.recipe import compose_recipe
from ssm_bench.speed import flops
from ssm_bench.speed.case import Case
from ssm_bench.speed.grid import Problem
from ssm_bench.speed.training_step import random_batch
from ssm_bench.training.losses import target_sums
from ssm_bench.training.module import TrainingModule

#: Benchmark, task and model of each training step.
TRAINED = {
    "s4d-scifar-training": ("scifar", "scifar", "s4d"),
    "s4-scifar-training": ("scifar", "scifar", "s4"),
    "s4d-listops-training": ("lra", "listops", "s4d"),
    "s4-listops-training": ("lra", "listops", "s4"),
    "s4d-path-x-training": ("lra", "path-x", "s4d"),
}


class ModelCase(Case):
    """A model. ``naive`` computes the same function with the same parameters; its layers are written as formulas."""

    backends = ("naive", "auto")
    mixes = True

    def __init__(self, problem: Problem, device: torch.device) -> None:
        self.problem = problem
        self.device = device

    def traffic(self, work: str) -> float:
        return float("nan")


class TrainingCase(ModelCase):
    """One training step of a recipe's model on random data: forward, loss, backward, optimiser, schedule.

    The process keeps freed memory, as a run does. Errors are measured on the outputs and the whole gradient of a
    smaller model of the same kind, without dropout.
    """

    works = ("training step",)

    def call(self, backend: str, work: str) -> Callable[[], object]:
        if self.device.type == "cpu":
            keep_freed_memory()
        module = _module(self.problem, backend).to(self.device)
        chosen: Any = module.configure_optimizers()
        optimizer, scheduler = chosen["optimizer"], chosen["lr_scheduler"]["scheduler"]
        batch = self._batch(module)

        def step() -> None:
            optimizer.zero_grad()
            self._loss(module, batch)[1].backward()
            optimizer.step()
            scheduler.step()

        return step

    def results(self, backend: str, *, double: bool = False) -> tuple[Tensor, ...]:
        p = self.problem
        small = replace(p, B=2, H=min(p.H, 32), L=min(p.L, 1024), layers=min(p.layers, 2))
        module = _module(small, backend, "model.dropout=0.0").to(self.device)
        x, y, lengths = self._batch(module)
        if double:
            module, x = module.double(), x if module.spec.tokens else x.double()
        outputs, loss = self._loss(module, Batch(x, y, lengths))
        gradient = torch.autograd.grad(loss, list(module.parameters()))
        # All gradients are joined into one vector. The gradient of a shift or a common scale before a batch norm is
        # zero up to rounding, so an error relative to its own size would mean nothing.
        return outputs.detach(), torch.cat([each.flatten() for each in gradient])

    def flops(self, work: str) -> float:
        name = self.problem.name
        forward, backward = flops.layer(self.problem, dplr=name.startswith("s4-"), channels=2)
        return self.problem.layers * (forward + backward)

    def _batch(self, module: TrainingModule) -> Batch:
        torch.manual_seed(1)
        return random_batch(module.spec, module.recipe.trainer.batch_size, self.device)

    def _loss(self, module: TrainingModule, batch: Batch) -> tuple[Tensor, Tensor]:
        outputs = module.model(batch.x, batch.lengths)
        count, loss, _ = target_sums(module.spec, outputs, batch.y)
        return outputs, loss / count


def _module(p: Problem, backend: str, *words: str) -> TrainingModule:
    """Return the training module of a recipe in the sizes of the problem, always with the same parameters."""
    suite, name, model = TRAINED[p.name]
    sizes = {"model.n_layers": p.layers, "model.d_model": p.H, "model.d_state": p.N, "trainer.batch_size": p.B}
    overrides = [f"{key}={size}" for key, size in sizes.items()]
    recipe, _ = compose_recipe(benchmark(suite), name, model, "paper", None, [*overrides, *words])
    spec = replace(recipe.data.expected(), l_max=p.L)
    torch.manual_seed(0)
    built: nn.Module = build_model(recipe.model, interface(spec))
    if backend == "naive":
        config: Any = recipe.model.for_length(p.L)
        layers = [NaiveS4Layer(p.H, config.layer) for _ in range(p.layers)]
        naive = SequenceModel(ResidualStack(layers, config), config, interface(spec))
        naive.load_state_dict(built.state_dict())
        built = naive
    return TrainingModule(built, recipe, spec, steps_per_epoch=1, run_hash="", folder=Path())


class SteppingCase(ModelCase):
    """Samples of a SaShiMi's recurrence, one after another. A call is a whole cycle of its scales.

    ``naive`` steps block by block; everything that does not change between steps is computed in advance. ``auto``
    replays the model's own stepper.
    """

    works = ("sample",)
    units = 16

    def call(self, backend: str, work: str) -> Callable[[], object]:
        step, state = self._start(backend, self._model())
        inputs = self._inputs(self.units)

        @torch.no_grad()
        def cycle() -> None:
            nonlocal state
            for u in inputs:
                _, state = step(u, state)

        return cycle

    @torch.no_grad()
    def results(self, backend: str, *, double: bool = False) -> tuple[Tensor, ...]:
        model, inputs = self._model(), self._inputs(4 * self.units)
        if double:
            model, inputs = model.double(), inputs.double()
        step, state = self._start(backend, model)
        outputs = []
        for u in inputs:
            y, state = step(u, state)
            outputs.append(y.clone())
        return (torch.stack(outputs),)

    def flops(self, work: str) -> float:
        return float("nan")

    @torch.no_grad()
    def _start(self, backend: str, model: Sashimi) -> tuple[Stepper, State]:
        if backend == "naive":
            return sashimi_stepper(model), None
        return Replay(model.stepper()), model.initial_state(self.problem.B)

    def _model(self) -> Sashimi:
        torch.manual_seed(0)
        config = ZOO["sashimi"](d_model=self.problem.H, d_state=self.problem.N, n_layers=self.problem.layers)
        model: Any = build_backbone(config)
        return model.to(self.device).eval()

    def _inputs(self, count: int) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return torch.randn(count, self.problem.B, self.problem.H, generator=generator).to(self.device)
