// Vectors of floats in the compiler's own words, as wide as the processor's registers.
#pragma once

#include <cstdint>

#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 24;  // for sums; the others hold weights
#elif defined(__AVX__)
constexpr int LANES = 8, REGISTERS = 12;
#else
constexpr int LANES = 4, REGISTERS = 24;  // NEON
#endif

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

template <int N> struct Of {
    typedef float floats __attribute__((vector_size(N * 4), aligned(4), may_alias));
    typedef int32_t ints __attribute__((vector_size(N * 4), aligned(4), may_alias));
    typedef double doubles __attribute__((vector_size(N * 8)));
};
template <int N> using Vec = typename Of<N>::floats;
template <int N> using Ints = typename Of<N>::ints;

template <int N> inline Vec<N> load(const float *p) { return *(const Vec<N> *)p; }
template <int N> inline void store(float *p, Vec<N> v) { *(Vec<N> *)p = v; }

constexpr int lanes(int channels) { return channels < LANES ? channels : LANES; }

// The largest divisor of n that is at most `limit`.
constexpr int divisor(int n, int limit) {
    int d = limit < n ? limit : n;
    while (d > 1 && n % d) d--;
    return d < 1 ? 1 : d;
}
