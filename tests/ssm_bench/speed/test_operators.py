"""The cases of operators and of single layers."""

import dataclasses

import pytest
import torch
from ssm_bench.speed import cases, operators
from ssm_bench.speed.grid import Problem
from ssm_testing.problems import CPU, SMALL


@pytest.mark.parametrize("name", ["s4d-layer", "s4-layer"])
def test_a_compiled_layer_is_the_layer(name):
    case = operators.make_tensor_case(SMALL[name], CPU)
    compiled = dataclasses.replace(case, function=torch.compile(case.function, fullgraph=True, backend="aot_eager"))
    for one, other in zip(compiled.results("auto"), case.results("auto"), strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_of_the_others_do_not_hang_on_a_kernel_that_fails():
    case = operators.make_tensor_case(SMALL["vandermonde"], CPU)
    broken = dataclasses.replace(case, backends=(*case.backends, "broken"))
    assert len(broken.results("naive")) == 3


def test_a_back_end_that_an_operator_lacks_is_no_omission() -> None:
    assert cases.make_case(Problem("long_conv", 1, 8, 0, 16), CPU).refusals == ()
