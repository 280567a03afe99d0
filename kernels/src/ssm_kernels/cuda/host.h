// Lets a C++ compiler run a CUDA source on the CPU: blocks one after another, the threads of a block as fibres. Lanes
// of a warp wait for one another where they exchange values, warps only at barriers of the block. It proves
// arithmetic, indexing, barriers and the layout of fragments; it says nothing about speed.
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
inline float reciprocal(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(INFINITY, x) : 1.0f / x; }

namespace host {

constexpr std::size_t STACK = 1 << 16;
constexpr int LANES = 32, MOST_THREADS = 1024;

enum Stop { WARP, BLOCK, END };  // what a thread waits for: the other lanes, the other threads, or nothing more

struct Fibre {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(STACK);
  Stop stop;
  unsigned exchanges;
};

static ucontext_t scheduler;
static Fibre *current;
static std::function<void()> body;

inline void enter() {
  body();
  current->stop = END;
}

inline void wait(Stop stop) {
  current->stop = stop;
  swapcontext(&current->context, &scheduler);
}

// Runs the lanes of a warp, in the order asked for, to where it waits for the block or ends. False if not all do.
inline bool run_warp(Fibre *lanes, int first, bool descending) {
  do {
    for (int i = 0; i < LANES; ++i) {
      const int lane = descending ? LANES - 1 - i : i;
      current = lanes + lane;
      threadIdx = {static_cast<unsigned>(first + lane), 0, 0};
      swapcontext(&scheduler, &current->context);
    }
    for (int lane = 1; lane < LANES; ++lane)
      if (lanes[lane].stop != lanes[0].stop) return false;
  } while (lanes[0].stop == WARP);
  return true;
}

// Runs the warps of the block, in the order asked for, to their next barrier, until all are through.
// False if they do not all reach the same barriers.
inline bool run_block(std::vector<Fibre> &fibres, bool descending) {
  std::memset(__start_block_shared, 0xFF, __stop_block_shared - __start_block_shared);
  for (Fibre &fibre : fibres) {
    fibre.exchanges = 0;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.data();
    fibre.context.uc_stack.ss_size = STACK;
    fibre.context.uc_link = &scheduler;
    makecontext(&fibre.context, enter, 0);
  }
  const int threads = static_cast<int>(fibres.size());
  do {
    for (int i = 0; i < threads; i += LANES) {
      const int first = descending ? threads - LANES - i : i;
      if (!run_warp(&fibres[first], first, descending)) return false;
    }
    for (int first = LANES; first < threads; first += LANES)
      if (fibres[first].stop != fibres[0].stop) return false;
  } while (fibres[0].stop == BLOCK);
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

static inline void __syncthreads() { host::wait(host::BLOCK); }
static inline void __syncwarp() { host::wait(host::WARP); }

namespace host {

// What the lanes of the thread's warp give. Two stores in turn: a lane may give again before all have read.
template <typename T>
const T *exchange(const T &given) {
  static T stores[2][MOST_THREADS];
  T *store = stores[current->exchanges++ % 2];
  store[threadIdx.x] = given;
  wait(WARP);
  return store + threadIdx.x / LANES * LANES;
}

struct Fragments {
  unsigned a[4], b[2];
};

// A sum as tensor cores form it: numbers are brought to the exponent of the largest, and what exceeds its 24 digits is
// cut off. So the first ones do; later ones keep a bit or two more. See Fasi and others, "Numerical behavior of NVIDIA
// tensor cores" (doi:10.7717/peerj-cs.330).
template <std::size_t N>
float sum(const double (&numbers)[N]) {
  double largest = 0.0, total = 0.0;
  for (double number : numbers) largest = std::fmax(largest, std::fabs(number));
  int exponent;
  std::frexp(largest, &exponent);
  const double digit = std::ldexp(1.0, exponent - 24);
  for (double number : numbers) total += std::trunc(number / digit) * digit;
  const float rounded = static_cast<float>(total);
  return std::fabs(static_cast<double>(rounded)) > std::fabs(total) ? std::nextafter(rounded, 0.0f) : rounded;
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
    double terms[9] = {*d[i]};
    for (unsigned k = 0; k < 8; ++k) {
      terms[k + 1] = number(warp[4 * (row % 8) + k % 4].a[row / 8 + 2 * (k / 4)]) *
                     number(warp[4 * column + k % 4].b[k / 4]);
    }
    *d[i] = host::sum(terms);
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
    double terms[17] = {*d[i]};
    for (unsigned k = 0; k < 16; ++k) {
      const unsigned from = k % 8 / 2;
      terms[k + 1] = number(warp[4 * (row % 8) + from].a[row / 8 + 2 * (k / 8)], k) *
                     number(warp[4 * column + from].b[k / 8], k);
    }
    *d[i] = host::sum(terms);
  }
}
