// Convolutions without padding, forward and backward.
//
// Maps lie channels-last, (height, width, channels), so a row of a convolution's window is
// contiguous: (dx, channel) is one index. The BatchNorm before a convolution is z = scale·a + shift
// by channel; as nothing is padded, it folds into the weights, and z is never written.
#pragma once

#include "batchnorm.h"

namespace {

// x (IN, IN, C), w (K, WIDTH, C, O), bias (O) → y (rows, columns, O), every STEP-th column; some
// rows at a time are handed to `take(row, y)` as (DOWN, columns, O). C counts words, of T; O counts
// floats. The PAD first and last rows of x are zero, and cost nothing.
template <class T, int C, int O, int K, int WIDTH, int STEP, int IN, int PAD> struct Convolution {
    static constexpr int HEIGHT = IN - K + 1, COLUMNS = (IN - WIDTH) / STEP + 1;
    static constexpr int L = lanes(O), V = O / L;
    // A tile of y has as many sums as there are registers. Each weight is loaded once a tile, and
    // each x is multiplied for all rows of the tile that it is in the window of.
    static constexpr int TWO = HEIGHT % 2 == 0 && 2 * V <= REGISTERS ? 2 : 1;
    static constexpr int ACROSS = divisor(COLUMNS, REGISTERS / V / TWO);
    static constexpr int DOWN = TWO == 2 ? 2 : divisor(HEIGHT, REGISTERS / V / ACROSS);

    template <class Take>
    static void run(const float *x, const float *w, const float *bias, const Take &take) {
        float y[DOWN * COLUMNS * O];
        for (int row = 0; row < HEIGHT; row += DOWN) {
            for (int column = 0; column < COLUMNS; column += ACROSS)
                tile(x + (row * IN + column * STEP) * C, row, w, bias, y + column * O);
            take(row, y);
        }
    }

    __attribute__((noinline))
    static void tile(const float *x, int row, const float *w, const float *bias, float *y) {
        Vec<L> sum[DOWN][ACROSS][V];
        UNROLL for (int r = 0; r < DOWN; r++)
            UNROLL for (int c = 0; c < ACROSS; c++)
                UNROLL for (int v = 0; v < V; v++) sum[r][c][v] = load<L>(bias + v * L);
        UNROLL for (int i = 0; i < DOWN + K - 1; i++) {  // rows of x
            if (PAD && (row + i < PAD || row + i >= IN - PAD)) continue;
            for (int j = 0; j < WIDTH * C; j++) {  // (dx, channel)
                Vec<L> weight[DOWN][V];
                UNROLL for (int r = 0; r < DOWN; r++)
                    if (i - r >= 0 && i - r < K) UNROLL for (int v = 0; v < V; v++)
                        weight[r][v] = load<L>(w + ((i - r) * WIDTH * C + j) * O + v * L);
                UNROLL for (int c = 0; c < ACROSS; c++) {
                    const float value = x[(i * IN + c * STEP) * C + j];
                    UNROLL for (int r = 0; r < DOWN; r++)
                        if (i - r >= 0 && i - r < K) UNROLL for (int v = 0; v < V; v++)
                            add_product<T, L>(sum[r][c][v], value, weight[r][v]);
                }
            }
        }
        UNROLL for (int r = 0; r < DOWN; r++)
            UNROLL for (int c = 0; c < ACROSS; c++)
                UNROLL for (int v = 0; v < V; v++)
                    store<L>(y + (r * COLUMNS + c) * O + v * L, sum[r][c][v]);
    }
};

// Add to dw (K, K, C, O) the products of x (IN, IN, C) and dy; a row of dy is `stride` words long.
// A word of two holds a pixel and the one to its right.
template <class T, int C, int O, int K, int IN>
void add_weight_gradient(const float *x, const float *dy, int stride, float *dw) {
    constexpr int HEIGHT = IN - K + 1, L = lanes(O), V = O / L, STEP = 4 / sizeof(T);
    constexpr int BLOCK = divisor(K * C, REGISTERS / V);
    constexpr int DOWN = BLOCK == K * C ? divisor(K, REGISTERS / V / BLOCK) : 1;
    for (int k = 0; k < K; k += DOWN)
        for (int j = 0; j < K * C; j += BLOCK) {  // (dx, channel)
            float *gradient = dw + (k * K * C + j) * O;
            Vec<L> sum[DOWN][BLOCK][V];
            UNROLL for (int d = 0; d < DOWN; d++)
                UNROLL for (int b = 0; b < BLOCK; b++)
                    UNROLL for (int v = 0; v < V; v++)
                        sum[d][b][v] = load<L>(gradient + (d * BLOCK + b) * O + v * L);
            for (int row = 0; row < HEIGHT; row++)
                for (int column = 0; column < HEIGHT; column += STEP) {
                    const float *window = x + ((row + k) * IN + column) * C + j;
                    const float *pixel = dy + row * stride + column / STEP * O;
                    Vec<L> above[V];
                    UNROLL for (int v = 0; v < V; v++) above[v] = load<L>(pixel + v * L);
                    UNROLL for (int d = 0; d < DOWN; d++)
                        UNROLL for (int b = 0; b < BLOCK; b++)
                            UNROLL for (int v = 0; v < V; v++)
                                add_product<T, L>(sum[d][b][v], window[d * IN * C + b], above[v]);
                }
            UNROLL for (int d = 0; d < DOWN; d++)
                UNROLL for (int b = 0; b < BLOCK; b++)
                    UNROLL for (int v = 0; v < V; v++)
                        store<L>(gradient + (d * BLOCK + b) * O + v * L, sum[d][b][v]);
        }
}

// Put every pixel, or every STEP-th, and the one after it side by side; after the last is zero.
template <int N, int C, int STEP, class T> void pair_pixels(const T *x, uint32_t *pairs) {
    for (int p = 0; p + 1 < N; p += STEP, pairs += C)
        for (int c = 0; c < C; c++)
            pairs[c] = x[p * C + c].bits | uint32_t(x[(p + 1) * C + c].bits) << 16;
    if (STEP == 1)
        for (int c = 0; c < C; c++) pairs[c] = x[(N - 1) * C + c].bits;
}

// A convolution and its weights, as the loops above want them. O is the number of filters rounded
// up to a whole vector, FILTERS how many there are. T is what it multiplies.
template <class T, int IN_, int C_, int O_, int K_, int FILTERS = O_> struct Layer {
    static constexpr int IN = IN_, C = C_, O = O_, K = K_, TAPS = K * K;
    static constexpr int HEIGHT = IN - K + 1;                   // of y
    static constexpr int PAD = K - 1, WIDE = HEIGHT + 2 * PAD;  // dy, with zeros around it
    // Eight channels fill half a register of sixteen: two pixels side by side then share one.
    static constexpr int PAIR = O < LANES && HEIGHT % 2 == 0 ? 2 : 1;
    static constexpr int PAIR_BACK = C < LANES && IN % 2 == 0 ? 2 : 1;
    static constexpr int N = 4 / sizeof(T);  // numbers a word
    using Forward = Convolution<T, C / N, PAIR * O, K, K + PAIR - 1, PAIR, IN, 0>;
    using Backward =
        Convolution<T, O / N, PAIR_BACK * C, K, K + PAIR_BACK - 1, PAIR_BACK, WIDE, PAD>;

    const float *weight, *bias;  // (FILTERS, C, K, K) and (FILTERS)
    float *weight_gradient, *bias_gradient;
    T forward_weights[K][K + PAIR - 1][C / N][PAIR][O][N];
    T backward_weights[K][K + PAIR_BACK - 1][O / N][PAIR_BACK][C][N];
    float offset[PAIR][O], nothing[PAIR_BACK * C];
    float gradient[K][K][C][O], bias_sum[O];
    T frame[WIDE][WIDE][O];  // dy of the image at hand
    uint32_t x_pairs[N == 2 ? IN * IN * C : 1];
    uint32_t dy_pairs[N == 2 ? HEIGHT * ((HEIGHT + 1) / 2) * O : 1];

    // Lay out the weights; the BatchNorm before this layer, if any, is folded into them.
    void fold(const BatchNorm *before) {
        for (int o = 0; o < FILTERS; o++) {
            float moved = bias[o];
            for (int c = 0; c < C; c++)
                for (int k = 0; k < TAPS; k++) {
                    const int dy = k / K, dx = k % K;
                    const float w = weight[(o * C + c) * TAPS + k];
                    const float folded = before ? w * before->scale[c] : w;
                    for (int p = 0; p < PAIR; p++)
                        store(&forward_weights[dy][dx + p][c / N][p][o][c % N], folded);
                    for (int p = 0; p < PAIR_BACK; p++)
                        store(&backward_weights[PAD - dy][PAD - dx + p][o / N][p][c][o % N], w);
                    if (before) moved += w * before->shift[c];
                }
            for (int p = 0; p < PAIR; p++) offset[p][o] = moved;
        }
        memset(gradient, 0, sizeof gradient), memset(bias_sum, 0, sizeof bias_sum);
    }

    // Hand over y of x, some rows at a time.
    template <class Take> void forward(const T *x, const Take &take) const {
        Forward::run((const float *)x, (const float *)forward_weights, offset[0], take);
    }

    void forward(const T *x, float *y) const {
        forward(x, [=](int row, const float *rows) {
            memcpy(y + row * HEIGHT * O, rows, Forward::DOWN * HEIGHT * O * sizeof(float));
        });
    }

    // With dy in the frame: add to the weights' gradient.
    void accumulate_weight_gradient(const T *x) {
        float *dw = &gradient[0][0][0][0];
        if constexpr (N == 1) {
            add_weight_gradient<T, C, O, K, IN>(x, frame[PAD][PAD], WIDE * O, dw);
        } else {
            constexpr int ROW = (HEIGHT + 1) / 2 * O;
            pair_pixels<IN * IN, C, 1>(x, x_pairs);
            for (int row = 0; row < HEIGHT; row++)  // to the right of an odd row is zero
                pair_pixels<HEIGHT + 1, O, 2>(frame[row + PAD][PAD], dy_pairs + row * ROW);
            add_weight_gradient<T, C, O, K, IN>((float *)x_pairs, (float *)dy_pairs, ROW, dw);
        }
    }

    // With dy in the frame: hand over dx, some rows at a time.
    template <class Take> void backward(const Take &take) const {
        Backward::run((const float *)frame, (const float *)backward_weights, nothing, take);
    }

    void backward(float *dx) const {
        backward([=](int row, const float *rows) {
            memcpy(dx + row * IN * C, rows, Backward::DOWN * IN * C * sizeof(float));
        });
    }

    // Write the gradients out. What the layer read was a, not z = scale·a + shift.
    void write_gradients(const BatchNorm *before) const {
        for (int o = 0; o < FILTERS; o++) {
            bias_gradient[o] = bias_sum[o];
            for (int c = 0; c < C; c++)
                for (int k = 0; k < TAPS; k++) {
                    const float g = gradient[k / K][k % K][c][o];
                    weight_gradient[(o * C + c) * TAPS + k] =
                        before ? before->scale[c] * g + before->shift[c] * bias_sum[o] : g;
                }
        }
    }
};

// Puts dy into a layer's frame, some channels at a time; the bias's gradient is its sum. A span is
// what repeats: the channels of a pixel, or of two.
template <class Y, int SPAN> struct Frame {
    static constexpr int L = lanes(SPAN);
    Y &layer;
    Vec<L> sum[SPAN / L] = {};
    void put(int row, int column, int v, Vec<L> dy) {
        store<L>(layer.frame[row + Y::PAD][Y::PAD] + column * SPAN + v * L, dy);
        sum[v] += dy;
    }
    ~Frame() {
        float sums[SPAN];
        UNROLL for (int v = 0; v < SPAN / L; v++) store<L>(sums + v * L, sum[v]);
        for (int c = 0; c < SPAN; c++) layer.bias_sum[c % Y::O] += sums[c];
    }
};

}  // namespace
