"""The summary of a measurement."""

import math

from ssm_bench.speed import report
from ssm_testing.problems import SMALL, row


def test_a_summary_has_a_line_a_problem():
    cauchy, step, trained = SMALL["cauchy"], SMALL["sashimi-step"], SMALL["s4d-path-x-training"]
    unknown = {"gflops_share": math.nan, "gbytes_share": math.nan}
    rows = [
        row(cauchy, ms=8, peak_mib=50.0),
        row(cauchy, "torch", ms=2, speedup=4.0, gflops_share=0.1, gbytes_share=0.5, error=3.0, naive_error=2.0),
        row(cauchy, "torch", "forward", ms=0.1),
        row(step, work="sample", ms=4, **unknown),
        row(step, "auto", "sample", ms=0.5, speedup=8.0, **unknown),
        row(trained, "auto", "training step", ms=7, speedup=math.nan, resident_mib=2000.0, gflops_share=0.25),
    ]
    head, lines = report.summary(rows)
    assert head == ["Problem", "B,H,N,L", "naive ms", "ours ms", "× naive", "peak", "MiB", "RSS", "error"]
    assert lines == [
        ["cauchy", "2,20,8,33", "8", "2", "4", "50% b", "50 → 1", "", "1.5"],
        ["sashimi-step", "2,4,4,1 ×1", "4 (250/s)", "0.5 (2,000/s)", "8", "", "1 → 1", "", "1"],
        ["s4d-path-x-training", "2,20,8,33 ×2", "", "7", "", "100% b", "→ 1", "2,000", "1"],
    ]


def test_a_summary_of_a_gpu_shows_torch_and_keops_beside_the_fastest():
    problem = SMALL["vandermonde"]
    rows = [row(problem, name, ms=ms) for name, ms in (("naive", 9), ("keops", 4), ("torch", 3), ("cuda", 2))]
    head, (line,) = report.summary(rows)
    assert dict(zip(head, line, strict=True)) | {"naive ms": "9", "keops ms": "4", "torch ms": "3", "ours ms": "2"} == (
        dict(zip(head, line, strict=True))
    )
