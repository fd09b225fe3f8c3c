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
// r(u) = u·Φ(-u), which vanishes soon: 32 polynomials give it.
constexpr int PIECES = 32;

constexpr double remainder_of_gelu(double u) {
    double power = 1, factor = 1, term = u, sum = u;  // e^(u²/2); Σ u^(2n+1) / (1·3·5…(2n+1))
    for (int n = 1; n < 100; n++) {
        factor *= u * u / 2 / n, power += factor;
        term *= u * u / (2 * n + 1), sum += term;
    }
    return u * (0.5 - sum / power * 0.39894228040143268);
}

// Cubics up to u = 6 are good to 7e-7, parabolas up to 4.5 to 2e-5, and their slope to 2e-3, which
// is as fine as bfloat16 is.
template <int DEGREE> struct Polynomials {
    static constexpr double WIDTH = DEGREE == 3 ? 0.19 : 0.143;  // a piece's middle is a multiple
    alignas(64) float of[DEGREE + 1][PIECES] = {};  // coefficients of t⁰, t¹ …, t from the middle

    constexpr Polynomials() {
        // Through Chebyshev's nodes, by Newton's divided differences.
        constexpr double cosines[2][4] = {{-0.86602540378, 0, 0.86602540378},
                                          {-0.92387953251, -0.38268343236, 0.38268343236,
                                           0.92387953251}};
        for (int piece = 0; piece < PIECES; piece++) {
            double t[4] = {}, difference[4] = {}, power[4] = {1}, sum[4] = {};
            for (int k = 0; k <= DEGREE; k++) {
                t[k] = cosines[DEGREE - 2][k] * WIDTH / 2;
                difference[k] = remainder_of_gelu(piece * WIDTH + t[k]);
            }
            for (int order = 1; order <= DEGREE; order++)
                for (int k = DEGREE; k >= order; k--)
                    difference[k] = (difference[k] - difference[k - 1]) / (t[k] - t[k - order]);
            for (int k = 0; k <= DEGREE; k++) {  // power: (t - t₀) … (t - tₖ₋₁)
                for (int i = 0; i <= DEGREE; i++) sum[i] += difference[k] * power[i];
                for (int i = DEGREE; i >= 0; i--)
                    power[i] = (i ? power[i - 1] : 0) - t[k] * power[i];
            }
            for (int i = 0; i <= DEGREE; i++) of[i][piece] = sum[i];
        }
    }
};
template <int DEGREE> constexpr Polynomials<DEGREE> POLYNOMIALS;

template <int DEGREE> inline Vec<16> gelu_by_table(Vec<16> x, Vec<16> *derivative) {
    constexpr float WIDTH = Polynomials<DEGREE>::WIDTH;
    const Vec<16> zero = {};
    const Vec<16> size = (Vec<16>)((Ints<16>)x & 0x7fffffff);
    const Vec<16> u = smaller<16>(size, zero + (PIECES - 0.51f) * WIDTH);
    const Vec<16> shifted = u * (1 / WIDTH) + 12582912.0f;  // as in exponential()
    const __m512i piece = (__m512i)shifted;                 // its low five bits count
    const Vec<16> t = u - (shifted - 12582912.0f) * WIDTH;
    auto coefficient = [&](int i) {
        const float *of = POLYNOMIALS<DEGREE>.of[i];
        return (Vec<16>)_mm512_permutex2var_ps(_mm512_load_ps(of), piece, _mm512_load_ps(of + 16));
    };
    const Vec<16> c1 = coefficient(1), c2t = coefficient(2) * t;
    Vec<16> series = c2t + c1, slope = c2t + series;
    if constexpr (DEGREE == 3) {
        const Vec<16> c3tt = coefficient(3) * t * t;
        series += c3tt, slope += c3tt * 3.0f;
    }
    if (derivative) *derivative = x < zero ? slope : 1.0f - slope;
    return larger<16>(x, zero) - (series * t + coefficient(0));
}
#endif

// With the derivative, in the precision that the numbers are kept in.
template <int N> inline Vec<N> gelu(Vec<N> x, Vec<N> *derivative) {
#if defined(__AVX512F__)
    if constexpr (N == 16 && sizeof(Number) == 2) return gelu_by_table<2>(x, derivative);
#endif
    return gelu_by_formula<N>(x, derivative);
}

// Without.
template <int N> inline Vec<N> gelu(Vec<N> x) {
#if defined(__AVX512F__)
    if constexpr (N == 16) return gelu_by_table<sizeof(Number) == 2 ? 2 : 3>(x, nullptr);
#endif
    Vec<N> unused;
    return gelu_by_formula<N>(x, &unused);
}

}  // namespace
