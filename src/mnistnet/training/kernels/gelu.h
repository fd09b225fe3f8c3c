// GELU, x·Φ(x), and its derivative.
#pragma once

#include "vectors.h"

namespace {

// With its derivative Φ(x) + x·φ(x). Φ by Abramowitz & Stegun 7.1.26, good to 1e-7.
template <int N> inline Vec<N> gelu_by_formula(Vec<N> x, Vec<N> *derivative) {
    const Vec<N> zero = {};
    const Ints<N> negative = x < zero;
    Vec<N> size = negative ? -x : x;
    size = size > 12.0f ? zero + 12.0f : size;  // beyond, nothing changes
    const Vec<N> bell = exponential<N>(size * size * -0.5f);
    const Vec<N> t = 1.0f / (1.0f + 0.23164189f * size);  // 0.3275911 / √2
    Vec<N> series = t * 1.061405429f - 1.453152027f;
    series = series * t + 1.421413741f;
    series = series * t - 0.284496736f;
    series = series * t + 0.254829592f;
    const Vec<N> tail = 0.5f * series * t * bell;  // Φ(-|x|)
    const Vec<N> phi = negative ? tail : 1.0f - tail;
    *derivative = phi + x * bell * 0.39894228f;  // 1 / √2π
    return x * phi;
}

#if defined(__AVX512F__)
// AVX-512 looks sixteen numbers up in a table of 32 at once. GELU is max(x, 0) - r(|x|) with
// r(u) = u·Φ(-u), which vanishes beyond six; 32 cubics give it to 7e-7, and its derivative to 3e-5.
constexpr int PIECES = 32;
constexpr double PIECE = 0.19;  // width; the middles are its multiples

constexpr double remainder_of_gelu(double u) {
    double power = 1, factor = 1, term = u, sum = u;  // e^(u²/2); Σ u^(2n+1) / (1·3·5…(2n+1))
    for (int n = 1; n < 100; n++) {
        factor *= u * u / 2 / n, power += factor;
        term *= u * u / (2 * n + 1), sum += term;
    }
    return u * (0.5 - sum / power * 0.39894228040143268);
}

struct Cubics {
    alignas(64) float of[4][PIECES] = {};  // coefficients of t⁰ … t³, t from a piece's middle
    constexpr Cubics() {
        for (int piece = 0; piece < PIECES; piece++) {
            const double far = PIECE / 2 * 0.92387953251, near = PIECE / 2 * 0.38268343236;
            const double t[4] = {-far, -near, near, far};  // Chebyshev's nodes
            double y[4] = {};
            for (int k = 0; k < 4; k++) y[k] = remainder_of_gelu(piece * PIECE + t[k]);
            const double even_far = (y[0] + y[3]) / 2, even_near = (y[1] + y[2]) / 2;
            const double odd_far = (y[3] - y[0]) / 2 / far, odd_near = (y[2] - y[1]) / 2 / near;
            const double c2 = (even_far - even_near) / (far * far - near * near);
            const double c3 = (odd_far - odd_near) / (far * far - near * near);
            of[0][piece] = even_near - c2 * near * near, of[1][piece] = odd_near - c3 * near * near;
            of[2][piece] = c2, of[3][piece] = c3;
        }
    }
};
constexpr Cubics CUBICS;

inline Vec<16> look_up(int coefficient, __m512i piece) {
    const float *of = CUBICS.of[coefficient];
    return (Vec<16>)_mm512_permutex2var_ps(_mm512_load_ps(of), piece, _mm512_load_ps(of + 16));
}
inline Vec<16> gelu_by_table(Vec<16> x, Vec<16> *derivative) {
    const Vec<16> zero = {};
    const Vec<16> size = (Vec<16>)((Ints<16>)x & 0x7fffffff);
    const Vec<16> u = smaller<16>(size, zero + float((PIECES - 0.51) * PIECE));
    const Vec<16> shifted = u * float(1 / PIECE) + 12582912.0f;  // as in exponential()
    const __m512i piece = (__m512i)shifted;  // its low five bits count
    const Vec<16> t = u - (shifted - 12582912.0f) * float(PIECE);
    const Vec<16> c1 = look_up(1, piece), c2 = look_up(2, piece), c3 = look_up(3, piece);
    const Vec<16> r = ((c3 * t + c2) * t + c1) * t + look_up(0, piece);
    if (derivative) {
        const Vec<16> slope = (c3 * t * 3.0f + (c2 + c2)) * t + c1;
        *derivative = x < zero ? slope : 1.0f - slope;
    }
    return larger<16>(x, zero) - r;
}
#endif

// With the derivative, in the precision that the numbers are kept in.
template <int N> inline Vec<N> gelu(Vec<N> x, Vec<N> *derivative) {
#if defined(__AVX512F__)
    if constexpr (N == 16 && sizeof(Number) == 2) return gelu_by_table(x, derivative);
#endif
    return gelu_by_formula<N>(x, derivative);
}

// Without.
template <int N> inline Vec<N> gelu(Vec<N> x) {
#if defined(__AVX512F__)
    if constexpr (N == 16) return gelu_by_table(x, nullptr);
#endif
    Vec<N> unused;
    return gelu_by_formula<N>(x, &unused);
}

}  // namespace
