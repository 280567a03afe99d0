// What the products of chunk.cu and chunk_gradient.cu need of a diagonal SSM: tables of 16 x 16, and from what
// chunk_gradient.cu sums up the gradients of the parameters.
#include "chunk_tables.cuh"
#include "complex.cuh"
#include "kernel.cuh"

enum Kind { FORWARD, TRANSPOSED, DERIVATIVES };

// Row and column of the i-th number of a table, which is stored as a warp holds it (tensor.cuh).
__device__ __forceinline__ int row(int i) { return i / 4 % 32 / 4 + 8 * (i / 128); }
__device__ __forceinline__ int column(int i) { return 2 * (i / 4 % 4) + i % 2 + 8 * (i / 2 % 2); }

__device__ __forceinline__ double2 mul(double2 a, double2 b) {
  double2 z;
  z.x = a.x * b.x - a.y * b.y;
  z.y = a.x * b.y + a.y * b.x;
  return z;
}

__device__ __forceinline__ double2 widen(float2 z, double scale, bool conjugate) {
  double2 wide;
  wide.x = scale * z.x;
  wide.y = conjugate ? -scale * z.y : scale * z.y;
  return wide;
}

// Powers are taken in float64, and rounded once. Of each eight states, tables (H, groups, 2) holds
//   FORWARD, TRANSPOSED: V = in a^(15 - j) for sample j and W = out a^i for sample i, the latter as factors of real
//                        and imaginary part;
//   DERIVATIVES: a^(15 - j) and its derivative by a.
// rates (H, groups, POWERS, 8) holds a^16, a^32, a^64, a^128 and 16 a^15, taps (H) the Toeplitz matrix of the response
// within a chunk. Grid (H, groups).
KERNEL chunk_tables(const float2 *__restrict__ a, const float2 *__restrict__ b, const float2 *__restrict__ c,
                    float *__restrict__ tables, float *__restrict__ taps, float2 *__restrict__ rates, int M, int kind) {
  __shared__ double partial[STATES][SIDE];
  __shared__ float response[SIDE];
  const bool transposed = kind == TRANSPOSED;
  const long long index = static_cast<long long>(blockIdx.x) * gridDim.y + blockIdx.y;
  const long long first = static_cast<long long>(blockIdx.x) * M;

  for (int i = threadIdx.x; i < 2 * SIDE * SIDE; i += THREADS) {
    const bool second = i >= SIDE * SIDE;
    const bool output = second && kind != DERIVATIVES;
    const int r = row(i % (SIDE * SIDE)), k = column(i % (SIDE * SIDE));
    const int part = output ? k : r, step = output ? r : SIDE - 1 - k;
    const int m = blockIdx.y * STATES + part % STATES;
    double2 z = {};
    if (m < M) {
      const float2 rate = a[first + m];
      if (kind == DERIVATIVES) {
        z = integer_power(rate, second && step > 0 ? step - 1 : step);
        z.x *= second ? step : 1;
        z.y *= second ? step : 1;
      } else {
        const double2 in = widen(b[first + m], 1.0, transposed);
        const double2 out = mul(widen(c[first + m], 2.0, transposed), widen(rate, 1.0, transposed));
        const double2 power = integer_power(transposed ? conj(rate) : rate, step);
        z = mul(power, output != transposed ? out : in);
      }
    }
    tables[index * 2 * SIDE * SIDE + i] = static_cast<float>(part < STATES ? z.x : output ? -z.y : z.y);
  }

  for (int i = threadIdx.x; i < POWERS * STATES; i += THREADS) {
    const int which = i / STATES, m = blockIdx.y * STATES + i % STATES;
    double2 z = {};
    if (m < M) {
      const float2 rate = transposed ? conj(a[first + m]) : a[first + m];
      z = integer_power(rate, which == POWERS - 1 ? SIDE - 1 : SIDE << which);
    }
    const double factor = which == POWERS - 1 ? SIDE : 1;
    rates[index * POWERS * STATES + i] = complex(static_cast<float>(factor * z.x), static_cast<float>(factor * z.y));
  }

  if (blockIdx.y != 0 || kind == DERIVATIVES) return;
  const int step = threadIdx.x % SIDE;  // both directions have the same response
  double sum = 0.0;
  for (int m = threadIdx.x / SIDE; m < M; m += STATES) {
    const double2 bc = mul(widen(b[first + m], 1.0, false), widen(c[first + m], 2.0, false));
    sum += mul(bc, integer_power(a[first + m], step)).x;
  }
  partial[threadIdx.x / SIDE][step] = sum;
  __syncthreads();
  if (threadIdx.x < SIDE) {
    for (int i = 1; i < STATES; ++i) sum += partial[i][step];
    response[step] = static_cast<float>(sum);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < SIDE * SIDE; i += THREADS) {
    const int lag = row(i) - column(i);
    taps[static_cast<long long>(blockIdx.x) * SIDE * SIDE + i] = lag >= 0 ? response[lag] : 0.0f;
  }
}

