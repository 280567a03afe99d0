// K[c, h, l] = 2 Re sum_m c[c, h, m] exp(a[h, m] l) and its gradient.
//
// Both directions split l so that few exponentials serve many outputs. Compile-time constants:
//   THREADS   threads of a block
//   TERMS     terms m held in shared memory at a time; the backward gives each lane of a warp one term
//   ROWS      forward: rows of 2 THREADS outputs that a block computes
//   STEPS     backward: length of a row of the gradient
//   WARP_ROWS backward: rows that a warp treats at once; a tile is (THREADS / 32) WARP_ROWS rows
#include "complex.cuh"
#include "kernel.cuh"

// Grid (C H, ceil(L / (2 THREADS ROWS))). Each thread owns two columns j of ROWS rows: l = l0 + 2 THREADS r + j.
KERNEL vandermonde_forward(const float2 *__restrict__ c, const float2 *__restrict__ a, float *__restrict__ k, int H,
                           int M, int L) {
  constexpr int FINE = 16;
  constexpr int COLUMNS = 2 * THREADS;
  constexpr int COARSE = COLUMNS / FINE;
  constexpr int DIGITS = FINE + COARSE, ENTRIES = DIGITS + ROWS;
  // Of each term exp(a i) for i < FINE, exp(a FINE i) for i < COARSE, and 2 c exp(a (l0 + COLUMNS r)) for r < ROWS.
  alignas(16) __shared__ float2 table[TERMS][ENTRIES];

  const int t = threadIdx.x;
  const long long row = blockIdx.x;
  const int h = blockIdx.x % H;
  const int l0 = blockIdx.y * COLUMNS * ROWS;
  float sum[ROWS][2] = {};

  for (int m0 = 0; m0 < M; m0 += TERMS) {
    const int terms = M - m0 < TERMS ? M - m0 : TERMS;
    __syncthreads();
    for (unsigned i = t; i < terms * ENTRIES; i += THREADS) {
      const int m = i / ENTRIES, entry = i % ENTRIES;
      const int l = entry < FINE     ? entry
                    : entry < DIGITS ? FINE * (entry - FINE)
                                     : l0 + COLUMNS * (entry - DIGITS);
      const float2 e = power(rate(a[static_cast<long long>(h) * M + m0 + m]), l);
      table[m][entry] = entry < DIGITS ? e : mul(scale(2.0f, c[row * M + m0 + m]), e);
    }
    __syncthreads();
    for (int m = 0; m < terms; ++m) {
      const float2 *coarse = table[m] + FINE;
      const float2 e0 = mul(table[m][t % FINE], coarse[t / FINE]);
      const float2 e1 = mul(table[m][t % FINE], coarse[t / FINE + COARSE / 2]);
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        const float2 w = table[m][DIGITS + r];
        sum[r][0] = fmaf(w.x, e0.x, fmaf(-w.y, e0.y, sum[r][0]));
        sum[r][1] = fmaf(w.x, e1.x, fmaf(-w.y, e1.y, sum[r][1]));
      }
    }
  }
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int l = l0 + COLUMNS * r + half * THREADS + t;
      if (l < L) k[row * L + l] = sum[r][half];
    }
  }
}

// With E = exp(a l), the two moments of the gradient g of K that the gradients of c and a are made of,
//   S0[c, h, m] = sum_l g E,   S1[c, h, m] = sum_l l g E,   dc = 2 conj(S0),   da = sum_c conj(c) 2 conj(S1),
// over the block's share of l, tiles one after another; moments is (chunks, C H, M, 4). Grid (C H, chunks, ceil(M / 32)).
KERNEL vandermonde_moments(const float *__restrict__ g, const float2 *__restrict__ a, float4 *__restrict__ moments,
                           int H, int M, int L, int tiles) {
  constexpr int WARPS = THREADS / 32;
  constexpr int TILE_ROWS = WARPS * WARP_ROWS;
  constexpr int TILE = TILE_ROWS * STEPS;
  __shared__ float2 table[STEPS][32];  // exp(a i), a lane per term
  alignas(16) __shared__ float tile[TILE_ROWS][STEPS];
  __shared__ float4 part[WARPS][32];

  const int t = threadIdx.x, lane = t % 32, warp = t / 32;
  const long long row = blockIdx.x;
  const int h = blockIdx.x % H;
  const int m = blockIdx.z * 32 + lane;
  const Rate z = rate(m < M ? a[static_cast<long long>(h) * M + m] : complex(0.0f, 0.0f));

  constexpr int SHARE = STEPS / WARPS;  // a warp fills SHARE steps of the table: 4 x SHARE / 4 products
#pragma unroll
  for (int i = 0; i < SHARE; i += 4) {
    const float2 start = power(z, warp * SHARE + i);
    table[warp * SHARE + i][lane] = start;
#pragma unroll
    for (int j = 1; j < 4; ++j) table[warp * SHARE + i + j][lane] = mul(start, power(z, j));
  }

  float2 s0 = complex(0.0f, 0.0f), s1 = complex(0.0f, 0.0f);
  for (int n = 0; n < tiles; ++n) {
    const int l0 = (blockIdx.y * tiles + n) * TILE;
    if (l0 >= L) break;
    __syncthreads();
    for (int i = t; i < TILE; i += THREADS) tile[i / STEPS][i % STEPS] = l0 + i < L ? g[row * L + l0 + i] : 0.0f;
    __syncthreads();
    float2 g0[WARP_ROWS] = {}, g1[WARP_ROWS] = {};  // moments of a row, counted from its start
    for (int i = 0; i < STEPS; i += 4) {
      float4 values[WARP_ROWS];
#pragma unroll
      for (int r = 0; r < WARP_ROWS; ++r) {
        values[r] = *reinterpret_cast<const float4 *>(&tile[warp * WARP_ROWS + r][i]);
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 e = table[i + j][lane];
        const float2 slope = scale(static_cast<float>(i + j), e);
#pragma unroll
        for (int r = 0; r < WARP_ROWS; ++r) {
          const float value = j == 0 ? values[r].x : j == 1 ? values[r].y : j == 2 ? values[r].z : values[r].w;
          g0[r] = complex(fmaf(value, e.x, g0[r].x), fmaf(value, e.y, g0[r].y));
          g1[r] = complex(fmaf(value, slope.x, g1[r].x), fmaf(value, slope.y, g1[r].y));
        }
      }
    }
#pragma unroll
    for (int r = 0; r < WARP_ROWS; ++r) {
      const int start = l0 + (warp * WARP_ROWS + r) * STEPS;
      const float2 e = power(z, start);
      s0 = mul_add(e, g0[r], s0);
      s1 = mul_add(e, add(scale(static_cast<float>(start), g0[r]), g1[r]), s1);
    }
  }

  part[warp][lane] = both(scale(2.0f, conj(s0)), scale(2.0f, conj(s1)));
  __syncthreads();
  if (warp == 0 && m < M) {
    float4 total = part[0][lane];
#pragma unroll
    for (int i = 1; i < WARPS; ++i) total = add(total, part[i][lane]);
    moments[(blockIdx.y * static_cast<long long>(gridDim.x) + row) * M + m] = total;
  }
}
