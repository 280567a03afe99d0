// Complex numbers as float2, and exp(a l) for integers l, as exact for large l as for small.
#pragma once

__device__ __forceinline__ float2 complex(float re, float im) {
  float2 z;
  z.x = re;
  z.y = im;
  return z;
}

__device__ __forceinline__ float2 conj(float2 z) { return complex(z.x, -z.y); }

__device__ __forceinline__ float2 add(float2 a, float2 b) { return complex(a.x + b.x, a.y + b.y); }

// Two complex numbers at once.
__device__ __forceinline__ float4 both(float2 first, float2 second) {
  float4 pair;
  pair.x = first.x;
  pair.y = first.y;
  pair.z = second.x;
  pair.w = second.y;
  return pair;
}

__device__ __forceinline__ float4 add(float4 a, float4 b) {
  float4 sum;
  sum.x = a.x + b.x;
  sum.y = a.y + b.y;
  sum.z = a.z + b.z;
  sum.w = a.w + b.w;
  return sum;
}

__device__ __forceinline__ float2 scale(float s, float2 z) { return complex(s * z.x, s * z.y); }

__device__ __forceinline__ float2 mul(float2 a, float2 b) {
  return complex(fmaf(a.x, b.x, -a.y * b.y), fmaf(a.x, b.y, a.y * b.x));
}

// a b + c
__device__ __forceinline__ float2 mul_add(float2 a, float2 b, float2 c) {
  return complex(fmaf(a.x, b.x, fmaf(-a.y, b.y, c.x)), fmaf(a.x, b.y, fmaf(a.y, b.x, c.y)));
}

// a^n, multiplied up in float64: in float32 each squaring would double the error.
__device__ __forceinline__ double2 integer_power(float2 a, int n) {
  double x = a.x, y = a.y;
  double2 z;
  z.x = 1.0;
  z.y = 0.0;
  for (; n > 0; n >>= 1) {
    if (n & 1) {
      const double product = z.x * x - z.y * y;
      z.y = z.x * y + z.y * x;
      z.x = product;
    }
    const double square = x * x - y * y;
    y = 2.0 * x * y;
    x = square;
  }
  return z;
}

__device__ __forceinline__ float2 narrow(double2 z) {
  return complex(static_cast<float>(z.x), static_cast<float>(z.y));
}

// A rate a, ready for exp(a l). Its angular part is kept in turns, Im(a) / 2 pi, as the unevaluated sum of two
// floats: whole turns can then be dropped exactly, where a float32 product Im(a) l has lost them already.
struct Rate {
  float growth;
  float turns;
  float turns_low;
};

__device__ __forceinline__ Rate rate(float2 a) {
  const float per_radian = 0.15915494f;          // 1 / (2 pi), rounded to float
  const float per_radian_low = 6.4206383e-09f;   // what the rounding left
  Rate r;
  r.growth = a.x;
  r.turns = a.y * per_radian;
  r.turns_low = fmaf(a.y, per_radian, -r.turns) + a.y * per_radian_low;
  return r;
}

// exp(a l); l is an integer of at most 24 bits. What the products a l lose in rounding is put back.
__device__ __forceinline__ float2 power(Rate a, int l) {
  const float steps = static_cast<float>(l);
  const float turns = a.turns * steps;
  const float rest = fmaf(a.turns, steps, -turns) + a.turns_low * steps;
  const float phase = (turns - rintf(turns)) + rest;
  float sine, cosine;
  sincospif(2.0f * phase, &sine, &cosine);
  const float exponent = a.growth * steps;
  const float exponent_rest = fmaf(a.growth, steps, -exponent);
  float modulus = expf(exponent);
  modulus = fmaf(modulus, exponent_rest, modulus);
  return complex(modulus * cosine, modulus * sine);
}
