// BatchNorm: z = scale·a + shift by channel, with the statistics of a thread's share of a batch.
#pragma once

#include "shapes.h"
#include "vectors.h"

namespace {

constexpr float VARIANCE_EPSILON = 1e-5f, MOMENTUM = 0.1f;  // as in torch

struct BatchNorm {
    const float *weight, *bias;
    float *weight_gradient, *bias_gradient, *running_mean, *running_variance;
    double sum[widest()], product[widest()];  // forward: of a and a·a; backward: of dz and dz·a
    float mean[widest()], inverse[widest()];  // inverse: 1 / standard deviation
    float scale[widest()], shift[widest()];   // z = scale·a + shift
    bool falls;  // some scale is negative; known where running statistics are used
    float by_dz[widest()], by_a[widest()], rest[widest()];  // da = by_dz·dz + by_a·a + rest

    // Over a share of `images`.
    void finish_forward(int row, int64_t images) {
        const int channels = SHAPES[row].channels;
        const double n = double(pixels(row)) * images;
        for (int c = 0; c < channels; c++) {
            const double m = sum[c] / n, square = product[c] / n - m * m;
            const double variance = square > 0 ? square : 0;
            mean[c] = m, inverse[c] = 1 / __builtin_sqrt(variance + VARIANCE_EPSILON);
            scale[c] = weight[c] * inverse[c], shift[c] = bias[c] - mean[c] * scale[c];
            running_mean[c] += MOMENTUM * (float(m) - running_mean[c]);
            const float unbiased = variance * n / (n - 1);
            running_variance[c] += MOMENTUM * (unbiased - running_variance[c]);
            sum[c] = product[c] = 0;
        }
    }

    // In place of finish_forward where nothing is trained.
    void use_running_statistics(int row) {
        falls = false;
        for (int c = 0; c < SHAPES[row].channels; c++) {
            scale[c] = weight[c] / __builtin_sqrtf(running_variance[c] + VARIANCE_EPSILON);
            shift[c] = bias[c] - running_mean[c] * scale[c];
            falls |= scale[c] < 0;
        }
    }

    // Make da from dz, and the gradients, of the sums of dz and dz·a.
    void finish_backward(int row, int64_t images) {
        const int channels = SHAPES[row].channels;
        const double n = double(pixels(row)) * images;
        for (int c = 0; c < channels; c++) {
            bias_gradient[c] = sum[c];
            weight_gradient[c] = inverse[c] * (product[c] - mean[c] * sum[c]);
            by_dz[c] = scale[c];
            by_a[c] = -scale[c] * inverse[c] * weight_gradient[c] / n;
            rest[c] = -scale[c] * bias_gradient[c] / n - by_a[c] * mean[c];
            sum[c] = product[c] = 0;
        }
        for (int c = channels; c < LANES; c++) {  // for the other pixels of a span
            const int same = c % channels;
            by_dz[c] = by_dz[same], by_a[c] = by_a[same], rest[c] = rest[same];
        }
    }

    template <int L> Vec<L> backward(Vec<L> dz, Vec<L> a, int channel) const {
        return load<L>(by_dz + channel) * dz +
               (load<L>(by_a + channel) * a + load<L>(rest + channel));
    }
};

// Sums by channel over the pixels of a row, in registers.
template <int C> struct RowSums {
    static constexpr int L = lanes(C);
    Vec<L> sum[C / L] = {}, product[C / L] = {};
    void add(int v, Vec<L> a, Vec<L> b) { sum[v] += a, product[v] += a * b; }
};

// Sums by channel over the pixels of one image, for its BatchNorm. Paper is the same all over:
// in float32 its thousands of equal summands would all be rounded the same way, so a row at most.
template <int C> struct Sums {
    static constexpr int L = lanes(C);
    typename Of<L>::doubles sum[C / L] = {}, product[C / L] = {};
    void add(const RowSums<C> &row) {
        UNROLL for (int v = 0; v < C / L; v++) {
            sum[v] += __builtin_convertvector(row.sum[v], typename Of<L>::doubles);
            product[v] += __builtin_convertvector(row.product[v], typename Of<L>::doubles);
        }
    }
    void add_to(BatchNorm &norm, int channels = C) const {
        for (int c = 0; c < C; c++) {
            norm.sum[c % channels] += sum[c / L][c % L];
            norm.product[c % channels] += product[c / L][c % L];
        }
    }
};

}  // namespace
