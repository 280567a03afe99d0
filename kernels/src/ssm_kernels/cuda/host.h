// Lets a C++ compiler run a CUDA source on the CPU: blocks one after another, the threads of a block as fibres that
// __syncthreads switches between. It proves arithmetic, indexing and barriers; it says nothing about speed.
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
struct Index {
  unsigned x, y, z;
};

static Index gridDim, blockDim, blockIdx, threadIdx;

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
