// An orthonormal basis of a square matrix's columns, by Householder's reflections.
#pragma once

#include "vectors.h"

namespace {

// Every function works on the transposed matrix: a column is then contiguous. Reflections are
// applied some at a time: H₁H₂… = I - V T Vᵀ, with T upper triangular (Schreiber & Van Loan 1989).
template <int N> struct Householder {
    static constexpr int L = N % LANES == 0 ? LANES : N % 8 == 0 && LANES > 8 ? 8 : N % 4 ? 1 : 4;
    static constexpr int BLOCK = divisor(N, 8);
    float v[N][N];  // row k: reflection k, I - tau v vᵀ; zero before its k-th number, which is 1
    float tau[N], t[N][BLOCK];  // t: of each block, as rows

    static float dot(const float *a, const float *b, int from) {
        Vec<L> sum = {};
        for (int i = from / L * L; i < N; i += L) sum += load<L>(a + i) * load<L>(b + i);
        return sum_of_lanes<L>(sum);
    }

    // a: the matrix transposed; destroyed. Written to v: the reflections that make it triangular.
    void factor(float (*a)[N]) {
        for (int block = 0; block < N; block += BLOCK) {
            for (int k = block; k < block + BLOCK; k++) {
                reflection(a[k], k);
                for (int row = k + 1; row < block + BLOCK; row++) {
                    const float part = tau[k] * dot(v[k], a[row], k);
                    for (int i = k; i < N; i++) a[row][i] -= part * v[k][i];
                }
            }
            triangle(block);
            for (int row = block + BLOCK; row < N; row++) apply(block, a[row], true);
        }
    }

    // The reflection that leaves of x, from its k-th number on, only that number.
    void reflection(const float *x, int k) {
        double square = 0;
        for (int i = k + 1; i < N; i++) square += double(x[i]) * x[i];
        const double length = __builtin_sqrt(square + double(x[k]) * x[k]);
        for (int i = 0; i < k; i++) v[k][i] = 0;
        v[k][k] = 1;
        if (square == 0) {
            tau[k] = 0;
            for (int i = k + 1; i < N; i++) v[k][i] = 0;
            return;
        }
        const double beta = x[k] > 0 ? -length : length;
        tau[k] = (beta - x[k]) / beta;
        const float scale = 1 / (x[k] - beta);
        for (int i = k + 1; i < N; i++) v[k][i] = x[i] * scale;
    }

    void triangle(int block) {
        for (int j = 0; j < BLOCK; j++) {
            float products[BLOCK];
            for (int i = 0; i < j; i++) products[i] = dot(v[block + i], v[block + j], block + j);
            for (int i = 0; i < j; i++) {
                float sum = 0;
                for (int k = i; k < j; k++) sum += t[block + i][k] * products[k];
                t[block + i][j] = -tau[block + j] * sum;
            }
            t[block + j][j] = tau[block + j];
        }
    }

    // x -= V T' Vᵀ x, T' = Tᵀ if `transposed`.
    void apply(int block, float *x, bool transposed) const {
        const int from = block / L * L;
        Vec<L> sums[BLOCK] = {};
        for (int i = from; i < N; i += L)
            UNROLL for (int k = 0; k < BLOCK; k++)
                sums[k] += load<L>(v[block + k] + i) * load<L>(x + i);
        float products[BLOCK], parts[BLOCK] = {};
        for (int k = 0; k < BLOCK; k++) products[k] = sum_of_lanes<L>(sums[k]);
        for (int i = 0; i < BLOCK; i++)
            for (int k = i; k < BLOCK; k++)
                if (transposed) parts[k] += t[block + i][k] * products[i];
                else parts[i] += t[block + i][k] * products[k];
        for (int i = from; i < N; i += L) {
            Vec<L> moved = load<L>(x + i);
            UNROLL for (int k = 0; k < BLOCK; k++) moved -= parts[k] * load<L>(v[block + k] + i);
            store<L>(x + i, moved);
        }
    }

    // Write row j: the basis's j-th vector.
    void basis(float (*q)[N]) const {
        for (int row = 0; row < N; row++) {
            for (int i = 0; i < N; i++) q[row][i] = i == row;
            for (int block = row / BLOCK * BLOCK; block >= 0; block -= BLOCK)
                apply(block, q[row], false);
        }
    }
};

}  // namespace
