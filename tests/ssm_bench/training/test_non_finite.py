"""The first number that is not finite ends a run at its step, and the sentence names where it came from."""

import torch
from ssm_bench.training.non_finite import LossWatch, find_origin
from torch import Tensor, nn


class Root(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - 1).sqrt()


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Tanh(), Root()), nn.Linear(4, 1))


def test_the_first_layer_is_named() -> None:
    net = model()
    origin = find_origin(net, lambda: net(torch.ones(2, 3)))
    assert origin == "the first layer with such a number is 1.1 (Root)"


def test_a_broken_parameter_is_named() -> None:
    net = model()
    with torch.no_grad():
        net[2].weight[0, 1] = float("inf")
    origin = find_origin(net, lambda: net(torch.ones(2, 3)))
    assert origin == "2.weight had stopped being finite in an earlier step"


def test_hooks_are_gone_afterwards() -> None:
    net = model()
    find_origin(net, lambda: net(torch.ones(2, 3)))
    assert not any(module._forward_hooks for module in net.modules())


def test_the_watch_tells_finite_losses_from_others() -> None:
    watch = LossWatch()
    for value, finite in ((1.0, True), (float("nan"), False), (float("inf"), False), (0.0, True)):
        watch.note(torch.tensor(value))
        assert watch.is_finite() is finite
