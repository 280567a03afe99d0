"""The kinds of work in a training step."""

import pytest
from ssm_bench.speed.profiler import KINDS, step_parts
from ssm_testing.problems import CPU, SMALL


def test_a_profile_is_the_whole_step():
    parts = step_parts(SMALL["s4-scifar-training"], CPU)
    assert {part.kind for part in parts} <= set(KINDS)
    assert {"matrix products", "Fourier transforms", "optimiser"} <= {part.kind for part in parts}
    assert sum(part.share for part in parts) == pytest.approx(1)
    assert all(part.share > 0 for part in parts)
    found = {part.kind: part for part in parts}
    assert found["Fourier transforms"].largest[0][0].startswith("_fft_")
    assert found["Fourier transforms"].calls >= 4  # of the batch and the kernel, to and fro
