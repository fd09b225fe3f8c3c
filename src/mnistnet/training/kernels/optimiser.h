// SOAP: Adam in the eigenbasis of the gradients' covariance.
//
// After Vyas et al. 2024, "SOAP: Improving and Stabilizing Shampoo using Adam". A layer's gradient
// G (R, C) is rotated into the eigenbases of the running means of G Gᵀ ("left") and Gᵀ G ("right"),
// Adam takes its step there, with Nesterov's momentum, and the step is rotated back. Vectors take
// the same step unrotated.
//
// A step is three phases of tasks, a barrier after each; tasks are rows of a matrix, so that no
// thread waits for the largest matrix, and no result depends on who computes it. Every twentieth
// step two more update the bases: a product and a QR, one step of orthogonal iteration.
#pragma once

#include "householder.h"
#include "shapes.h"

namespace {

constexpr float EPSILON = 1e-8f;   // keeps the division finite
constexpr int REFRESH_EVERY = 20;  // steps between two updates of the bases, which change slowly
constexpr int TASK_ROWS = 8;

// a (R, K) times b (K, C) → c (R, C). The rows of a are `stride` long, or, if it is TURNED, those
// of aᵀ, (K, R). c = keep·c + add·product; only its columns before `end` are needed.
template <int R, int K, int C, bool TURNED>
void multiply(const float *a, int stride, const float *b, float *c, float keep = 0, float add = 1,
              int end = C) {
    constexpr int L = vector_for(C);
    constexpr int ACROSS = divisor(C / L, R < 8 ? 6 : 3), DOWN = divisor(R, REGISTERS / ACROSS);
    for (int row = 0; row < R; row += DOWN)
        for (int column = 0; column < end; column += ACROSS * L) {
            Vec<L> sum[DOWN][ACROSS] = {};
            for (int k = 0; k < K; k++) {
                const float *right = b + k * C + column;
                UNROLL for (int r = 0; r < DOWN; r++) {
                    const float left = TURNED ? a[k * stride + row + r] : a[(row + r) * stride + k];
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

template <int R, int C> void transpose(const float *a, float *b) {  // (R, C) → (C, R)
    for (int row = 0; row < R; row++)
        for (int column = 0; column < C; column++) b[column * R + row] = a[row * C + column];
}

// What a step needs to know.
struct Step {
    float beta1, beta2, rate, decay;
    float mean_weight, square_weight;  // correct the means for starting at 0: 1 / (1 - betaⁿ)
    bool rotate_mean;  // a basis has changed since: the rotated mean is made of the mean again
    bool complete;     // the whole of the symmetric covariances is wanted
};

// Adam's direction, with the mean as one more such gradient would make it (Dozat 2016,
// "Incorporating Nesterov Momentum into Adam"); and the update of the running mean of squares.
inline float adam(float mean, float gradient, float &square, const Step &step) {
    square = step.beta2 * square + (1 - step.beta2) * gradient * gradient;
    const float ahead = mean + (1 - step.beta1) * (gradient - mean);
    return ahead * step.mean_weight / (__builtin_sqrtf(square * step.square_weight) + EPSILON);
}

// A layer's weights as a matrix (R, C).
template <int ROW> struct Matrix {
    static constexpr int R = SHAPES[ROW].channels, C = columns(ROW), BLOCK = divisor(R, TASK_ROWS);
    static constexpr int RIGHT_BLOCK = divisor(C, TASK_ROWS);
    static constexpr int STEP_TASKS = R / BLOCK + C / RIGHT_BLOCK + 1;
    float *parameter;
    const float *gradient;
    float *mean, *square, *left, *right, *left_basis, *right_basis;  // the state
    float right_transposed[C * C], rotated_mean[R * C], direction[R * C];
    float left_product[R * R], right_product[C * C];
    Householder<R> left_qr;
    Householder<C> right_qr;

    void connect(float *state, const float *gradients) {
        parameter = state + parameters_before(ROW), gradient = gradients + parameters_before(ROW);
        mean = state + moments_before(ROW), square = mean + R * C, left = square + R * C;
        right = left + R * R, left_basis = right + C * C, right_basis = left_basis + R * R;
        transpose<C, C>(right_basis, right_transposed);
    }

    // Phase 1, of STEP_TASKS: rows of Adam's direction, and of the covariances.
    void take_direction(int task, const Step &step) {
        if (task < C / RIGHT_BLOCK) {  // the largest first; only up to the diagonal
            const int row = (C / RIGHT_BLOCK - 1 - task) * RIGHT_BLOCK;
            multiply<RIGHT_BLOCK, R, C, true>(gradient + row, C, gradient, right + row * C,
                                              step.beta2, 1 - step.beta2, row + RIGHT_BLOCK);
        } else if (task < C / RIGHT_BLOCK + R / BLOCK) {
            direct((task - C / RIGHT_BLOCK) * BLOCK, step);
        } else {
            multiply_by_itself(step);
        }
    }

    void direct(int row, const Step &step) {
        float half[BLOCK * C], rotated[BLOCK * C];
        float *rotated_mean_rows = rotated_mean + row * C;
        if (step.rotate_mean) {
            multiply<BLOCK, R, C, true>(left_basis + row, R, mean, half);
            multiply<BLOCK, C, C, false>(half, C, right_basis, rotated_mean_rows);
        }
        multiply<BLOCK, R, C, true>(left_basis + row, R, gradient, half);
        multiply<BLOCK, C, C, false>(half, C, right_basis, rotated);
        for (int i = 0; i < BLOCK * C; i++) {
            float &m = rotated_mean_rows[i];
            m += (1 - step.beta1) * (rotated[i] - m);
            rotated[i] = adam(m, rotated[i], square[row * C + i], step);
        }
        multiply<BLOCK, C, C, false>(rotated, C, right_transposed, direction + row * C);
    }

    // left = beta2·left + (1 - beta2)·G Gᵀ
    void multiply_by_itself(const Step &step) {
        constexpr int L = vector_for(C);
        for (int row = 0; row < R; row++)
            for (int column = 0; column <= row; column++) {
                Vec<L> sum = {};
                for (int k = 0; k < C; k += L)
                    sum += load<L>(gradient + row * C + k) * load<L>(gradient + column * C + k);
                float &below = left[row * R + column];
                below = step.beta2 * below + (1 - step.beta2) * sum_of_lanes<L>(sum);
                left[column * R + row] = below;
            }
    }

    // Phase 2: rows of the parameters and of the mean.
    void move(int task, const Step &step) {
        const int row = task * BLOCK;
        multiply<BLOCK, R, C, false>(left_basis + row * R, R, direction, parameter + row * C,
                                     step.decay, -step.rate);
        for (int i = row * C; i < (row + BLOCK) * C; i++)
            mean[i] += (1 - step.beta1) * (gradient[i] - mean[i]);
    }

    // Phase 2 too, where the covariances are wanted whole.
    void complete() {
        for (int row = 0; row < C; row++)
            for (int column = 0; column < row; column++)
                right[column * C + row] = right[row * C + column];
    }

    // Phase 3: rows of the covariances times their bases; the bases are not turned yet.
    void multiply_bases(int task) {
        const int row = task * RIGHT_BLOCK;
        if (task < C / RIGHT_BLOCK)
            multiply<RIGHT_BLOCK, C, C, false>(right + row * C, C, right_basis,
                                               right_product + row * C);
        else
            multiply<R, R, R, false>(left, R, left_basis, left_product);
    }

    // Phase 4.
    void turn_right() {
        right_qr.orthogonalise(right_product, right_basis);
        transpose<C, C>(right_basis, right_transposed);
    }
    void turn_left() { left_qr.orthogonalise(left_product, left_basis); }
};

// All of the network's parameters. Tasks of a phase are numbered from 0; the largest come first.
struct Optimiser {
    Matrix<CONV4> conv4;
    Matrix<CONV3> conv3;
    Matrix<CONV5> conv5;
    Matrix<CLASSIFIER> classifier;
    Matrix<CONV2> conv2;
    Matrix<CONV1> conv1;
    float *state;
    const float *gradients;

    template <class Work> void each_matrix(Work work) {
        work(conv4), work(conv3), work(conv5), work(classifier), work(conv2), work(conv1);
    }

    // gradients: (PARAMETERS), summed before each step.
    void connect(float *state_, const float *gradients_) {
        state = state_, gradients = gradients_;
        each_matrix([&](auto &matrix) { matrix.connect(state, gradients); });
    }

    // Run a task of those that each matrix has `count(matrix)` of; false if there are not so many.
    template <class Count, class Run> bool run_task(int task, Count count, Run run) {
        each_matrix([&](auto &matrix) {
            if (task >= 0 && task < count(matrix)) run(matrix, task);
            task -= count(matrix);
        });
        return task < 0;
    }
    bool take_direction(int task, const Step &step) {
        if (task == 0) return move_vectors(step), true;
        return run_task(
            task - 1, [](auto &m) { return m.STEP_TASKS; },
            [&](auto &m, int task) { m.take_direction(task, step); });
    }
    bool move(int task, const Step &step) {
        return run_task(
            task, [&](auto &m) { return m.R / m.BLOCK + step.complete; },
            [&](auto &m, int task) { task < m.R / m.BLOCK ? m.move(task, step) : m.complete(); });
    }
    bool multiply_bases(int task) {
        return run_task(
            task, [](auto &m) { return m.C / m.RIGHT_BLOCK + 1; },
            [](auto &m, int task) { m.multiply_bases(task); });
    }
    bool turn_bases(int task) {
        return run_task(
            task, [](auto &) { return 2; },
            [](auto &m, int task) { task ? m.turn_left() : m.turn_right(); });
    }

    // Everything that is no matrix: Adam's step as it is.
    void move_vectors(const Step &step) {
        float *mean = state + STATE - 2 * VECTORS, *square = mean + VECTORS;
        for (int row = 0; row < ROWS; row++) {
            const int first = parameters_before(row) + weights_of(row), n = vectors_of(row);
            for (int i = first; i < first + n; i++, mean++, square++) {
                *mean += (1 - step.beta1) * (gradients[i] - *mean);
                state[i] -= step.rate * adam(*mean, gradients[i], *square, step);
            }
        }
    }
};

}  // namespace
