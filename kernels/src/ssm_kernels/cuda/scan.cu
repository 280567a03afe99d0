// The recurrence of a diagonal SSM over time, x[l] = a x[l-1] + b u[l], y[l] = sum_m 2 Re(c x[l]), and its gradient.
//
// As a system from one state to the next, y[l] = sum_m Re(out s) + skip u[l] and s <- a s + in u[l], with
// out = 2 c a, in = b, skip = 2 Re(c b). Gradients of inputs and states are the transposed system, which exchanges
// in and out, conjugates, and runs against time: the same kernels serve both directions.
//
// A group of WIDTH lanes holds the states of one sequence (b, h), one each; a block holds SEQUENCES neighbours in h,
// and walks over more than WIDTH states in rounds. Where sequences are few, time is cut into segments of Q samples:
// scan_ends takes each segment from rest, scan_carry hands the states from one to the next, and scan_outputs runs
// all segments at once. Compile-time constants:
//   THREADS  threads of a block
//   WIDTH    lanes of a sequence, a power of two up to 32
#include "complex.cuh"
#include "kernel.cuh"

constexpr int STEPS = 32;  // samples in shared memory at a time
constexpr int SEQUENCES = THREADS / WIDTH;
constexpr int TURNS = STEPS * SEQUENCES / THREADS;  // in which the threads go through the samples of a tile
constexpr int AHEAD = 8;  // states that are read before the first of them is overwritten, as each takes a while
constexpr int PITCH = WIDTH < 8 ? WIDTH : WIDTH + 4;

// Samples of the block's sequences, and what their states add to the outputs; padded so that lanes which read for
// different sequences meet no bank twice.
struct alignas(16) Tile {
  float samples[SEQUENCES][STEPS + 4];
};
struct alignas(16) Terms {
  float of[STEPS][SEQUENCES][PITCH];
};

struct System {
  float2 a, in, out;
  float skip;
};

__device__ __forceinline__ System make_system(float2 a, float2 b, float2 c, bool transposed) {
  const float2 ca = mul(scale(2.0f, c), a);
  const float skip = 2.0f * mul(c, b).x;
  if (transposed) return {conj(a), conj(ca), conj(b), skip};
  return {a, b, ca, skip};
}

// Where a thread works: its sequence (row, h), its share of time, and the samples' place in memory.
struct Place {
  int sequence, lane, row, h, first, steps, segment;
};

__device__ __forceinline__ Place place(int H, int L, int Q) {
  const int blocks = (H + SEQUENCES - 1) / SEQUENCES;
  const int segment = blockIdx.y, first = segment * Q;
  const int sequence = threadIdx.x / WIDTH;
  const int row = blockIdx.x / blocks, h = static_cast<int>(blockIdx.x) % blocks * SEQUENCES + sequence;
  return {sequence, static_cast<int>(threadIdx.x) % WIDTH, row, h, first, L - first < Q ? L - first : Q, segment};
}

// The n-th sample of a segment in the direction of the scan, of the block's sequence i.
__device__ __forceinline__ long long sample(Place p, int n, int i, int H, int L, bool transposed) {
  const int l = p.first + (transposed ? p.steps - 1 - n : n);
  return (static_cast<long long>(p.row) * L + l) * H + p.h - p.sequence + i;
}

__device__ __forceinline__ void load(Tile &tile, const float *u, Place p, int start, int H, int L, bool transposed) {
#pragma unroll 4
  for (int turn = 0; turn < TURNS; ++turn) {
    const unsigned i = turn * THREADS + threadIdx.x;
    const int step = i / SEQUENCES, sequence = i % SEQUENCES;
    const bool inside = start + step < p.steps && p.h - p.sequence + sequence < H;
    tile.samples[sequence][step] = inside ? u[sample(p, start + step, sequence, H, L, transposed)] : 0.0f;
  }
}

__device__ __forceinline__ float pick(float4 four, int j) {
  return j == 0 ? four.x : j == 1 ? four.y : j == 2 ? four.z : four.w;
}

__device__ __forceinline__ float4 four_samples(const Tile &tile, int sequence, int step) {
  return *reinterpret_cast<const float4 *>(&tile.samples[sequence][step]);
}

// Takes the samples of a tile, as far as there are any left, four at a time: step(first of four, how many are valid).
// The compiler drops the question which are valid where all four are.
template <typename Step>
__device__ __forceinline__ void by_fours(int left, Step step) {
  const int end = left < STEPS ? left : STEPS;
  int i = 0;
  for (; i + 4 <= end; i += 4) step(i, 4);
  if (i < end) step(i, end - i);
}

