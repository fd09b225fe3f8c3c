// What SOAP does to a matrix of MnistNet in a step, in one function: see optimiser.py, whose words
// these are. Six small products and as many passes over a few thousand numbers: a framework spends
// more on being called than on them.
//
// Everything lies row by row, and every product goes along the rows of its right side. The right
// basis is therefore given twice, once turned.

#include <cmath>

#include "layers.h"
#include "vectors.h"

constexpr float EPSILON = 1e-8f;  // keeps the division finite

constexpr int vector_for(int columns) {
    return columns % LANES == 0 ? LANES : columns % 8 == 0 ? 8 : columns % 4 == 0 ? 4 : 1;
}

// a (R, K), or (K, R) if it is TURNED, times b (K, C): c = keep·c + add·product.
template <int R, int K, int C, bool TURNED>
void multiply(const float *a, const float *b, float *c, float keep = 0, float add = 1) {
    constexpr int L = vector_for(C);
    constexpr int ACROSS = divisor(C / L, 6), DOWN = divisor(R, REGISTERS / ACROSS);
    for (int row = 0; row < R; row += DOWN)
        for (int column = 0; column < C; column += ACROSS * L) {
            Vec<L> sum[DOWN][ACROSS] = {};
            for (int k = 0; k < K; k++) {
                const float *right = b + k * C + column;
                UNROLL for (int r = 0; r < DOWN; r++) {
                    const float left = TURNED ? a[k * R + row + r] : a[(row + r) * K + k];
                    UNROLL for (int v = 0; v < ACROSS; v++)
                        sum[r][v] += left * load<L>(right + v * L);
                }
            }
            UNROLL for (int r = 0; r < DOWN; r++)
                UNROLL for (int v = 0; v < ACROSS; v++) {
                    float *at = c + (row + r) * C + column + v * L;
                    const Vec<L> product = add * sum[r][v];
                    store<L>(at, keep == 0 ? product : keep * load<L>(at) + product);
                }
        }
}

// c (R, R) = keep·c + add·a aᵀ, for a (R, K).
template <int R, int K> void multiply_by_itself(const float *a, float *c, float keep, float add) {
    constexpr int L = vector_for(K);
    for (int row = 0; row < R; row++)
        for (int column = 0; column <= row; column++) {
            Vec<L> sum = {};
            for (int k = 0; k < K; k += L) sum += load<L>(a + row * K + k) * load<L>(a + column * K + k);
            float product = 0;
            for (int lane = 0; lane < L; lane++) product += sum[lane];
            float &below = c[row * R + column];
            below = c[column * R + row] = keep * below + add * product;
        }
}

struct Matrix {
    float *parameter;
    const float *gradient;
    float *mean, *square, *left, *right;  // the state, see optimiser.py
    const float *left_basis, *right_basis, *right_transposed;
    float beta1, beta2, mean_weight, square_weight;  // weights: 1 / (1 - betaⁿ), after n steps
    float rate, decay;
};

template <int R, int C> void take_step(const Matrix &m) {
    float half[R * C], rotated[R * C], rotated_mean[R * C];
    for (int i = 0; i < R * C; i++) m.mean[i] += (1 - m.beta1) * (m.gradient[i] - m.mean[i]);
    multiply<R, C, C, false>(m.gradient, m.right_basis, half);
    multiply<R, R, C, true>(m.left_basis, half, rotated);
    multiply<R, C, C, false>(m.mean, m.right_basis, half);
    multiply<R, R, C, true>(m.left_basis, half, rotated_mean);
    for (int i = 0; i < R * C; i++) {
        m.square[i] = m.beta2 * m.square[i] + (1 - m.beta2) * rotated[i] * rotated[i];
        const float deviation = std::sqrt(m.square[i] * m.square_weight) + EPSILON;
        rotated[i] = rotated_mean[i] * m.mean_weight / deviation;
    }
    multiply<R, R, C, false>(m.left_basis, rotated, half);
    multiply<R, C, C, false>(half, m.right_transposed, m.parameter, m.decay, -m.rate);
    multiply_by_itself<R, C>(m.gradient, m.left, m.beta2, 1 - m.beta2);
    multiply<C, R, C, true>(m.gradient, m.gradient, m.right, m.beta2, 1 - m.beta2);
}

// Take a step with the first matrix of that size from a layer back to the first; false if none is.
template <int ROW> bool take_step_in(int64_t height, int64_t width, const Matrix *m) {
    if constexpr (ROW < 0) {
        return false;
    } else {
        if constexpr (SHAPES[ROW].kind != POOL)
            if (height == SHAPES[ROW].channels && width == columns(ROW))
                return take_step<SHAPES[ROW].channels, columns(ROW)>(*m), true;
        return take_step_in<ROW - 1>(height, width, m);
    }
}

// Take a step with one of MnistNet's matrices; false if it is none of them.
extern "C" bool take_step(int64_t rows, int64_t columns, const Matrix *m) {
    return take_step_in<CLASSIFIER>(rows, columns, m);
}
