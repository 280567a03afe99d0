"""The memory of a process of its own."""

import pytest
from ssm_bench import memory
from ssm_bench.speed import own_process
from ssm_bench.speed.grid import Problem


@pytest.mark.skipif(not memory.LINUX_RESET.exists(), reason="the memory of a process is read from /proc")
def test_a_process_of_its_own_tells_all_that_is_needed():
    """The sum has 2^25 complex terms, which take 256 MiB in each of a few tensors; Python and torch come on top."""
    assert 2**30 < own_process.peak_resident(Problem("vandermonde", 0, 2, 8, 2**22), "naive", "forward") < 2**31
