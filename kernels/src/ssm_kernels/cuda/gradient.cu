// From moments to gradients, for a sum of terms with coefficients v[k, h, m] and rates w[h, m] that all rows k share:
// with moments (first, second) of each chunk, dv = sum first and dw = sum_k conj(v) sum second.
#include "complex.cuh"
#include "kernel.cuh"

// The chunks are summed in a fixed order; moments is (chunks, K, H M). Grid (ceil(H M / THREADS)).
KERNEL gradient(const float4 *__restrict__ moments, const float2 *__restrict__ v, float2 *__restrict__ dv,
                float2 *__restrict__ dw, int K, int HM, int chunks) {
  const long long i = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x;
  if (i >= HM) return;
  const long long KHM = static_cast<long long>(K) * HM;
  float2 slope = complex(0.0f, 0.0f);
  for (long long j = i; j < KHM; j += HM) {
    float4 total = moments[j];
    for (int chunk = 1; chunk < chunks; ++chunk) total = add(total, moments[chunk * KHM + j]);
    dv[j] = complex(total.x, total.y);
    slope = mul_add(conj(v[j]), complex(total.z, total.w), slope);
  }
  dw[i] = slope;
}
