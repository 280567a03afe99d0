// Products of 16 x 16 matrices on tensor cores, each by one warp, that keep float32's digits.
//
// Lane 4 g + t holds the rows g and g + 8 of a matrix, and of either the columns 2 t, 2 t + 1, 2 t + 8 and 2 t + 9.
// That is how mma.m16n8k16 wants its first factor and leaves its result, and how it wants its second factor if that is
// given by columns ("PTX ISA", Matrix Fragments for mma). In a product d[i][j] = sum_k a[i][k] b[j][k] both factors
// have the summed index last, so a result is a factor of the next product as it is. mma.m16n8k8 numbers its columns
// otherwise; as they are summed over, their order does not matter.
//
// A factor is split into a high and a low part: in tf32 they hold 21 bits of a number, in bfloat16 16. A product is
// low * high + high * low + high * high, added up in float32; a factor that came as bfloat16 has no low part.
// Compile-time constant: BFLOAT16, 1 for products in bfloat16, 0 for tf32.
#pragma once

constexpr int REGISTERS = BFLOAT16 ? 4 : 8;

struct Matrix {
  float of[8];
};

struct Factor {
  unsigned high[REGISTERS], low[REGISTERS];
};

#ifndef HOST_BUILD  // host.h has the same functions

// Two numbers rounded to bfloat16, the first in the lower half.
__device__ __forceinline__ unsigned bfloat16_pair(float first, float second) {
  unsigned bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(second), "f"(first));
  return bits;
}

// volatile, as the compiler must not move a product to where not all lanes of the warp go.
__device__ __forceinline__ void mma_tf32(float &d0, float &d1, float &d2, float &d3, unsigned a0, unsigned a1,
                                         unsigned a2, unsigned a3, unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d0), "+f"(d1), "+f"(d2), "+f"(d3)
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void mma_bfloat16(float &d0, float &d1, float &d2, float &d3, unsigned a0, unsigned a1,
                                             unsigned a2, unsigned a3, unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d0), "+f"(d1), "+f"(d2), "+f"(d3)
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

#endif

__device__ __forceinline__ Factor split(const Matrix &m) {
  Factor f;
#pragma unroll
  for (int i = 0; i < REGISTERS; ++i) {
#if BFLOAT16
    const float first = m.of[2 * i], second = m.of[2 * i + 1];
    const unsigned high = bfloat16_pair(first, second);
    f.high[i] = high;
    f.low[i] = bfloat16_pair(first - __uint_as_float(high << 16), second - __uint_as_float(high & 0xFFFF0000u));
#else
    // cvt.rna.tf32 takes several instructions. The high part is rounded as it does, the low one, of either sign, cut:
    // of a NaN, which rounding bits may turn into a number, that keeps the NaN.
    const unsigned fraction = 0xFFFFE000u;
    f.high[i] = (__float_as_uint(m.of[i]) + 0x1000u) & fraction;
    f.low[i] = __float_as_uint(m.of[i] - __uint_as_float(f.high[i])) & fraction;
#endif
  }
  return f;
}

__device__ __forceinline__ void add_parts(Matrix &d, const unsigned (&a)[REGISTERS], const unsigned (&b)[REGISTERS]) {
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    float &d0 = d.of[2 * n], &d1 = d.of[2 * n + 1], &d2 = d.of[4 + 2 * n], &d3 = d.of[5 + 2 * n];
#if BFLOAT16
    mma_bfloat16(d0, d1, d2, d3, a[0], a[2], a[1], a[3], b[2 * n], b[2 * n + 1]);
#else
    mma_tf32(d0, d1, d2, d3, a[0], a[4], a[1], a[5], b[4 * n], b[4 * n + 1]);
    mma_tf32(d0, d1, d2, d3, a[2], a[6], a[3], a[7], b[4 * n + 2], b[4 * n + 3]);
#endif
  }
}

// d[i][j] += sum_k a[i][k] b[j][k]; an exact factor has no low part.
template <bool A_EXACT, bool B_EXACT>
__device__ __forceinline__ void add_product(Matrix &d, const Factor &a, const Factor &b) {
  if (!A_EXACT) add_parts(d, a.low, b.high);
  if (!B_EXACT) add_parts(d, a.high, b.low);
  add_parts(d, a.high, b.high);
}
