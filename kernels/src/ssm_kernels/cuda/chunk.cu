// The diagonal SSM x[l] = a x[l-1] + b u[l], y[l] = 2 Re sum_m c x[l] on tensor cores, in one pass over the signal.
//
// As in scan.cu it is a system y[l] = sum_m Re(out s) + skip u[l], s <- a s + in u[l], and the gradients of inputs and
// states are the transposed system, run against time. A warp takes 256 samples of a sequence as a matrix X of 16
// chunks x 16 samples. Three products, whose tables are those of chunk_system.cu, do the work:
//   E = X V^T        what each chunk adds to the states,
//   Y = X T^T        the response to the chunk's own samples,
//     + S W^T        the response to the state S that it starts from.
// Between E and S lie the steps s <- a^16 s + e from chunk to chunk: a prefix sum over the lanes of the warp, in
// float32. Between the products states stay in registers, eight at a time; Y takes the place of X in shared memory.
#define BLOCKS 4  // on a multiprocessor: more would leave no room in L1 for the tables
#include "chunk.cuh"
#include "kernel.cuh"

constexpr int STRANDS = THREADS / 32;  // a warp each
using Signal = Tile<STRANDS>;

// The lane has the chunks 2 g and 2 g + 1 of a state: turns what they add into the states they start from. states is
// what the first one starts from, and receives the state after the last of `chunks`; one lane reads it before another
// writes, as the shuffles between make what is written of what was read.
__device__ __forceinline__ void carry(float2 &first, float2 &second, const float2 (&powers)[4], float2 *states,
                                      bool inside, int g, int chunks) {
  const float2 begin = g == 0 && inside ? *states : complex(0.0f, 0.0f);
  float2 after = mul_add(powers[1], begin, mul_add(powers[0], first, second));
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const float2 before = shift(after, 4 << i);
    if (g >= 1 << i) after = mul_add(powers[i + 1], before, after);
  }
  const float2 before = shift(after, 4);
  const float2 added = first;
  first = g == 0 ? begin : before;
  second = mul_add(powers[0], first, added);
  if (inside && 2 * g + 1 == chunks) *states = second;
  if (inside && 2 * g + 2 == chunks) *states = after;
}

// states (B, segments, H, M): before each segment, and in the end after it.
template <bool OUTPUTS>
__device__ __forceinline__ void walk(Signal &tile, const Element *u, const float4 *__restrict__ tables,
                                     const float4 *__restrict__ taps, const float4 *__restrict__ rates, float2 *states,
                                     Element *y, const Work &w, int M, bool transposed) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int groups = (M + STATES - 1) / STATES;
  const Strand strand = make_strand(w, warp);
  for (int start = 0; start < w.Q && start < w.L; start += SAMPLES) {
    load(tile, u, w, start, transposed);
    __syncthreads();
    const int chunks = chunks_left(strand, start);
    for (int head = 0; head < w.heads; ++head) {
      const long long h = w.head + head;
      const Factor x = split(by_chunks(tile.of[warp][head], 2 * g, 2 * g + 1, t, false));
      Matrix outputs = {};
      if (OUTPUTS) add_product<EXACT, false>(outputs, x, split(table(taps, h, lane)));
      for (int group = 0; group < groups; ++group) {
        const long long index = h * groups + group;
        Matrix s = {};
        add_product<EXACT, false>(s, x, split(table(tables, 2 * index, lane)));
        float4 pairs[4];  // powers of the lane's two rates
#pragma unroll
        for (int i = 0; i < 4; ++i) pairs[i] = rates[(index * POWERS + i) * (STATES / 2) + t];
#pragma unroll
        for (int p = 0; p < 2; ++p) {
          const int m = group * STATES + 2 * t + p;
          float2 powers[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            powers[i] = p == 0 ? complex(pairs[i].x, pairs[i].y) : complex(pairs[i].z, pairs[i].w);
          }
          float2 first = complex(s.of[p], s.of[2 + p]), second = complex(s.of[4 + p], s.of[6 + p]);
          float2 *kept = states + (static_cast<long long>(w.strand + warp) * w.H + h) * M + m;
          carry(first, second, powers, kept, m < M && strand.steps > 0, g, chunks);
          s.of[p] = first.x;
          s.of[2 + p] = first.y;
          s.of[4 + p] = second.x;
          s.of[6 + p] = second.y;
        }
        if (OUTPUTS) add_product<false, false>(outputs, split(s), split(table(tables, 2 * index + 1, lane)));
      }
      if (OUTPUTS) {
        __syncwarp();  // X has been read
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          Element *samples = tile.of[warp][head] + (2 * g + i / 2) * STRIDE + 2 * t + 8 * (i % 2);
          *reinterpret_cast<Pair *>(samples) = pair(outputs.of[2 * i], outputs.of[2 * i + 1]);
        }
      }
    }
    __syncthreads();
    if (OUTPUTS) store(tile, y, w, start, transposed);  // a thread stores what it loads over next
  }
}

// Grid (ceil(H / HEADS) ceil(B segments / STRANDS)).
KERNEL chunk_outputs(const Element *__restrict__ u, const float4 *__restrict__ tables,
                     const float4 *__restrict__ taps, const float4 *__restrict__ rates, float2 *states,
                     Element *__restrict__ y, int B, int H, int M, int L, int Q, int transposed) {
  __shared__ Signal tile;
  walk<true>(tile, u, tables, taps, rates, states, y, work<STRANDS>(B, H, L, Q), M, transposed);
}

// The states alone. Grid as above.
KERNEL chunk_ends(const Element *__restrict__ u, const float4 *__restrict__ tables, const float4 *__restrict__ rates,
                  float2 *states, int B, int H, int M, int L, int Q, int transposed) {
  __shared__ Signal tile;
  walk<false>(tile, u, tables, nullptr, rates, states, nullptr, work<STRANDS>(B, H, L, Q), M, transposed);
}
