// Lets a C++ compiler run a CUDA source on the CPU: blocks one after another, the threads of a block as fibres that
// barriers and exchanges between lanes switch between. It proves arithmetic, indexing, barriers and the layout of
// fragments; it says nothing about speed.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

struct float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct Index {
  unsigned x, y, z;
};

static Index gridDim, blockDim, blockIdx, threadIdx;

#define HOST_BUILD
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
// All shared arrays, if there are any, lie in one section, so that a new block can find them filled with NaN.
#define __shared__ static __attribute__((section("block_shared")))
extern "C" __attribute__((weak)) char __start_block_shared[], __stop_block_shared[];

inline void sincospif(float x, float *sine, float *cosine) {
  *sine = static_cast<float>(std::sin(M_PI * static_cast<double>(x)));
  *cosine = static_cast<float>(std::cos(M_PI * static_cast<double>(x)));
}
inline float __fdividef(float x, float y) { return x / y; }

namespace host {

constexpr std::size_t STACK = 1 << 16;

struct Fibre {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(STACK);
  bool done;
  unsigned exchanges;
};

static ucontext_t scheduler;
static Fibre *current;
static std::function<void()> body;

inline void enter() {
  body();
  current->done = true;
}

// Runs every thread of the block to its next barrier, in the order asked for, until all are through.
// False if some threads ended while others waited at a barrier.
inline bool run_block(std::vector<Fibre> &fibres, bool descending) {
  std::memset(__start_block_shared, 0xFF, __stop_block_shared - __start_block_shared);
  const int threads = static_cast<int>(fibres.size());
  for (Fibre &fibre : fibres) {
    fibre.done = false;
    fibre.exchanges = 0;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.data();
    fibre.context.uc_stack.ss_size = STACK;
    fibre.context.uc_link = &scheduler;
    makecontext(&fibre.context, enter, 0);
  }
  for (int done = 0; done < threads;) {
    for (int i = 0; i < threads; ++i) {
      const int t = descending ? threads - 1 - i : i;
      current = &fibres[t];
      threadIdx = {static_cast<unsigned>(t), 0, 0};
      swapcontext(&scheduler, &current->context);
      done += current->done;
    }
    if (done != 0 && done != threads) return false;
  }
  return true;
}

template <typename... Parameters, std::size_t... I>
bool launch(void (*kernel)(Parameters...), void **arguments, const unsigned *grid, unsigned threads, bool descending,
            std::index_sequence<I...>) {
  body = [=] { kernel(*static_cast<std::remove_reference_t<Parameters> *>(arguments[I])...); };
  std::vector<Fibre> fibres(threads);
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {threads, 1, 1};
  for (unsigned z = 0; z < grid[2]; ++z)
    for (unsigned y = 0; y < grid[1]; ++y)
      for (unsigned x = 0; x < grid[0]; ++x) {
        blockIdx = {x, y, z};
        if (!run_block(fibres, descending)) return false;
      }
  return true;
}

// As cuLaunchKernel takes them: one pointer to each argument's value.
template <typename... Parameters>
bool launch(void (*kernel)(Parameters...), void **arguments, const unsigned *grid, unsigned threads, bool descending) {
  return launch(kernel, arguments, grid, threads, descending, std::index_sequence_for<Parameters...>{});
}

}  // namespace host

static inline void __syncthreads() { swapcontext(&host::current->context, &host::scheduler); }

namespace host {

constexpr unsigned LANES = 32, MOST_THREADS = 1024;

// What the lanes of the thread's warp give. Two stores in turn: a lane may give again before all have read.
template <typename T>
const T *exchange(const T &given) {
  static T stores[2][MOST_THREADS];
  T *store = stores[current->exchanges++ % 2];
  store[threadIdx.x] = given;
  __syncthreads();
  return store + threadIdx.x / LANES * LANES;
}

struct Fragments {
  unsigned a[4], b[2];
};

// Tensor cores add in more digits than float32 has and cut off what is left over.
inline float cut(double sum) {
  const float rounded = static_cast<float>(sum);
  return std::fabs(static_cast<double>(rounded)) > std::fabs(sum) ? std::nextafter(rounded, 0.0f) : rounded;
}

}  // namespace host

inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

inline void __syncwarp() { __syncthreads(); }
inline float __shfl_up_sync(unsigned, float x, unsigned lanes) {
  const unsigned lane = threadIdx.x % host::LANES;
  return host::exchange(x)[lane < lanes ? lane : lane - lanes];
}
inline float __shfl_xor_sync(unsigned, float x, unsigned mask) {
  const unsigned lane = threadIdx.x % host::LANES;
  return host::exchange(x)[lane ^ mask];
}

// To the nearest, ties to even.
inline unsigned bfloat16_pair(float first, float second) {
  const auto round = [](float x) {
    const unsigned bits = __float_as_uint(x);
    return (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
  };
  return round(second) << 16 | round(first);
}

// The fragments as "PTX ISA" documents them: row and column of a register by lane.
inline void mma_tf32(float &d0, float &d1, float &d2, float &d3, unsigned a0, unsigned a1, unsigned a2, unsigned a3,
                     unsigned b0, unsigned b1) {
  const host::Fragments *warp = host::exchange<host::Fragments>({{a0, a1, a2, a3}, {b0, b1}});
  const auto number = [](unsigned bits) { return static_cast<double>(__uint_as_float(bits & 0xFFFFE000u)); };
  const unsigned lane = threadIdx.x % host::LANES;
  float *d[] = {&d0, &d1, &d2, &d3};
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
    double sum = *d[i];
    for (unsigned k = 0; k < 8; ++k) {
      sum += number(warp[4 * (row % 8) + k % 4].a[row / 8 + 2 * (k / 4)]) * number(warp[4 * column + k % 4].b[k / 4]);
    }
    *d[i] = host::cut(sum);
  }
}

inline void mma_bfloat16(float &d0, float &d1, float &d2, float &d3, unsigned a0, unsigned a1, unsigned a2,
                         unsigned a3, unsigned b0, unsigned b1) {
  const host::Fragments *warp = host::exchange<host::Fragments>({{a0, a1, a2, a3}, {b0, b1}});
  const auto number = [](unsigned pair, unsigned k) {
    return static_cast<double>(__uint_as_float(k % 2 ? pair & 0xFFFF0000u : pair << 16));
  };
  const unsigned lane = threadIdx.x % host::LANES;
  float *d[] = {&d0, &d1, &d2, &d3};
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
    double sum = *d[i];
    for (unsigned k = 0; k < 16; ++k) {
      const unsigned from = k % 8 / 2;
      sum += number(warp[4 * (row % 8) + from].a[row / 8 + 2 * (k / 8)], k) *
             number(warp[4 * column + from].b[k / 8], k);
    }
    *d[i] = host::cut(sum);
  }
}
