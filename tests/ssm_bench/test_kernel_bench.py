"""The measurements of ``bench kernels`` and ``bench doctor``, on small problems; no times are judged."""

import argparse
import csv
import dataclasses
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from ssm_bench.catalog import benchmark
from ssm_bench.cli import main
from ssm_bench.kernel_bench import examine, measure, memory, models, plot, problems, report
from ssm_bench.kernel_bench.grid import NAMES, Problem, grid, sweep
from ssm_bench.kernel_bench.profile import KINDS, profile
from ssm_bench.recipe import compose_recipe
from ssm_core.backends import OPERATORS, Backend, Implementation
from ssm_models.options import to_options

CPU = torch.device("cpu")
DEVICES = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]
TRAINED = [name for name in NAMES if name.endswith("-training")]
SMALL = {name: Problem(name, 2, 20, 8, 33, layers=2 if name in TRAINED else 0) for name in NAMES}
SMALL["ssm_step"] = Problem("ssm_step", 2, 20, 8, 1)
SMALL["sashimi-step"] = Problem("sashimi-step", 2, 4, 4, 1, layers=1)
TOP = measure.Ceiling(1e10, 1e10)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Few repetitions, and no KeOps, which compiles."""
    monkeypatch.setattr(measure, "_SECONDS", 0.0)
    for operator in OPERATORS.values():
        without = {name: each for name, each in operator.implementations.items() if name is not Backend.KEOPS}
        monkeypatch.setattr(operator, "implementations", without)


def test_every_operator_is_in_the_grid():
    assert set(OPERATORS) <= set(NAMES)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_grid_has_every_name_and_the_sizes_of_the_papers(device):
    assert {problem.name for problem in grid(device)} == set(NAMES)
    for problem in grid(device):
        if problem.name in TRAINED:
            suite, task, model = models.TRAINED[problem.name]
            recipe, _ = compose_recipe(benchmark(suite), task, model, "paper", None, [])
            assert (recipe.model.d_model, to_options(recipe.model)["d_state"]) == (problem.H, problem.N)
            assert getattr(recipe.data, "l_max", benchmark(suite).tasks[task]["shape"]["l_max"]) == problem.L
            whole = problem.layers == recipe.model.n_layers
            assert whole == (device == "cuda" or task == "path-x")


@pytest.mark.parametrize("name", NAMES)
def test_back_ends_compute_the_same(name):
    case = problems.make_case(SMALL[name], CPU)
    expected = case.results("naive", double=True)
    assert len(case.backends) > 1
    for backend in case.backends:
        for one, other in zip(case.results(backend, double=True), expected, strict=True):
            assert one.dtype == torch.float64
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8 * other.abs().max().item())


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_float32_is_no_worse_than_naive(name, device):
    """By 4 times, from the rounding of one number on."""
    L = 1 if SMALL[name].L == 1 else 300
    case = problems.make_case(dataclasses.replace(SMALL[name], N=32, L=L), device)
    truths = case.results("naive", double=True)
    naive = measure.error(case, "naive", truths)
    for backend in case.backends:
        assert 0 < measure.error(case, backend, truths) <= 4 * max(naive, torch.finfo(torch.float32).eps)


@pytest.mark.parametrize("name", ["s4d-layer", "s4-layer"])
def test_a_compiled_layer_is_the_layer(name):
    """Output and every gradient."""
    case = problems.make_tensor_case(SMALL[name], CPU)
    compiled = dataclasses.replace(case, function=torch.compile(case.function, fullgraph=True, backend="aot_eager"))
    for one, other in zip(compiled.results("auto"), case.results("auto"), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_for_each_back_end_and_work(name):
    rows, omissions = measure.measure(SMALL[name], CPU, TOP)
    works = {"forward", "forward+backward"}
    if name == "ssm_step":
        works = {"forward"}
    elif SMALL[name].layers:
        works = {"training step"} if name in TRAINED else {"sample"}
    backends = {"naive", "torch"} if name in OPERATORS else {"naive", "auto"}
    assert {(row.work, row.backend) for row in rows} == {(work, each) for work in works for each in backends}
    assert not any(omission.failed for omission in omissions)
    for row in rows:
        assert row.problem == SMALL[name]
        assert 0 < row.quartile1_ms <= row.median_ms <= row.quartile3_ms
        assert row.least_ms <= row.median_ms
        assert row.repeats == 5
        assert 0 < row.error < 1e-3
        assert row.peak_mib > 0
        assert row.speedup == 1 or row.backend != "naive"
        assert row.backend != "naive" or row.naive_error == row.error
        assert math.isnan(row.gflops) or row.gflops_share == pytest.approx(row.gflops / 10)
        assert math.isnan(row.gflops) == (name == "sashimi-step")


def test_a_training_step_trains():
    """The optimiser steps: another loss and other gradients follow, and the schedule warms up."""
    case = problems.make_case(SMALL["s4d-listops-training"], CPU)
    tasks = []
    build = models._task
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "_task", lambda *args: tasks.append(build(*args)) or tasks[-1])
        step = case.call("auto", "training step")
    before = [each.detach().clone() for each in tasks[0].parameters()]
    for _ in range(3):
        step()
    assert all(not torch.equal(one, other) for one, other in zip(before, tasks[0].parameters(), strict=True))


def test_a_sample_is_one_of_a_cycle_of_all_scales(monkeypatch):
    case = problems.make_case(SMALL["sashimi-step"], CPU)
    seen = []

    def start(backend, model):
        def step(u, state):
            seen.append(state)
            return u, state + 1

        return step, 0

    monkeypatch.setattr(case, "_start", start)
    call = case.call("auto", "sample")
    call()
    call()
    assert seen == list(range(2 * case.units))
    assert case.units == math.prod(case._model().config.pool)


@pytest.mark.parametrize("factor", [1.01, math.nan])
def test_error_sees_a_wrong_gradient(factor, monkeypatch):
    """One digit wrong in one gradient, or no number."""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, c):
            return c.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * factor

    operator = OPERATORS["vandermonde"]
    right = operator.implementations[Backend.TORCH]
    wrong = Implementation(lambda c, a, L: right.run(Wrong.apply(c), a, L))
    monkeypatch.setattr(operator, "implementations", {**operator.implementations, Backend.TORCH: wrong})
    case = problems.make_tensor_case(SMALL["vandermonde"], CPU)
    found = measure.error(case, "torch", case.results("naive", double=True))
    assert found == pytest.approx(factor - 1, rel=1e-3, nan_ok=True)
    forward = dataclasses.replace(case, backward=False)
    assert measure.error(forward, "torch", forward.results("naive", double=True)) < 1e-5


def test_peak_memory_counts_what_is_held_at_once():
    x = torch.ones(2**18)

    def call():
        y = x + 1  # 1 MiB
        z = y + 1  # another
        del y
        return z + 1  # and a third after one was freed

    assert memory.peak_memory(call, CPU) == pytest.approx(2 * 2**20, rel=0.01)


def test_on_a_gpu_short_calls_go_in_bursts_between_waits(monkeypatch):
    gpu, log = torch.device("cuda"), []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: log.append("wait"))
    times = measure.repeat({"short": lambda: log.append("call")}, gpu, 0.0)
    most, _ = measure._BURST
    once, burst = ["wait", "call", "wait"], ["wait", *["call"] * most, "wait"]
    assert log == once + len(times["short"]) * burst
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: log.clear())
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 100 + 7 * len(log))
    assert memory.peak_memory(lambda: log.append("call"), gpu) == 7


@pytest.mark.skipif(not memory._PROCESS.exists(), reason="the memory of a process is read from /proc")
def test_a_process_of_its_own_tells_all_that_is_needed():
    """A sum of 2^25 complex terms, of 256 MiB each time that it is written down, beside Python and torch."""
    assert 2**30 < memory.peak_resident(Problem("vandermonde", 0, 2, 8, 2**22), "naive", "forward") < 2**31


def test_a_large_training_step_tells_the_memory_of_a_process(monkeypatch):
    asked = []
    monkeypatch.setattr(measure, "_LARGE", 0)
    monkeypatch.setattr(measure, "peak_resident", lambda *words: asked.append(words) or 3 * 2**20)
    problem = SMALL["s4d-scifar-training"]
    rows, _ = measure.measure(problem, CPU, TOP)
    assert asked == [(problem, "auto", "training step")]
    assert [row.resident_mib for row in rows if row.backend == "auto"] == [3.0]
    rows, _ = measure.measure(SMALL["s4d-layer"], CPU, TOP)
    assert all(math.isnan(row.resident_mib) for row in rows)


def test_what_does_not_fit_or_fails_is_left_out_with_a_sentence(monkeypatch):
    monkeypatch.setattr(memory.os, "sysconf", lambda name: 0)
    rows, omissions = measure.measure(SMALL["cauchy"], CPU, TOP)
    assert not rows
    assert any("needs about" in each.sentence and "is left out" in each.sentence for each in omissions)
    assert not any(each.failed for each in omissions)

    def fail(*args):
        raise RuntimeError("no compiler")

    monkeypatch.undo()
    monkeypatch.setattr(measure, "_SECONDS", 0.0)
    operator = OPERATORS["cauchy"]
    broken = {**operator.implementations, Backend.KEOPS: Implementation(fail)}
    monkeypatch.setattr(operator, "implementations", broken)
    rows, omissions = measure.measure(SMALL["cauchy"], CPU, TOP)
    assert {row.backend for row in rows} == {"naive", "torch"}
    assert [each.sentence for each in omissions if each.failed] == ["cauchy (H 20, L 33) on keops failed: no compiler"]


@pytest.mark.parametrize("failure", [torch.OutOfMemoryError("tried to allocate"), RuntimeError("illegal access")])
def test_what_fails_at_its_full_size_alone_leaves_the_others(failure, monkeypatch):
    operator = OPERATORS["cauchy"]
    right = operator.implementations[Backend.TORCH]

    def run(v, w, y):
        if len(w) > problems.FEW and len(y) > measure._SMALL_L[False] / 2:
            raise failure
        return right.run(v, w, y)

    monkeypatch.setattr(operator, "implementations", {**operator.implementations, Backend.KEOPS: Implementation(run)})
    rows, omissions = measure.measure(Problem("cauchy", 0, 12, 4, 1200), CPU, TOP, first_only=True)
    assert {row.backend for row in rows} == {"naive", "torch"}
    short = isinstance(failure, torch.OutOfMemoryError)
    reason = "is left out: the device has not the memory." if short else f"failed: {failure}"
    assert [(each.sentence, each.failed) for each in omissions if "keops" in each.sentence] == [
        (f"cauchy (H 12, L 1200), forward+backward, on keops {reason}", not short)
    ]


def test_gradients_of_the_others_do_not_hang_on_a_kernel_that_fails():
    case = problems.make_tensor_case(SMALL["vandermonde"], CPU)
    broken = dataclasses.replace(case, backends=(*case.backends, "broken"))
    assert len(broken.results("naive")) == 3


def test_a_process_that_fails_leaves_the_other_problems(monkeypatch):
    monkeypatch.setattr(measure, "ProcessPoolExecutor", lambda count, mp_context: ThreadPoolExecutor(count))
    rows, [omission] = measure.measure_alone(Problem("cauchi", 0, 1, 2, 3), CPU, TOP)
    assert not rows
    assert omission == measure.Omission("cauchi (H 1, L 3) failed: 'cauchi'", failed=True)


def test_on_a_gpu_memory_that_libraries_keep_is_not_foreseen_to_grow(monkeypatch):
    class Linear:
        works = ("forward",)

        def __init__(self, problem, device):
            self.length = problem.L

        def call(self, backend, work):
            return lambda: self.length + (libraries.pop() if libraries else 0)

    libraries = [2**25]
    monkeypatch.setattr(measure, "make_case", Linear)
    monkeypatch.setattr(measure, "peak_memory", lambda call, device: call())
    monkeypatch.setattr(measure, "timed", lambda call, device: 1.0)
    expected = measure._expect(Problem("vandermonde", 0, 32, 4, 2**16), False, "torch", torch.device("cuda"))
    assert expected == pytest.approx((2**16, 64))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_sweep_varies_length_alone(device):
    for name in {problem.name for problem in sweep(device)}:
        problems = [problem for problem in sweep(device) if problem.name == name]
        assert len({problem.L for problem in problems}) == len(problems) >= 3
        assert len({dataclasses.replace(problem, L=0) for problem in problems}) == 1


def test_kernels_writes_a_table_and_a_picture_that_name_machine_torch_precision_and_date(work, monkeypatch, capsys):
    from ssm_bench.cli import kernels

    monkeypatch.setattr(kernels, "grid", lambda device: tuple(SMALL.values()))
    monkeypatch.setattr(kernels, "sweep", lambda device: (Problem("vandermonde", 2, 20, 8, 66),))
    monkeypatch.setattr(measure, "measure_alone", measure.measure)
    assert main(["kernels", "--operator", "vandermonde", "s4d-layer", "--device", "cpu", "--out", "here"]) == 0
    said = capsys.readouterr().out
    table, lines, picture = sorted((work / "here").iterdir())
    assert all(each.name in said for each in (table, lines, picture))
    assert [each.suffix for each in (table, lines, picture)] == [".csv", ".md", ".png"]
    assert table.stem == lines.stem == picture.stem
    assert lines.read_text().count("\n| vandermonde |") == 1
    assert f"torch-{torch.__version__.split('+')[0]}_float32_20" in table.stem
    assert table.stem.endswith("_vandermonde_s4d-layer")
    assert "thread" in table.stem
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows} == {"vandermonde", "s4d-layer"}
    assert {(row["L"], row["work"]) for row in rows} == {
        ("33", "forward"),
        ("33", "forward+backward"),
        ("66", "forward+backward"),
    }
    assert all(float(row["median_ms"]) > 0 and float(row["ceiling_gflops"]) > 0 for row in rows)
    assert len({row["code"] for row in rows}) == 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_process_of_its_own_measures_the_same():
    problem = SMALL["vandermonde_transpose"]  # which KeOps, that compiles, does not serve
    here, there = (each(problem, CPU, TOP, first_only=True) for each in (measure.measure, measure.measure_alone))
    assert [(row.backend, row.work, row.error) for row in here[0]] == [
        (row.backend, row.work, row.error) for row in there[0]
    ]


def test_what_was_done_survives_an_interruption(work, monkeypatch):
    from ssm_bench.cli import kernels

    def interrupted(problem, *args, undisturbed=measure.measure, **options):
        if problem.name == "cauchy":
            raise KeyboardInterrupt
        return undisturbed(problem, *args, **options)

    monkeypatch.setattr(measure, "measure_alone", interrupted)
    monkeypatch.setattr(kernels, "grid", lambda device: (SMALL["vandermonde"], SMALL["cauchy"]))
    with pytest.raises(KeyboardInterrupt):
        kernels.run(argparse.Namespace(operator=[], device="cpu", out=work, profile=False))
    (table,) = work.iterdir()
    with table.open() as file:
        assert {row["name"] for row in csv.DictReader(file)} == {"vandermonde"}


def row(problem, backend="naive", work="forward+backward", ms=1.0, **values):
    """A row of ones, save for what is given."""
    names = {each.name for each in dataclasses.fields(measure.Row)}
    ones = dict.fromkeys(names - {"resident_mib"}, 1.0)
    nan = {"resident_mib": math.nan}
    named = {"work": work, "backend": backend, "median_ms": ms}
    return measure.Row(**ones | nan | dataclasses.asdict(problem) | named | values)


def test_a_picture_shows_each_operator_at_the_sizes_with_most_lengths(tmp_path):
    def of(name, H, L, work="forward+backward"):
        return row(Problem(name, 0, H, 8, L), work=work)

    rows = [of("cauchy", 9, L) for L in (1, 2)] + [of("cauchy", 5, L) for L in (1, 2, 4)] + [of("long_conv", 5, 1)]
    rows.append(of("cauchy", 5, 8, "forward"))
    rows.append(of("cauchy", 5, 4))
    assert plot.panels(rows) == {"cauchy": [rows[2], rows[3], rows[4], rows[7]]}
    assert not plot.draw(rows[5:6], "nothing at two lengths", tmp_path / "none.png")
    assert not list(tmp_path.iterdir())


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


def test_a_profile_is_the_whole_step():
    parts = profile(SMALL["s4-scifar-training"], CPU)
    assert {part.kind for part in parts} <= set(KINDS)
    assert {"matrix products", "Fourier transforms", "optimiser"} <= {part.kind for part in parts}
    assert sum(part.share for part in parts) == pytest.approx(1)
    assert all(part.share > 0 for part in parts)
    found = {part.kind: part for part in parts}
    assert found["Fourier transforms"].largest[0][0].startswith("_fft_")
    assert found["Fourier transforms"].calls >= 4  # of the batch and the kernel, to and fro


def test_profile_prints_a_table_for_each_training_step(monkeypatch, capsys, work):
    from ssm_bench.cli import kernels

    monkeypatch.setattr(kernels, "grid", lambda device: tuple(SMALL.values()))
    assert main(["kernels", "--profile", "--operator", "cauchy", "s4d-listops-training", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert said.count("Kind of work") == 1
    assert "s4d-listops-training" in said
    assert not list(work.iterdir())


def test_memory_is_foreseen_from_its_growth():
    """The naive convolution holds matrices of L x L."""
    problem = Problem("long_conv", 2, 20, 0, 2048)
    case = problems.make_case(problem, CPU)
    foreseen, _ = measure._expect(problem, False, "naive", CPU)
    found = memory.peak_memory(case.call("naive", "forward+backward"), CPU)
    assert foreseen == pytest.approx(found, rel=0.3)
    assert "more than half of the" in measure._refusal(dataclasses.replace(problem, L=2**20), case, "naive", CPU)


def test_what_takes_too_long_is_left_out_with_a_sentence(monkeypatch):
    monkeypatch.setitem(measure._PATIENCE, "torch", 0.0)
    monkeypatch.setattr(measure, "_QUICK", 0.0)
    rows, omissions = measure.measure(SMALL["cauchy"], CPU, TOP)
    assert {row.backend for row in rows} == {"naive"}
    assert {row.work for row in rows} == {"forward+backward"}  # and the forward pass alone would take as long
    assert any("cauchy (H 20, L 33) on torch is left out: a call takes about" in each.sentence for each in omissions)


def test_doctor_says_what_is_used_and_why(capsys):
    assert main(["doctor", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    for word in (*OPERATORS, torch.__version__.split("+")[0], "used", "is preferred", "runs on CUDA devices"):
        assert word in said


def test_doctor_shows_a_failure(monkeypatch, capsys):
    def fail(*args):
        raise RuntimeError("the compiler is missing")

    operator = OPERATORS["cauchy"]
    broken = {**operator.implementations, Backend.KEOPS: Implementation(fail)}
    monkeypatch.setattr(operator, "implementations", broken)
    assert main(["doctor", "--device", "cpu"]) == 1
    assert "failed: the compiler is missing" in capsys.readouterr().out


def test_doctor_goes_on_where_nothing_of_an_operator_runs(monkeypatch, capsys):
    make = examine.make_tensor_case

    def fail(problem, device):
        if problem.name == "cauchy":
            raise RuntimeError("an illegal access")
        return make(problem, device)

    monkeypatch.setattr(examine, "make_tensor_case", fail)
    assert main(["doctor", "--device", "cpu"]) == 1
    said = capsys.readouterr().out
    assert "failed: an illegal access" in said
    assert "diagonal_scan" in said


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["kernels", "--operator", "cauchi"], ["'cauchi'", "cauchy"]),
        (["kernels", "--profile", "--operator", "cauchy"], ["--profile", "training steps"]),
        (["kernels", "--device", "tpu9"], ["'tpu9'", "cpu or cuda"]),
        (["doctor", "--device", "meta"], ["'meta'", "cpu or cuda"]),
    ],
)
def test_a_mistake_is_one_sentence(words, named, capsys, work):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert all(word in said for word in named)
    assert not list(work.iterdir())


def test_a_gpu_that_is_not_there_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert main(["doctor", "--device", "cuda:2"]) == 2
    assert "torch finds 2 of CUDA, from cuda:0 on" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["kernels", "doctor"])
def test_help_does_not_import_torch(verb):
    code = (
        "import sys; from ssm_bench.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, verb, "--help"], check=True, capture_output=True)


def test_a_back_end_that_an_operator_lacks_is_no_omission() -> None:
    assert problems.make_case(Problem("long_conv", 1, 8, 0, 16), CPU).refusals == ()
