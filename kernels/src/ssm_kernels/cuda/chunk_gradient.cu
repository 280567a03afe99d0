// Sums for the gradients of a, b and c of a diagonal SSM, on tensor cores, in one pass over the input u and the
// gradient g of the output. chunk_system.cu makes the gradients of them.
//
// With the system of chunk.cu, the derivatives r of the state by in and w by a go along time with the state s,
// both from zero, for the start of a strand is held fixed:
//   s <- a^16 s + in e, r <- a^16 r + e, w <- a^16 w + 16 a^15 s + in e',  e = sum_j a^(15 - j) u[j] of a chunk,
// where ' is the derivative by a. With q = sum_i a^i g[i] of a chunk, which is e of the gradients in reverse, the
// output's dependence on the states at the starts of chunks needs the sums of q s, q r and q w + q' s; what happens
// within chunks needs those of g[i] u[j], a product of two matrices. Here states are rows and chunks are columns, so
// that a lane has four chunks of one state.
#define BLOCKS 3  // on a multiprocessor; the products need the registers
#include "chunk.cuh"
#include "kernel.cuh"

constexpr int STRANDS = 2, SHARE = THREADS / 32 / STRANDS;  // warps of a strand

struct Walk {
  float2 before[4], after;  // states before the lane's chunks, and after the last of them
};

// The sum over the four lanes of a state.
__device__ __forceinline__ float2 total(float2 z) {
#pragma unroll
  for (int i = 1; i < 4; i *= 2) {
    z = add(z, complex(__shfl_xor_sync(0xFFFFFFFFu, z.x, i), __shfl_xor_sync(0xFFFFFFFFu, z.y, i)));
  }
  return z;
}

// The states between chunks that add the given. kept is what the first one starts from, and receives the state after
// the last of `chunks`.
__device__ __forceinline__ Walk walk(const float2 (&added)[4], float2 a16, float2 a64, float2 a128, float2 *kept,
                                     bool inside, int t, int chunks) {
  const float2 begin = t == 0 && inside ? *kept : complex(0.0f, 0.0f);
  Walk w;
  w.after = added[0];
#pragma unroll
  for (int k = 1; k < 4; ++k) w.after = mul_add(a16, w.after, added[k]);
  w.after = mul_add(a64, begin, w.after);
  const float2 near = shift(w.after, 1);
  if (t >= 1) w.after = mul_add(a64, near, w.after);
  const float2 far = shift(w.after, 2);
  if (t >= 2) w.after = mul_add(a128, far, w.after);
  const float2 before = shift(w.after, 1);
  w.before[0] = t == 0 ? begin : before;
#pragma unroll
  for (int k = 1; k < 4; ++k) w.before[k] = mul_add(a16, w.before[k - 1], added[k - 1]);
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    if (inside && 4 * t + k + 1 == chunks) *kept = k < 3 ? w.before[k + 1] : w.after;
  }
  return w;
}

// The k-th complex number of the lane's state.
__device__ __forceinline__ float2 entry(const Matrix &m, int k) { return complex(m.of[k], m.of[4 + k]); }

// Samples as rows, chunks as columns.
__device__ __forceinline__ Matrix by_samples(const Element *samples, int g, int t) {
  Matrix m;
#pragma unroll
  for (int i = 0; i < 8; ++i) m.of[i] = number(samples[(2 * t + i % 2 + 8 * (i / 2 % 2)) * STRIDE + g + 8 * (i / 4)]);
  return m;
}