// Index of a state in (B, segments, H, M).
__device__ __forceinline__ long long state(Place p, int segments, int H, int M, int m) {
  return ((static_cast<long long>(p.row) * segments + p.segment) * H + p.h) * M + m;
}

// The state after each segment that starts at zero. Grid (B ceil(H / SEQUENCES), segments, ceil(M / WIDTH)).
KERNEL scan_ends(const float *__restrict__ u, const float2 *__restrict__ a, const float2 *__restrict__ b,
                 const float2 *__restrict__ c, float2 *__restrict__ ends, int H, int M, int L, int Q, int transposed) {
  __shared__ Tile inputs;
  const Place p = place(H, L, Q);
  const int m = blockIdx.z * WIDTH + p.lane;
  const bool inside = p.h < H && m < M;
  const long long hm = static_cast<long long>(p.h) * M + m;
  const float2 zero = complex(0.0f, 0.0f);
  const System z = make_system(inside ? a[hm] : zero, inside ? b[hm] : zero, inside ? c[hm] : zero, transposed);

  float2 s = zero;
  for (int start = 0; start < p.steps; start += STEPS) {
    __syncthreads();
    load(inputs, u, p, start, H, L, transposed);
    __syncthreads();
    by_fours(p.steps - start, [&](int i, int valid) {
      const float4 four = four_samples(inputs, p.sequence, i);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (j < valid) s = mul_add(z.a, s, scale(pick(four, j), z.in));
      }
    });
  }
  if (inside) ends[state(p, gridDim.y, H, M, m)] = s;
}

// Turns the ends (B, segments, H M) of segments from rest into the states that the segments start from, given that of
// the first in the direction of the scan. Grid (ceil(B H M / THREADS)).
KERNEL scan_carry(const float2 *__restrict__ begin, const float2 *__restrict__ a, float2 *__restrict__ states, int B,
                  int HM, int segments, int L, int Q, int transposed) {
  const long long i = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x;
  if (i >= static_cast<long long>(B) * HM) return;
  const long long row = i / HM, hm = i % HM;
  const float2 rate = transposed ? conj(a[hm]) : a[hm];
  const float2 whole = narrow(integer_power(rate, Q)), rest = narrow(integer_power(rate, L - (segments - 1) * Q));
  const int shorter = transposed ? 0 : segments - 1;  // of the segments in the direction of the scan
  const long long next = transposed ? -HM : HM;
  float2 *from = states + (row * segments + (transposed ? segments - 1 : 0)) * HM + hm;
  float2 s = begin[i];
  for (int n = 0; n < segments; n += AHEAD) {
    float2 ends[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; ++k) {
      if (n + k < segments) ends[k] = from[(n + k) * next];
    }
#pragma unroll
    for (int k = 0; k < AHEAD; ++k) {
      if (n + k < segments) {
        from[(n + k) * next] = s;
        s = mul_add(n + k == shorter ? rest : whole, s, ends[k]);
      }
    }
  }
}

// Outputs, and the state after the last segment in the direction of the scan.
// Grid (B ceil(H / SEQUENCES), segments).
KERNEL scan_outputs(const float *__restrict__ u, const float2 *__restrict__ starts, const float2 *__restrict__ a,
                    const float2 *__restrict__ b, const float2 *__restrict__ c, float *__restrict__ y,
                    float2 *__restrict__ final, int H, int M, int L, int Q, int transposed) {
  __shared__ Tile inputs;
  __shared__ Terms terms;  // Re(out s) + skip u of each state, to be summed over a sequence's lanes
  const Place p = place(H, L, Q);
  const bool last = p.segment == (transposed ? 0 : static_cast<int>(gridDim.y) - 1);
  const float2 zero = complex(0.0f, 0.0f);

  for (int m0 = 0; m0 < M; m0 += WIDTH) {
    const int m = m0 + p.lane;
    const bool inside = p.h < H && m < M;
    const long long hm = static_cast<long long>(p.h) * M + m;
    const System z = make_system(inside ? a[hm] : zero, inside ? b[hm] : zero, inside ? c[hm] : zero, transposed);
    float2 s = inside ? starts[state(p, gridDim.y, H, M, m)] : zero;
    for (int start = 0; start < p.steps; start += STEPS) {
      load(inputs, u, p, start, H, L, transposed);
      __syncthreads();
      by_fours(p.steps - start, [&](int i, int valid) {
        const float4 four = four_samples(inputs, p.sequence, i);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const float value = pick(four, j);
          terms.of[i + j][p.sequence][p.lane] = fmaf(z.out.x, s.x, fmaf(-z.out.y, s.y, z.skip * value));
          if (j < valid) s = mul_add(z.a, s, scale(value, z.in));
        }
      });
      __syncthreads();
#pragma unroll 4
      for (int turn = 0; turn < TURNS; ++turn) {
        const unsigned i = turn * THREADS + threadIdx.x;
        const int step = i / SEQUENCES, sequence = i % SEQUENCES;
        if (start + step >= p.steps || p.h - p.sequence + sequence >= H) continue;
        float sum = 0.0f;
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) sum += terms.of[step][sequence][j];
        const long long l = sample(p, start + step, sequence, H, L, transposed);
        y[l] = m0 == 0 ? sum : y[l] + sum;
      }
    }
    if (inside && last) final[(static_cast<long long>(p.row) * H + p.h) * M + m] = s;
  }
}

