// out[k, h, f] = sum_m v[k, h, m] / (i y[f] - w[h, m]) + conj(v[k, h, m]) / (i y[f] - conj(w[h, m])) and its gradient.
//
// The work on a pole and a node is shared by all numerators k. Compile-time constants:
//   THREADS     threads of a block
//   TERMS       poles held in shared memory at a time
//   NUMERATORS  numerators that a block treats together
#include "complex.cuh"
#include "kernel.cuh"

#ifndef HOST_BUILD  // host.h has the same function

// One instruction, off by a unit in the last place at most; infinite where x is smaller than 2^-126.
__device__ __forceinline__ float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

#endif

// 1 / (i y - w) and 1 / (i y - conj(w)).
struct Resolvents {
  float2 upper;
  float2 lower;
};

// The distance to the pole is formed first, y -+ Im(w): it is exact near a resonance, where |w|^2 - y^2 would cancel.
__device__ __forceinline__ Resolvents resolvents(float2 w, float y) {
  const float above = y - w.y, below = y + w.y;
  const float p = reciprocal(fmaf(above, above, w.x * w.x));
  const float q = reciprocal(fmaf(below, below, w.x * w.x));
  Resolvents r;
  r.upper = complex(-w.x * p, -above * p);
  r.lower = complex(-w.x * q, -below * q);
  return r;
}

// A conjugate pair acts on its numerator v = (x, y) as the real map x sum + i y difference.
struct Pair {
  float2 sum;
  float2 difference;
};

__device__ __forceinline__ Pair pair(float2 upper, float2 lower) {
  Pair p;
  p.sum = complex(upper.x + lower.x, upper.y + lower.y);
  p.difference = complex(upper.x - lower.x, upper.y - lower.y);
  return p;
}

// out + (the pair applied to v)
__device__ __forceinline__ float2 apply(Pair p, float2 v, float2 out) {
  return complex(fmaf(v.x, p.sum.x, fmaf(-v.y, p.difference.y, out.x)),
                 fmaf(v.x, p.sum.y, fmaf(v.y, p.difference.x, out.y)));
}

// out + (the transposed map applied to a gradient g)
__device__ __forceinline__ float2 apply_transposed(Pair p, float2 g, float2 out) {
  return complex(fmaf(g.x, p.sum.x, fmaf(g.y, p.sum.y, out.x)),
                 fmaf(-g.x, p.difference.y, fmaf(g.y, p.difference.x, out.y)));
}

// Grid (H, ceil(F / (2 THREADS)), ceil(K / NUMERATORS)); a thread owns two nodes.
KERNEL cauchy_forward(const float2 *__restrict__ v, const float2 *__restrict__ w, const float *__restrict__ y,
                      float2 *__restrict__ out, int K, int H, int M, int F) {
  __shared__ float2 poles[TERMS];
  __shared__ float2 numerators[TERMS][NUMERATORS];

  const int t = threadIdx.x;
  const int h = blockIdx.x;
  const int k0 = blockIdx.z * NUMERATORS;
  const int f0 = blockIdx.y * 2 * THREADS + t, f1 = f0 + THREADS;
  const float y0 = f0 < F ? y[f0] : 0.0f, y1 = f1 < F ? y[f1] : 0.0f;
  float2 sum0[NUMERATORS] = {}, sum1[NUMERATORS] = {};

  for (int m0 = 0; m0 < M; m0 += TERMS) {
    const int terms = M - m0 < TERMS ? M - m0 : TERMS;
    __syncthreads();
    if (t < terms) poles[t] = w[static_cast<long long>(h) * M + m0 + t];
#pragma unroll 1
    for (unsigned i = t; i < terms * NUMERATORS; i += THREADS) {
      const int m = i / NUMERATORS, k = i % NUMERATORS;
      numerators[m][k] = k0 + k < K ? v[(static_cast<long long>(k0 + k) * H + h) * M + m0 + m] : complex(0.0f, 0.0f);
    }
    __syncthreads();
    for (int m = 0; m < terms; ++m) {
      const Resolvents r0 = resolvents(poles[m], y0), r1 = resolvents(poles[m], y1);
      const Pair p0 = pair(r0.upper, r0.lower), p1 = pair(r1.upper, r1.lower);
#pragma unroll
      for (int k = 0; k < NUMERATORS; ++k) {
        const float2 numerator = numerators[m][k];
        sum0[k] = apply(p0, numerator, sum0[k]);
        sum1[k] = apply(p1, numerator, sum1[k]);
      }
    }
  }
#pragma unroll
  for (int k = 0; k < NUMERATORS; ++k) {
    const long long row = (static_cast<long long>(k0 + k) * H + h) * F;
    if (k0 + k < K && f0 < F) out[row + f0] = sum0[k];
    if (k0 + k < K && f1 < F) out[row + f1] = sum1[k];
  }
}

