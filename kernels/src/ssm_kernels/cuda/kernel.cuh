// How every kernel is declared: KERNEL name(arguments) { ... }
#pragma once

// Blocks of THREADS threads, and registers enough for BLOCKS of them on a multiprocessor.
#ifndef BLOCKS
#define BLOCKS 6
#endif
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
