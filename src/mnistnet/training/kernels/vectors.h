// Vectors of floats, as wide as the processor's registers, in the compilers' own vector types.
// Everything here and in the other headers is in a nameless namespace: no variant can be linked
// with code of another, which its processor may not run.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 26;  // for sums; the others hold weights
#elif defined(__AVX__)
constexpr int LANES = 8, REGISTERS = 13;
#else
constexpr int LANES = 4, REGISTERS = 24;  // NEON
#endif

#if defined(UNROLL)  // as nothing: sanitizers would take long to compile
#elif defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

template <int N> struct Of {
    typedef float floats __attribute__((vector_size(N * 4), aligned(4), may_alias));
    typedef int32_t ints __attribute__((vector_size(N * 4), aligned(4), may_alias));
    typedef double doubles __attribute__((vector_size(N * 8)));
    typedef uint16_t halves __attribute__((vector_size(N * 2), aligned(2), may_alias));
    typedef uint8_t bytes __attribute__((vector_size(N), aligned(1), may_alias));
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

// A vector that divides a row of so many numbers.
constexpr int vector_for(int columns) {
    return columns % LANES == 0 ? LANES : columns % 8 == 0 && LANES > 8 ? 8 : columns % 4 ? 1 : 4;
}

// ---- a number of a map or of folded weights: a float, or a bfloat16, the upper half of one

#if defined(BFLOAT16)
struct Number {
    uint16_t bits;
};

template <int N> inline Vec<N> load(const Number *p) {
    return (Vec<N>)(__builtin_convertvector(*(const typename Of<N>::halves *)p, Ints<N>) << 16);
}
// Both round to the nearest.
template <int N> inline void store(Number *p, Vec<N> v) {
    if constexpr (N == 16)
        _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh((__m512)v));
    else
        _mm_storeu_si128((__m128i *)p, (__m128i)_mm256_cvtneps_pbh((__m256)v));
}
#else
typedef float Number;
#endif

// Add to each lane the products of two words. A word is 32 bits to multiply by: one float, or two
// bfloat16, whose products are added.
template <class T, int L> inline void add_product(Vec<L> &sum, Vec<L> a, Vec<L> b) {
#if defined(BFLOAT16)
    if constexpr (sizeof(T) == 2) {
        if constexpr (L == 16)
            sum = (Vec<L>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)(__m512)a, (__m512bh)(__m512)b);
        else
            sum = (Vec<L>)_mm256_dpbf16_ps((__m256)sum, (__m256bh)(__m256)a, (__m256bh)(__m256)b);
        return;
    }
#endif
    sum += a * b;
}

// One word of T in all lanes, or two in turns. As integers, or GCC would make the broadcast a part
// of each multiplication of pairs, which is slower.
template <class T, int L, int TURNS = 1> inline Vec<L> broadcast(const float *words) {
    if constexpr (TURNS == 1 && sizeof(T) == 4) {
        return *words - Vec<L>{};
    } else if constexpr (TURNS == 1) {
        int32_t bits;
        memcpy(&bits, words, sizeof bits);
        return (Vec<L>)(Ints<L>{} + bits);
    } else {
        typedef int64_t longs __attribute__((vector_size(L * 4)));
        int64_t bits;
        memcpy(&bits, words, sizeof bits);
        return (Vec<L>)(longs{} + bits);
    }
}

// Lanes that take turns, eight each.
inline void store_halves(float *a, float *b, Vec<16> v) {
    store<8>(a, __builtin_shufflevector(v, v, 0, 2, 4, 6, 8, 10, 12, 14));
    store<8>(b, __builtin_shufflevector(v, v, 1, 3, 5, 7, 9, 11, 13, 15));
}

// ---- functions of vectors

// b where one is not a number. GCC needs to be told that there is an instruction.
template <int N> inline Vec<N> larger(Vec<N> a, Vec<N> b) {
#if defined(__AVX512F__)
    if constexpr (N == 16) return (Vec<N>)_mm512_max_ps((__m512)a, (__m512)b);
#endif
#if defined(__AVX2__)
    if constexpr (N == 8) return (Vec<N>)_mm256_max_ps((__m256)a, (__m256)b);
#endif
    return a > b ? a : b;
}
template <int N> inline Vec<N> smaller(Vec<N> a, Vec<N> b) {
#if defined(__AVX512F__)
    if constexpr (N == 16) return (Vec<N>)_mm512_min_ps((__m512)a, (__m512)b);
#endif
#if defined(__AVX2__)
    if constexpr (N == 8) return (Vec<N>)_mm256_min_ps((__m256)a, (__m256)b);
#endif
    return a < b ? a : b;
}

template <int N> inline float sum_of_lanes(Vec<N> v) {
    float sum = 0;
    for (int lane = 0; lane < N; lane++) sum += v[lane];
    return sum;
}

// To the nearest whole number, half to even; |x| < 2^22.
template <int N> inline Vec<N> rounded(Vec<N> x) { return (x + 12582912.0f) - 12582912.0f; }

// e^x for -87 < x <= 0, to 2e-7: 2^n · 2^f, the latter by its Taylor series, |f| <= 0.5.
template <int N> inline Vec<N> exponential(Vec<N> x) {
    const Vec<N> exponent = x * 1.44269504f;        // log2 e
    const Vec<N> shifted = exponent + 12582912.0f;  // 1.5·2^23: the whole part is in the low bits
    const Vec<N> f = exponent - (shifted - 12582912.0f);
    Vec<N> power = f * 1.5403530e-4f + 1.3333558e-3f;
    power = power * f + 9.6181291e-3f;
    power = power * f + 5.5504109e-2f;
    power = power * f + 2.4022651e-1f;
    power = power * f + 6.9314718e-1f;
    power = power * f + 1.0f;
    return (Vec<N>)((Ints<N>)power + ((Ints<N>)shifted << 23));
}

}  // namespace
