// Convolutions without padding, forward and backward.
//
// Maps lie channels-last, (height, width, channels), so a row of a convolution's window is
// contiguous: (dx, channel) is one index. The BatchNorm before a convolution is z = scale·a + shift
// by channel; as nothing is padded, it folds into the weights, and z is never written.
#pragma once

#include "batchnorm.h"

namespace {

// x (IN, IN, C), w (K, K, C, O), bias (O) → y (SIDE, SIDE, O); some rows at a time are handed to
// `take(row, y)` as (DOWN, SIDE, O). C counts words, of T; O counts floats. The PAD first and last
// rows of x are zero, and cost nothing.
//
// Eight channels fill half a register of sixteen. Two HALVES of the map then share one: lanes take
// turns. So do the words of x, (IN, SIDE / 2 + K - 1, C, 2), see `interleave`, and w's channels
// stand there twice.
template <class T, int C, int O, int K, int IN, int PAD, int HALVES> struct Convolution {
    static constexpr int SIDE = IN - K + 1, COLUMNS = SIDE / HALVES;
    static constexpr int WIDE = HALVES == 1 ? IN : COLUMNS + K - 1;  // columns of x
    static constexpr bool INTERLEAVED = HALVES == 2;
    static constexpr int HALVES_SIZE = IN * WIDE * C * HALVES;
    static constexpr int L = HALVES * lanes(O), V = O * HALVES / L;
    // A tile of y has as many sums as there are registers. Each weight is loaded once a tile, and
    // each x is multiplied for all rows of the tile that it is in the window of.
    static constexpr int GROUP = V % 2 ? 1 : 2;  // vectors of channels at once
    static constexpr int ROOM = REGISTERS / GROUP;
    static constexpr int ALONE = divisor(COLUMNS, ROOM), TWIN = divisor(COLUMNS, ROOM / 2);
    static constexpr bool IN_TWOS = SIDE % 2 == 0 && 3 * TWIN >= ALONE;
    static constexpr int ACROSS = IN_TWOS ? TWIN : ALONE;
    static constexpr int DOWN = IN_TWOS ? 2 : divisor(SIDE, ROOM / ACROSS);

    template <class Take>
    static void run(const float *x, const float *w, const float *bias, const Take &take) {
        float y[DOWN * SIDE * O];
        for (int row = 0; row < SIDE; row += DOWN) {
            for (int column = 0; column < COLUMNS; column += ACROSS)
                for (int v = 0; v < V; v += GROUP)
                    tile(x + (row * WIDE + column) * C * HALVES, row, w + v * L, bias + v * L,
                         y + column * O + v * L);
            take(row, y);
        }
    }

    __attribute__((noinline))  // or registers are taken for what surrounds it
    static void tile(const float *x, int row, const float *w, const float *bias, float *y) {
        Vec<L> sum[DOWN][ACROSS][GROUP];
        UNROLL for (int r = 0; r < DOWN; r++)
            UNROLL for (int c = 0; c < ACROSS; c++)
                UNROLL for (int v = 0; v < GROUP; v++) sum[r][c][v] = load<L>(bias + v * L);
        UNROLL for (int i = 0; i < DOWN + K - 1; i++) {  // rows of x
            if (PAD && (row + i < PAD || row + i >= IN - PAD)) continue;
            for (int j = 0; j < K * C; j++) {  // (dx, channel)
                Vec<L> weight[DOWN][GROUP];
                UNROLL for (int r = 0; r < DOWN; r++)
                    if (i - r >= 0 && i - r < K) UNROLL for (int v = 0; v < GROUP; v++)
                        weight[r][v] = load<L>(w + ((i - r) * K * C + j) * V * L + v * L);
                UNROLL for (int c = 0; c < ACROSS; c++) {
                    const float *word = x + ((i * WIDE + c) * C + j) * HALVES;
                    const Vec<L> value = broadcast<T, L, HALVES>(word);
                    UNROLL for (int r = 0; r < DOWN; r++)
                        if (i - r >= 0 && i - r < K) UNROLL for (int v = 0; v < GROUP; v++)
                            add_product<T, L>(sum[r][c][v], value, weight[r][v]);
                }
            }
        }
        UNROLL for (int r = 0; r < DOWN; r++)
            UNROLL for (int c = 0; c < ACROSS; c++)
                UNROLL for (int v = 0; v < GROUP; v++) {
                    float *at = y + (r * SIDE + c) * O + v * L;
                    if constexpr (HALVES == 1)
                        store<L>(at, sum[r][c][v]);
                    else
                        store_halves(at, at + COLUMNS * O, sum[r][c][v]);
                }
    }

    // Rows of x between PAD and PAD → what `tile` reads.
    static void interleave(const float *x, float *halves) {
        for (int row = PAD; row < IN - PAD; row++)
            for (int i = 0; i < WIDE * C; i++) {
                halves[(row * WIDE * C + i) * 2] = x[row * IN * C + i];
                halves[(row * WIDE * C + i) * 2 + 1] = x[(row * IN + COLUMNS) * C + i];
            }
    }
};

// Add to dw (K, K, C, O) the products of x (IN, IN, C) and dy; a row of dy is `stride` words long.
// A word of two holds a pixel and the one to its right.
template <class T, int C, int O, int K, int IN>
__attribute__((noinline))
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
                        UNROLL for (int b = 0; b < BLOCK; b++) {
                            const Vec<L> value = broadcast<T, L>(window + d * IN * C + b);
                            UNROLL for (int v = 0; v < V; v++)
                                add_product<T, L>(sum[d][b][v], value, above[v]);
                        }
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
    static constexpr int HALVES = O == 8 && LANES == 16 && HEIGHT % 2 == 0 ? 2 : 1;
    static constexpr int HALVES_BACK = C == 8 && LANES == 16 && IN % 2 == 0 ? 2 : 1;
    static constexpr int N = 4 / sizeof(T);  // numbers a word
    using Forward = Convolution<T, C / N, O, K, IN, 0, HALVES>;
    using Backward = Convolution<T, O / N, C, K, WIDE, PAD, HALVES_BACK>;