// Gradients of a, b and c (H, M) from the sums of chunk_gradient.cu and the gradients `stops` (strands, H, M) of the
// states after the strands, which are summed in a fixed order. Grid (H).
KERNEL chunk_parameters(const float2 *__restrict__ records, const float *__restrict__ lags,
                        const float2 *__restrict__ stops, const float2 *__restrict__ a, const float2 *__restrict__ b,
                        const float2 *__restrict__ c, float2 *__restrict__ da, float2 *__restrict__ db,
                        float2 *__restrict__ dc, int strands, int M) {
  __shared__ float products[SIDE][SIDE + 1];
  __shared__ float by_lag[SIDE];
  const long long H = gridDim.x, h = blockIdx.x;
  for (int i = threadIdx.x; i < SIDE * SIDE; i += THREADS) {
    float sum = 0.0f;
    for (int strand = 0; strand < strands; ++strand) sum += lags[(strand * H + h) * SIDE * SIDE + i];
    products[row(i)][column(i)] = sum;
  }
  __syncthreads();
  if (threadIdx.x < SIDE) {
    float sum = 0.0f;
    for (int j = 0; j + threadIdx.x < SIDE; ++j) sum += products[j + threadIdx.x][j];
    by_lag[threadIdx.x] = sum;
  }
  __syncthreads();

  for (int m = threadIdx.x; m < M; m += THREADS) {
    const long long hm = h * M + m;
    const float2 rate = a[hm], in = b[hm], doubled = scale(2.0f, c[hm]), out = mul(doubled, rate);
    // Within chunks: sum over lags of a^(lag - 1) g u, and its derivative by a.
    float2 inner = complex(0.0f, 0.0f), slope = inner;
    for (int lag = SIDE - 1; lag > 0; --lag) {
      slope = mul_add(rate, slope, inner);
      inner = mul_add(rate, inner, complex(by_lag[lag], 0.0f));
    }
    float2 by_out = mul(in, inner), by_in = mul(out, inner), by_rate = mul(out, mul(in, slope));
    for (int strand = 0; strand < strands; ++strand) {
      const long long at = strand * H * M + hm;
      const float2 *record = records + at * 6, stop = conj(stops[at]);
      by_out = add(by_out, record[3]);
      by_in = add(mul_add(out, record[4], by_in), mul(stop, record[1]));
      by_rate = add(mul_add(out, record[5], by_rate), mul(stop, record[2]));
    }
    // out = 2 c a, in = b, skip = 2 Re(c b)
    da[hm] = conj(mul_add(doubled, by_out, by_rate));
    db[hm] = conj(add(by_in, scale(by_lag[0], doubled)));
    dc[hm] = conj(add(mul(scale(2.0f, rate), by_out), scale(2.0f * by_lag[0], in)));
  }
}
