// How every kernel is declared: KERNEL name(arguments) { ... }
#pragma once

// Blocks of THREADS threads, and registers enough for six of them on a multiprocessor.
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 6)
