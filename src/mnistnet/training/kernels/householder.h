// An orthonormal basis of a square matrix's columns, by Householder's reflections.
#pragma once

#include "vectors.h"

namespace {

// Reflections I - tau v vᵀ, WIDTH of them at a time: their product is I - V T Vᵀ, with T upper
// triangular (Schreiber & Van Loan 1989).
template <int N> struct Householder {
    static constexpr int WIDTH = divisor(N, 8), L = vector_for(N);
    static constexpr int ACROSS = divisor(N / L, REGISTERS / WIDTH);
    float panel[WIDTH][N];         // a panel's columns, and then its reflections
    float v[N / WIDTH][N][WIDTH];  // those of each panel
    float t[N / WIDTH][WIDTH][WIDTH];

    // a: (N, N), row by row; destroyed. q: (N, N), written, the basis in its columns.
    void orthogonalise(float *a, float *q) {
        for (int p = 0; p < N / WIDTH; p++) {
            const int first = p * WIDTH;
            for (int k = 0; k < WIDTH; k++)
                for (int i = 0; i < N; i++) panel[k][i] = a[i * N + first + k];
            reflect_panel(first, t[p]);
            for (int i = 0; i < N; i++)
                for (int k = 0; k < WIDTH; k++) v[p][i][k] = panel[k][i];
            apply<true>(p, a, first + WIDTH);
        }
        for (int i = 0; i < N * N; i++) q[i] = i % (N + 1) == 0;
        for (int p = N / WIDTH - 1; p >= 0; p--) apply<false>(p, q, p * WIDTH);
    }

    void reflect_panel(int first, float (*t)[WIDTH]) {
        for (int k = 0; k < WIDTH; k++) {
            float *x = panel[k];
            const float tau = reflection(x, first + k);
            for (int other = k + 1; other < WIDTH; other++) {
                const float part = tau * dot(x, panel[other], first + k);
                for (int i = first + k; i < N; i++) panel[other][i] -= part * x[i];
            }
            for (int i = 0; i < k; i++) {
                float sum = 0;
                for (int j = i; j < k; j++) sum += t[i][j] * dot(panel[j], x, first + k);
                t[i][k] = -tau * sum;
            }
            t[k][k] = tau;
        }
    }

    // x → v of the reflection that leaves of it, from its k-th number on, only that one; tau.
    static float reflection(float *x, int k) {
        const double head = x[k];
        double square = 0;
        for (int i = k + 1; i < N; i++) square += double(x[i]) * x[i];
        for (int i = 0; i < k; i++) x[i] = 0;
        x[k] = 1;
        if (square == 0) return 0;
        const double length = __builtin_sqrt(square + head * head);
        const double beta = head > 0 ? -length : length;
        const float scale = 1 / (head - beta);
        for (int i = k + 1; i < N; i++) x[i] *= scale;
        return (beta - head) / beta;
    }

    static float dot(const float *a, const float *b, int from) {
        Vec<L> sum = {};
        for (int i = from / L * L; i < N; i += L) sum += load<L>(a + i) * load<L>(b + i);
        return sum_of_lanes<L>(sum);
    }

    // x -= V T Vᵀ x, or with Tᵀ; of x (N, N) only the columns from `from` on matter, and before
    // V's first row, V is zero.
    template <bool TRANSPOSED> void apply(int p, float *x, int from) const {
        constexpr int TILE = ACROSS * L;
        const int first = p * WIDTH;
        for (int column = from / TILE * TILE; column < N; column += TILE) {
            Vec<L> products[WIDTH][ACROSS] = {}, parts[WIDTH][ACROSS] = {};
            for (int i = first; i < N; i++)
                UNROLL for (int k = 0; k < WIDTH; k++)
                    UNROLL for (int c = 0; c < ACROSS; c++)
                        products[k][c] += v[p][i][k] * load<L>(x + i * N + column + c * L);
            UNROLL for (int k = 0; k < WIDTH; k++)
                UNROLL for (int j = 0; j < WIDTH; j++)
                    if (TRANSPOSED ? j <= k : j >= k) {
                        const float of_t = TRANSPOSED ? t[p][j][k] : t[p][k][j];
                        UNROLL for (int c = 0; c < ACROSS; c++)
                            parts[k][c] += of_t * products[j][c];
                    }
            for (int i = first; i < N; i++)
                UNROLL for (int c = 0; c < ACROSS; c++) {
                    float *at = x + i * N + column + c * L;
                    Vec<L> moved = load<L>(at);
                    UNROLL for (int k = 0; k < WIDTH; k++) moved -= v[p][i][k] * parts[k][c];
                    store<L>(at, moved);
                }
        }
    }
};

}  // namespace
