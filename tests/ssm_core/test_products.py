"""Matrix products of the fast forms keep float32 where the rest of the program may use less."""

from contextlib import contextmanager

import pytest
import torch
from ssm_core import products
from ssm_core.ops import cauchy, diagonal_scan, vandermonde, vandermonde_transpose

CUDA, CPU = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
PRODUCTS = {f"aten::{name}" for name in ("mm", "bmm", "addmm", "baddbmm", "addbmm", "mv", "dot", "matmul", "einsum")}


@pytest.fixture(autouse=True)
def _settings():
    yield
    torch.set_float32_matmul_precision("highest")
    for each in (torch.backends, CUDA, CPU):
        each.fp32_precision = "none"


@pytest.fixture
def seen(monkeypatch):
    """The settings that each product found."""
    found = []
    product = torch.bmm

    def record(x, y):
        found.append(settings())
        return product(x, y)

    monkeypatch.setattr(torch, "bmm", record)
    return found


def settings():
    return CUDA.fp32_precision, CPU.fp32_precision


@pytest.mark.parametrize("allowed", ["high", "medium", "tf32 on CUDA", "tf32 everywhere"])
def test_reduced_precision_is_off_inside_and_back_afterwards(allowed, seen):
    if allowed == "tf32 on CUDA":
        CUDA.fp32_precision = "tf32"
    elif allowed == "tf32 everywhere":
        torch.backends.fp32_precision = "tf32"
    else:
        torch.set_float32_matmul_precision(allowed)
    before = settings()
    products.bmm(torch.ones(1, 2, 3), torch.ones(1, 3, 2))
    assert seen == [("ieee", "ieee")]
    assert settings() == before
    if allowed in ("high", "medium"):
        assert torch.get_float32_matmul_precision() == allowed
    if allowed == "tf32 everywhere":
        torch.backends.fp32_precision = "ieee"
        assert settings() == ("ieee", "ieee")  # still inherited


def test_settings_are_back_after_an_error():
    torch.set_float32_matmul_precision("high")
    before = settings()
    for _ in range(2):  # the second would wait for ever for a lock that was kept
        with pytest.raises(RuntimeError):
            products.bmm(torch.ones(1, 2, 3), torch.ones(1, 2, 3))
    assert settings() == before


def test_gradients_of_a_product():
    x, y = (torch.randn(2, *shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 4), (4, 5)))
    assert torch.autograd.gradcheck(products.bmm, (x, y))
    torch.library.opcheck(products.bmm, (x, y))


def complex_(*shape):
    return torch.randn(*shape, 2).requires_grad_()


def forms():
    a = (-torch.rand(2, 3, 2)).requires_grad_()
    yield vandermonde(complex_(2, 2, 3), a, 70, backend="torch")
    yield vandermonde_transpose(torch.randn(2, 2, 70, requires_grad=True), a, backend="torch")
    yield cauchy(complex_(4, 2, 3), a, torch.linspace(0, 5, 9), backend="torch")
    u = torch.randn(2, 70, 2, requires_grad=True)
    yield diagonal_scan(u, complex_(2, 2, 3), a, a, complex_(1, 2, 3), backend="torch")[0]


def test_every_product_of_the_fast_forms_is_guarded(monkeypatch):
    @contextmanager
    def guard():
        with torch.profiler.record_function("guard"):
            yield

    monkeypatch.setattr(products, "_full_float32", guard)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for value in forms():
            value.sum().backward()
    guarded = 0
    for event in profile.events():
        if event.name in PRODUCTS:
            ancestors, parent = [], event.cpu_parent
            while parent is not None:
                ancestors.append(parent.name)
                parent = parent.cpu_parent
            assert "guard" in ancestors, f"{event.name} in {ancestors}"
            guarded += 1
    assert guarded >= 10
