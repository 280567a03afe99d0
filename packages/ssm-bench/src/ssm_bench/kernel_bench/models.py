"""Whole models: a training step as a recipe has it, and the samples that a SaShiMi generates."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
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
from ssm_bench.estimate import published_spec, random_batch
from ssm_bench.kernel_bench import arithmetic
from ssm_bench.kernel_bench.case import Case
from ssm_bench.kernel_bench.grid import Problem
from ssm_bench.recipe import compose_recipe
from ssm_bench.task import Task, interface, target_sums

TRAINED = {  # benchmark, task and model of each training step
    "s4d-scifar-training": ("scifar", "scifar", "s4d"),
    "s4-scifar-training": ("scifar", "scifar", "s4"),
    "s4d-listops-training": ("lra", "listops", "s4d"),
    "s4-listops-training": ("lra", "listops", "s4"),
    "s4d-path-x-training": ("lra", "path-x", "s4d"),
}


def make_case(problem: Problem, device: torch.device) -> Case:
    """The case of a model."""
    return (SteppingCase if problem.name == "sashimi-step" else TrainingCase)(problem, device)


class ModelCase(Case):
    """A model; ``naive`` is the same function with the same parameters, of layers as their formulas."""

    backends = ("naive", "auto")
    mixes = True

    def __init__(self, problem: Problem, device: torch.device) -> None:
        self.problem = problem
        self.device = device

    def traffic(self, work: str) -> float:
        return float("nan")


class TrainingCase(ModelCase):
    """One training step of a recipe's model on random data: forward, loss, backward, optimiser, schedule; in a process
    that keeps freed memory, as ``bench run`` does.

    Errors are those of the outputs and of the whole gradient for a smaller model of the kind, without dropout.
    """

    works = ("training step",)

    def call(self, backend: str, work: str) -> Callable[[], object]:
        if self.device.type == "cpu":
            keep_freed_memory()
        task = _task(self.problem, backend).to(self.device)
        chosen: Any = task.configure_optimizers()
        optimizer, scheduler = chosen["optimizer"], chosen["lr_scheduler"]["scheduler"]
        batch = self._batch(task)

        def step() -> None:
            optimizer.zero_grad()
            self._loss(task, batch)[1].backward()
            optimizer.step()
            scheduler.step()

        return step

    def results(self, backend: str, *, double: bool = False) -> tuple[Tensor, ...]:
        p = self.problem
        small = replace(p, B=2, H=min(p.H, 32), L=min(p.L, 1024), layers=min(p.layers, 2))
        task = _task(small, backend, "model.dropout=0.0").to(self.device)
        x, y, lengths = self._batch(task)
        if double:
            task, x = task.double(), x if task.spec.tokens else x.double()
        outputs, loss = self._loss(task, (x, y, lengths))
        gradient = torch.autograd.grad(loss, list(task.parameters()))
        # One vector: before a batch norm the gradient of a shift or of a common scale vanishes but for rounding.
        return outputs.detach(), torch.cat([each.flatten() for each in gradient])

    def flops(self, work: str) -> float:
        name = self.problem.name
        forward, backward = arithmetic.layer(self.problem, dplr=name.startswith("s4-"), channels=2)
        return self.problem.layers * (forward + backward)

    def _batch(self, task: Task) -> tuple[Tensor, Tensor, Tensor | None]:
        torch.manual_seed(1)
        x, y, lengths = random_batch(task.spec, task.recipe.trainer.batch_size)
        return x.to(self.device), y.to(self.device), None if lengths is None else lengths.to(self.device)

    def _loss(self, task: Task, batch: tuple[Tensor, Tensor, Tensor | None]) -> tuple[Tensor, Tensor]:
        x, y, lengths = batch
        outputs = task.model(x, lengths)
        count, loss, _ = target_sums(task.spec, outputs, y)
        return outputs, loss / count


def _task(p: Problem, backend: str, *words: str) -> Task:
    """A recipe's task in the sizes of the problem, always with the same parameters."""
    suite, name, model = TRAINED[p.name]
    sizes = {"model.n_layers": p.layers, "model.d_model": p.H, "model.d_state": p.N, "trainer.batch_size": p.B}
    overrides = [f"{key}={size}" for key, size in sizes.items()]
    recipe, _ = compose_recipe(benchmark(suite), name, model, "paper", None, [*overrides, *words])
    spec = replace(published_spec(benchmark(suite), name), l_max=p.L)
    torch.manual_seed(0)
    built: nn.Module = build_model(recipe.model, interface(spec))
    if backend == "naive":
        config: Any = recipe.model.for_length(p.L)
        layers = [NaiveS4Layer(p.H, config.layer) for _ in range(p.layers)]
        straightforward = SequenceModel(ResidualStack(layers, config), config, interface(spec))
        straightforward.load_state_dict(built.state_dict())
        built = straightforward
    return Task(built, recipe, spec, steps_per_epoch=1)


class SteppingCase(ModelCase):
    """Samples of a SaShiMi's recurrence, one after another; timed over a whole cycle of its scales.

    ``naive`` steps each block by itself, with all that does not change between steps computed before; ``auto`` replays
    the model's own stepper.
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
