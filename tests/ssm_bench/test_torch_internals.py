"""The private parts of torch that ssm-bench uses, in torch 2.11 to 2.14."""

import torch
from ssm_bench.torch_internals import allocations


def test_the_profiler_of_torch_2_11_to_2_14_tells_each_allocation_and_release() -> None:
    def call() -> None:
        x = torch.ones(2**18)
        del x
        torch.ones(2**17)

    found = [change for change in allocations(call) if abs(change) >= 2**17]
    assert found == [2**20, -(2**20), 2**19, -(2**19)]