// records (strands, H, M, 6) holds s, r and w, and the sums of q s, q r and q w + q' s; lags (strands, H) the sums of
// g[i] u[j] as a table. Both are added to. Grid (ceil(H / HEADS) ceil(B segments / STRANDS)).
KERNEL chunk_moments(const Element *__restrict__ u, const Element *__restrict__ g_y, const float4 *__restrict__ tables,
                     const float2 *__restrict__ rates, const float2 *__restrict__ b, float2 *records, float4 *lags,
                     int B, int H, int M, int L, int Q) {
  __shared__ Tile<STRANDS> inputs, gradients;
  const Work w = work<STRANDS>(B, H, L, Q);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int groups = (M + STATES - 1) / STATES, mine = warp % STRANDS;
  const Strand strand = make_strand(w, mine);
  for (int start = 0; start < Q && start < L; start += SAMPLES) {
    __syncthreads();
    load(inputs, u, w, start, false);
    load(gradients, g_y, w, start, false);
    __syncthreads();
    const int chunks = chunks_left(strand, start);
    for (int turn = 0; turn < w.heads; turn += SHARE) {  // as often in every warp
      const int head = turn + warp / STRANDS;
      const bool active = strand.steps > 0 && head < w.heads;
      const long long h = w.head + (active ? head : 0);
      const long long at = static_cast<long long>(w.strand + mine) * H + h;
      const Element *x = inputs.of[mine][head], *y = gradients.of[mine][head];

      Matrix lag = {};
      add_product<EXACT, EXACT>(lag, split(by_samples(y, g, t)), split(by_samples(x, g, t)));
      if (active) {
        const float4 upper = lags[at * 64 + lane], lower = lags[at * 64 + 32 + lane];
        lags[at * 64 + lane] = add(upper, both(complex(lag.of[0], lag.of[1]), complex(lag.of[2], lag.of[3])));
        lags[at * 64 + 32 + lane] = add(lower, both(complex(lag.of[4], lag.of[5]), complex(lag.of[6], lag.of[7])));
      }

      // Column 2 t + p + 8 n of a result is chunk 4 t + 2 n + p.
      const int chunk = 4 * (g / 2) + g % 2;
      const Factor forth = split(by_chunks(x, chunk, chunk + 2, t, false));
      const Factor back = split(by_chunks(y, chunk, chunk + 2, t, true));
      for (int group = 0; group < groups; ++group) {
        const long long index = h * groups + group;
        const int m = group * STATES + g;
        const bool inside = active && m < M;
        float2 *record = records + (at * M + m) * 6;
        const float2 *rate = rates + index * POWERS * STATES + g;
        const float2 a16 = rate[0], a64 = rate[2 * STATES], a128 = rate[3 * STATES], slope = rate[4 * STATES];
        const float2 in = inside ? b[h * M + m] : complex(0.0f, 0.0f);

        Matrix e = {}, q = {};
        const Factor power = split(table(tables, 2 * index, lane));
        add_product<false, EXACT>(e, power, forth);
        add_product<false, EXACT>(q, power, back);
        float2 added[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) added[k] = entry(e, k);
        const Walk r = walk(added, a16, a64, a128, record + 1, inside, t, chunks);
        float2 sum = complex(0.0f, 0.0f);
#pragma unroll
        for (int k = 0; k < 4; ++k) sum = mul_add(entry(q, k), r.before[k], sum);
        sum = total(sum);
        if (inside && t == 0) record[4] = add(record[4], sum);

#pragma unroll
        for (int k = 0; k < 4; ++k) added[k] = mul(in, entry(e, k));
        const Walk s = walk(added, a16, a64, a128, record, inside, t, chunks);
        sum = complex(0.0f, 0.0f);
#pragma unroll
        for (int k = 0; k < 4; ++k) sum = mul_add(entry(q, k), s.before[k], sum);
        sum = total(sum);
        if (inside && t == 0) record[3] = add(record[3], sum);

        Matrix e_slope = {}, q_slope = {};
        const Factor derivative = split(table(tables, 2 * index + 1, lane));
        add_product<false, EXACT>(e_slope, derivative, forth);
        add_product<false, EXACT>(q_slope, derivative, back);
#pragma unroll
        for (int k = 0; k < 4; ++k) added[k] = mul_add(slope, s.before[k], mul(in, entry(e_slope, k)));
        const Walk v = walk(added, a16, a64, a128, record + 2, inside, t, chunks);
        sum = complex(0.0f, 0.0f);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          sum = mul_add(entry(q, k), v.before[k], mul_add(entry(q_slope, k), s.before[k], sum));
        }
        sum = total(sum);
        if (inside && t == 0) record[5] = add(record[5], sum);
      }
    }
  }
}
