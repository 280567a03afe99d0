// Sizes of the tables that chunk_system.cu makes and chunk.cu and chunk_gradient.cu take.
#pragma once

constexpr int SIDE = 16;          // a table is a matrix of 16 x 16
constexpr int STATES = SIDE / 2;  // of a table: their real parts, then their imaginary ones
constexpr int POWERS = 5;         // of a rate: a^16, a^32, a^64, a^128 and 16 a^15
