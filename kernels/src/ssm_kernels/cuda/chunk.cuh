// A diagonal SSM in chunks of 16 samples, with signals of float32 or bfloat16 (B, L, H) in shared memory. L is a
// multiple of 16.
//
// Time is cut into segments of Q samples, a multiple of 256 (the last may be shorter). A strand is a segment of one row
// of the batch; a block works on a few strands and neighbouring heads, 256 samples at a time: of each head a matrix
// of 16 chunks x 16 samples. Compile-time constants:
//   THREADS   threads of a block
//   BFLOAT16  1 for signals of bfloat16, 0 for float32
//   PACK      heads of one access to memory: 16 bytes where rows of signals are aligned to them, else 1
#pragma once
#include "chunk_tables.cuh"
#include "complex.cuh"
#include "tensor.cuh"

#if BFLOAT16
typedef unsigned short Element;
#else
typedef float Element;
#endif

constexpr bool EXACT = BFLOAT16;  // signals as factors
constexpr int SAMPLES = SIDE * SIDE;
constexpr int HEADS = 32 / static_cast<int>(sizeof(Element)), PACKS = HEADS / PACK;  // a sector of memory
constexpr int STRIDE = SIDE + 4;  // of chunks, so that lanes meet no bank twice

template <int STRANDS>
struct alignas(16) Tile {
  Element of[STRANDS][HEADS][SIDE * STRIDE + 4];
};

struct alignas(2 * sizeof(Element)) Pair {
  Element first, second;
};

struct alignas(PACK * sizeof(Element)) Pack {
  Element of[PACK];
};

__device__ __forceinline__ float number(Element e) {
#if BFLOAT16
  return __uint_as_float(static_cast<unsigned>(e) << 16);
#else
  return e;
#endif
}

__device__ __forceinline__ Pair pair(float first, float second) {
#if BFLOAT16
  const unsigned bits = bfloat16_pair(first, second);
  return {static_cast<Element>(bits & 0xFFFFu), static_cast<Element>(bits >> 16)};
#else
  return {first, second};
#endif
}

// What a block works on.
struct Work {
  int head, heads, strand;  // the first head, how many, and the first strand
  int strands, segments, H, L, Q;
};

struct Strand {
  long long row;  // in the signal, where the segment begins
  int steps;      // 0 if there is no such strand
};

// For grids of ceil(H / HEADS) ceil(B segments / strands of a block) blocks.
template <int STRANDS>
__device__ __forceinline__ Work work(int B, int H, int L, int Q) {
  const int across = (H + HEADS - 1) / HEADS, head = static_cast<int>(blockIdx.x) % across * HEADS;
  const int segments = (L + Q - 1) / Q;
  const int strand = static_cast<int>(blockIdx.x) / across * STRANDS;
  return {head, H - head < HEADS ? H - head : HEADS, strand, B * segments, segments, H, L, Q};
}

__device__ __forceinline__ Strand make_strand(const Work &w, int i) {
  const int strand = w.strand + i, row = strand / w.segments, first = strand % w.segments * w.Q;
  const int steps = w.L - first < w.Q ? w.L - first : w.Q;
  return {static_cast<long long>(row) * w.L + first, strand < w.strands ? steps : 0};
}

// Chunks of a strand in the tile that begins at a sample.
__device__ __forceinline__ int chunks_left(const Strand &s, int start) {
  const int samples = s.steps - start;
  return samples <= 0 ? 0 : samples < SAMPLES ? samples / SIDE : SIDE;
}

// The place in memory of the n-th sample in the direction of the scan, of the block's first head.
__device__ __forceinline__ long long place(const Work &w, const Strand &s, int n, bool transposed) {
  return (s.row + (transposed ? s.steps - 1 - n : n)) * w.H + w.head;
}

// 256 samples of each strand from the one asked for, in the direction of the scan; zeros beyond the end.
template <int STRANDS>
__device__ __forceinline__ void load(Tile<STRANDS> &tile, const Element *u, const Work &w, int start, bool transposed) {
  for (int i = 0; i < STRANDS; ++i) {
    const Strand s = make_strand(w, i);
    const int head = threadIdx.x % PACKS * PACK;
#pragma unroll 4
    for (int turn = 0; turn < SAMPLES * PACKS / THREADS; ++turn) {
      const int n = (turn * THREADS + threadIdx.x) / PACKS;
      Pack pack = {};
      if (start + n < s.steps && head < w.heads) {
        pack = *reinterpret_cast<const Pack *>(u + place(w, s, start + n, transposed) + head);
      }
#pragma unroll
      for (int k = 0; k < PACK; ++k) tile.of[i][head + k][n / SIDE * STRIDE + n % SIDE] = pack.of[k];
    }
  }
}

template <int STRANDS>
__device__ __forceinline__ void store(const Tile<STRANDS> &tile, Element *y, const Work &w, int start,
                                      bool transposed) {
  for (int i = 0; i < STRANDS; ++i) {
    const Strand s = make_strand(w, i);
    const int head = threadIdx.x % PACKS * PACK;
#pragma unroll 4
    for (int turn = 0; turn < SAMPLES * PACKS / THREADS; ++turn) {
      const int n = (turn * THREADS + threadIdx.x) / PACKS;
      if (start + n >= s.steps || head >= w.heads) continue;
      Pack pack;
#pragma unroll
      for (int k = 0; k < PACK; ++k) pack.of[k] = tile.of[i][head + k][n / SIDE * STRIDE + n % SIDE];
      *reinterpret_cast<Pack *>(y + place(w, s, start + n, transposed) + head) = pack;
    }
  }
}

// A matrix with the given two chunks as the lane's rows, and samples as columns; or those in reverse.
__device__ __forceinline__ Matrix by_chunks(const Element *samples, int first, int second, int t, bool reversed) {
  Matrix m;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int column = 2 * t + 8 * (i % 2), chunk = i < 2 ? first : second;
    const Pair found = *reinterpret_cast<const Pair *>(samples + chunk * STRIDE + (reversed ? 14 - column : column));
    m.of[2 * i] = number(reversed ? found.second : found.first);
    m.of[2 * i + 1] = number(reversed ? found.first : found.second);
  }
  return m;
}

// What a lane so many before has.
__device__ __forceinline__ float2 shift(float2 z, int lanes) {
  return complex(__shfl_up_sync(0xFFFFFFFFu, z.x, lanes), __shfl_up_sync(0xFFFFFFFFu, z.y, lanes));
}

// A 16 x 16 table, stored as the lanes hold it: first all rows up to 7, then the others.
__device__ __forceinline__ Matrix table(const float4 *__restrict__ tables, long long index, int lane) {
  const float4 upper = tables[index * 64 + lane], lower = tables[index * 64 + 32 + lane];
  return {{upper.x, upper.y, upper.z, upper.w, lower.x, lower.y, lower.z, lower.w}};
}