// Gradients of a, b and c from one segment: parts is (3, B, segments, H, M). g is the gradient of y, stops that of the
// state after the segment. Derivatives of the state by in and a are carried along time with it, r <- a r + u and
// w <- a w + s, both from zero, for the segment's start is held fixed.
// Grid (B ceil(H / SEQUENCES), segments, ceil(M / WIDTH)).
KERNEL scan_gradients(const float *__restrict__ u, const float *__restrict__ g, const float2 *__restrict__ starts,
                      const float2 *__restrict__ stops, const float2 *__restrict__ a, const float2 *__restrict__ b,
                      const float2 *__restrict__ c, float2 *__restrict__ parts, int H, int M, int L, int Q) {
  __shared__ Tile inputs, gradients;
  const Place p = place(H, L, Q);
  const int m = blockIdx.z * WIDTH + p.lane;
  const bool inside = p.h < H && m < M;
  const long long hm = static_cast<long long>(p.h) * M + m, at = state(p, gridDim.y, H, M, m);
  const float2 zero = complex(0.0f, 0.0f);
  const System z = make_system(inside ? a[hm] : zero, inside ? b[hm] : zero, inside ? c[hm] : zero, false);

  float2 s = inside ? starts[at] : zero, r = zero, w = zero;
  float2 gs = zero, gr = zero, gw = zero;  // sums of g s, g r and g w
  float gu = 0.0f;
  for (int start = 0; start < p.steps; start += STEPS) {
    __syncthreads();
    load(inputs, u, p, start, H, L, false);
    load(gradients, g, p, start, H, L, false);
    __syncthreads();
    by_fours(p.steps - start, [&](int i, int valid) {
      const float4 four = four_samples(inputs, p.sequence, i), slopes = four_samples(gradients, p.sequence, i);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float value = pick(four, j), slope = pick(slopes, j);
        gs = complex(fmaf(slope, s.x, gs.x), fmaf(slope, s.y, gs.y));
        gr = complex(fmaf(slope, r.x, gr.x), fmaf(slope, r.y, gr.y));
        gw = complex(fmaf(slope, w.x, gw.x), fmaf(slope, w.y, gw.y));
        gu = fmaf(slope, value, gu);
        if (j < valid) {
          w = mul_add(z.a, w, s);
          r = mul_add(z.a, r, complex(value, 0.0f));
          s = mul_add(z.a, s, scale(value, z.in));
        }
      }
    });
  }
  if (!inside) return;
  const float2 stop = stops[at], dout = conj(gs);
  const float2 din = mul_add(stop, conj(r), conj(mul(z.out, gr)));
  float2 da = mul_add(stop, conj(w), conj(mul(z.out, gw)));
  // out = 2 c a, in = b, skip = 2 Re(c b)
  const float2 pulled = scale(2.0f, conj(c[hm]));
  da = mul_add(pulled, dout, da);
  const float2 db = add(scale(gu, pulled), din);
  const float2 dc = mul_add(scale(2.0f, conj(a[hm])), dout, scale(2.0f * gu, conj(b[hm])));
  const long long size = static_cast<long long>(gridDim.x / ((H + SEQUENCES - 1) / SEQUENCES)) * gridDim.y * H * M;
  parts[at] = da;
  parts[size + at] = db;
  parts[2 * size + at] = dc;
}
