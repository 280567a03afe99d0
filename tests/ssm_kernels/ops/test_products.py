"""Products of matrices on tensor cores by themselves: where numbers lie among the lanes, and how they are rounded."""

import pytest
import torch
from ssm_kernels import host, runtime
from ssm_kernels.compiler import Unit

PRODUCT = """
#include "kernel.cuh"
#include "tensor.cuh"

// d = a b^T for matrices of 16 x 16, stored by rows.
KERNEL product(const float *a, const float *b, float *d) {
  if (threadIdx.x >= 32) return;
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  Matrix first, second, sum = {};
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int place = (g + 8 * (i / 4)) * 16 + 2 * t + i % 2 + 8 * (i / 2 % 2);
    first.of[i] = a[place];
    second.of[i] = b[place];
  }
  add_product<false, false>(sum, split(first), split(second));
#pragma unroll
  for (int i = 0; i < 8; ++i) d[(g + 8 * (i / 4)) * 16 + 2 * t + i % 2 + 8 * (i / 2 % 2)] = sum.of[i];
}
"""


@pytest.fixture
def product(tmp_path, device):
    source = tmp_path / "product.cu"
    source.write_text(PRODUCT)

    def run(a, b, bfloat16):
        d = torch.empty(16, 16, device=device)
        launch = host.launch if device.type == "cpu" else runtime.launch
        unit = Unit(str(source), (("BFLOAT16", int(bfloat16)),))
        launch(unit, "product", (1, 1, 1), (a.to(device), b.to(device), d))
        return d.cpu()

    return run


@pytest.mark.parametrize("bfloat16", [False, True])
def test_every_number_lies_where_it_should(product, bfloat16):
    """Ones in a single place of each factor: every pair of rows and columns is told apart."""
    numbers = torch.arange(1.0, 257).view(16, 16)  # exact in either format's two parts
    for k in range(16):
        one = torch.zeros(16, 16)
        one[(k + 5) % 16, k] = 1
        assert torch.equal(product(numbers, one, bfloat16), numbers @ one.T)
        assert torch.equal(product(one, numbers, bfloat16), one @ numbers.T)


@pytest.mark.parametrize(("bfloat16", "digits"), [(False, 21), (True, 16)])
def test_products_keep_the_digits_of_both_parts(product, bfloat16, digits):
    """Off by the digits that the parts of each factor lack, the product of the low ones, and the cutting of sums: of
    each number that is added, 2^-23 of the largest."""
    a, b = torch.randn(16, 16), torch.randn(16, 16)
    size = a.double().abs() @ b.double().abs().T
    additions = 6 * 9 if not bfloat16 else 3 * 17
    off = (product(a, b, bfloat16) - a.double() @ b.double().T).abs()
    assert (off <= (3 * 2.0**-digits + additions * 2.0**-23) * size).all()


@pytest.mark.usefixtures("emulation")
@pytest.mark.parametrize("device", [torch.device("cpu")])
def test_the_host_build_cuts_what_a_sum_has_no_digits_for(product):
    """As the first tensor cores: fifteen times 2^-25 leave 1 as it is, though together they are over three digits."""
    a, b = torch.zeros(16, 16), torch.zeros(16, 16)
    a[0], b[0] = 2.0**-13, 2.0**-12
    a[0, 0] = b[0, 0] = 1
    assert product(a, b, True)[0, 0] == 1
    a[0, 1] = 2.0**-11
    assert product(a, b, True)[0, 0] == 1 + 2.0**-23