// With r = 1 / (i y - w) and s = 1 / (i y - conj(w)), the moments of the gradient g of the output
//   S[k, h, m] = sum_f conj(r) g + s conj(g),   T[k, h, m] = sum_f conj(r)^2 g + s^2 conj(g),
// over the block's share of the nodes, tiles of THREADS: dv = S and dw = sum_k conj(v) T. moments is (chunks, K, H, M, 4).
// Grid (H, chunks, ceil(K / NUMERATORS) ceil(M / 32)); a lane owns a pole, a warp a quarter of each tile.
KERNEL cauchy_moments(const float2 *__restrict__ g, const float2 *__restrict__ w, const float *__restrict__ y,
                      float4 *__restrict__ moments, int K, int H, int M, int F, int tiles) {
  constexpr int WARPS = THREADS / 32;
  __shared__ float nodes[THREADS];
  __shared__ float2 tile[NUMERATORS][THREADS];
  __shared__ float4 part[WARPS][NUMERATORS][32];

  const int t = threadIdx.x, lane = t % 32, warp = t / 32;
  const int h = blockIdx.x;
  const int groups = (K + NUMERATORS - 1) / NUMERATORS;
  const int k0 = blockIdx.z % groups * NUMERATORS;
  const int m = blockIdx.z / groups * 32 + lane;
  const float2 pole = m < M ? w[static_cast<long long>(h) * M + m] : complex(-1.0f, 0.0f);
  float2 first[NUMERATORS] = {}, second[NUMERATORS] = {};

  for (int n = 0; n < tiles; ++n) {
    const int f0 = (blockIdx.y * tiles + n) * THREADS;
    if (f0 >= F) break;
    __syncthreads();
    if (f0 + t < F) nodes[t] = y[f0 + t];
#pragma unroll
    for (int k = 0; k < NUMERATORS; ++k) {
      const bool inside = k0 + k < K && f0 + t < F;
      tile[k][t] = inside ? g[(static_cast<long long>(k0 + k) * H + h) * F + f0 + t] : complex(0.0f, 0.0f);
    }
    __syncthreads();
    const int end = F - f0 < (warp + 1) * 32 ? F - f0 : (warp + 1) * 32;
    for (int f = warp * 32; f < end; ++f) {
      const Resolvents r = resolvents(pole, nodes[f]);
      const Pair simple = pair(r.upper, r.lower);
      const Pair squared = pair(mul(r.upper, r.upper), mul(r.lower, r.lower));
#pragma unroll
      for (int k = 0; k < NUMERATORS; ++k) {
        first[k] = apply_transposed(simple, tile[k][f], first[k]);
        second[k] = apply_transposed(squared, tile[k][f], second[k]);
      }
    }
  }

#pragma unroll
  for (int k = 0; k < NUMERATORS; ++k) part[warp][k][lane] = both(first[k], second[k]);
  __syncthreads();
  for (int k = warp; k < NUMERATORS && k0 + k < K; k += WARPS) {
    if (m >= M) break;
    float4 total = part[0][k][lane];
#pragma unroll
    for (int i = 1; i < WARPS; ++i) total = add(total, part[i][k][lane]);
    moments[((blockIdx.y * static_cast<long long>(K) + k0 + k) * H + h) * M + m] = total;
  }
}