    const float *weight, *bias;  // (FILTERS, C, K, K) and (FILTERS)
    float *weight_gradient, *bias_gradient;
    T forward_weights[K][K][C / N][O][HALVES][N];
    T backward_weights[K][K][O / N][C][HALVES_BACK][N];
    float offset[O][HALVES], nothing[HALVES_BACK * C];
    float gradient[K][K][C][O], bias_sum[O];
    T frame[WIDE][WIDE][O];  // dy of the image at hand
    uint32_t x_pairs[N == 2 ? IN * IN * C : 1];
    uint32_t dy_pairs[N == 2 ? HEIGHT * ((HEIGHT + 1) / 2) * O : 1];

    // Lay out the weights; the BatchNorm before this layer, if any, is folded into them.
    void fold(const BatchNorm *before) {
        constexpr int SIZE = C * TAPS, W = vector_for(SIZE);
        float scale[SIZE], shift[SIZE];
        for (int i = 0; i < SIZE; i++) {
            scale[i] = before ? before->scale[i / TAPS] : 1;
            shift[i] = before ? before->shift[i / TAPS] : 0;
        }
        for (int o = 0; o < FILTERS; o++) {
            T plain[SIZE], folded[SIZE];
            Vec<W> moved = {};
            for (int i = 0; i < SIZE; i += W) {
                const Vec<W> w = load<W>(weight + o * SIZE + i);
                moved += w * load<W>(shift + i);
                store<W>(plain + i, w), store<W>(folded + i, w * load<W>(scale + i));
            }
            for (int half = 0; half < HALVES; half++)
                offset[o][half] = bias[o] + sum_of_lanes<W>(moved);
            for (int c = 0; c < C; c++)
                UNROLL for (int k = 0; k < TAPS; k++) {
                    const int dy = k / K, dx = k % K;
                    for (int half = 0; half < HALVES; half++)
                        forward_weights[dy][dx][c / N][o][half][c % N] = folded[c * TAPS + k];
                    for (int half = 0; half < HALVES_BACK; half++)
                        backward_weights[PAD - dy][PAD - dx][o / N][c][half][o % N] =
                            plain[c * TAPS + k];
                }
        }
        memset(gradient, 0, sizeof gradient), memset(bias_sum, 0, sizeof bias_sum);
    }

    // Hand over y of x, some rows at a time.
    template <class Take> void forward(const T *x, const Take &take) const {
        convolve<Forward>((const float *)x, (const float *)forward_weights, offset[0], take);
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
        convolve<Backward>((const float *)frame, (const float *)backward_weights, nothing, take);
    }

    void backward(float *dx) const {
        backward([=](int row, const float *rows) {
            memcpy(dx + row * IN * C, rows, Backward::DOWN * IN * C * sizeof(float));
        });
    }

    template <class Way, class Take>
    static void convolve(const float *x, const float *w, const float *bias, const Take &take) {
        if constexpr (!Way::INTERLEAVED) {
            Way::run(x, w, bias, take);
        } else {
            float halves[Way::HALVES_SIZE];
            Way::interleave(x, halves);
            Way::run(halves, w, bias, take);
        }
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
