// A training step of MnistNet in one function: images in, gradients out.
//
//     c++ -std=c++17 -O3 -march=native -shared -fPIC step.cpp soap.cpp -o step.so    (see compiled.py)
//
// The layers are few and small: what a framework spends between them, and on writing every map
// out and reading it back, is more than the arithmetic. Here each map is made, activated and
// measured while it is in the cache, and the forward pass keeps what the backward pass needs.
//
// Maps lie channels-last, (height, width, channels). Four things keep it short:
// - A row of a convolution's window is contiguous: (dx, channel) is one index.
// - BatchNorm is z = scale·a + shift by channel. No convolution here pads, so it folds into the
//   weights of the one that reads it, and z is never written.
// - GELU's derivative needs what GELU computes: both are made at once, and both kept.
// - The classifier is a convolution of the last 2×2 map: 32 channels to ten, padded to sixteen.
//
// With -DBFLOAT16, for processors that multiply pairs of it (twice as fast), maps and weights are
// kept as bfloat16, and what is summed is float32; the first and the last layer are float32
// altogether. A word is 32 bits to multiply by: one float, or two bfloat16, whose products are added.
//
// Names in the forward pass: x or a →(convolution)→ y →(GELU)→ a →(BatchNorm)→ z. In the backward
// pass dy, da and dz are the loss's derivatives with respect to these.

#include <cstring>

#include "layers.h"
#include "vectors.h"

#if defined(BFLOAT16)
#include <immintrin.h>
#endif

// ---- numbers as they are kept, a float or a bfloat16: the upper half of one

#if defined(BFLOAT16)
struct Number {
    uint16_t bits;
};

template <int N> inline Vec<N> load(const Number *p) {
    typedef uint16_t halves __attribute__((vector_size(N * 2), aligned(2), may_alias));
    return (Vec<N>)(__builtin_convertvector(*(const halves *)p, Ints<N>) << 16);
}
// Both round to the nearest.
template <int N> inline void store(Number *p, Vec<N> v) {
    if constexpr (N == 16)
        _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh((__m512)v));
    else
        _mm_storeu_si128((__m128i *)p, (__m128i)_mm256_cvtneps_pbh((__m256)v));
}
inline void store(Number *p, float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    p->bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
#else
typedef float Number;
#endif
inline void store(float *p, float v) { *p = v; }

// Add to each lane the products of a word and of another for that lane.
template <class T, int L> inline void add_product(Vec<L> &sum, float word, Vec<L> words) {
#if defined(BFLOAT16)
    if constexpr (sizeof(T) == 2) {
        sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_ps(word), (__m512bh)(__m512)words);
        return;
    }
#endif
    sum += word * words;
}

// ---- convolutions without padding

// x (IN, IN, C), w (K, WIDTH, C, O), bias (O) → y (rows, columns, O), every STEP-th column.
// C counts words, of T; O counts floats.
template <class T, int C, int O, int K, int WIDTH, int STEP, int IN, class Y>
void convolve(const float *x, const float *w, const float *bias, Y *y) {
    constexpr int ROWS = IN - K + 1, COLUMNS = (IN - WIDTH) / STEP + 1;
    constexpr int L = lanes(O), V = O / L;
    // A tile of the map has as many sums as there are registers: each weight is loaded once a tile.
    constexpr int ACROSS = divisor(COLUMNS, REGISTERS / V);
    constexpr int DOWN = divisor(ROWS, REGISTERS / V / ACROSS);
    for (int row = 0; row < ROWS; row += DOWN)
        for (int column = 0; column < COLUMNS; column += ACROSS) {
            Vec<L> sum[DOWN][ACROSS][V];
            UNROLL for (int r = 0; r < DOWN; r++)
                UNROLL for (int c = 0; c < ACROSS; c++)
                    UNROLL for (int v = 0; v < V; v++) sum[r][c][v] = load<L>(bias + v * L);
            for (int dy = 0; dy < K; dy++) {
                const float *window = x + ((row + dy) * IN + column * STEP) * C;
                const float *weights = w + dy * WIDTH * C * O;
                for (int j = 0; j < WIDTH * C; j++) {  // (dx, channel)
                    Vec<L> weight[V];
                    UNROLL for (int v = 0; v < V; v++) weight[v] = load<L>(weights + j * O + v * L);
                    UNROLL for (int r = 0; r < DOWN; r++)
                        UNROLL for (int c = 0; c < ACROSS; c++) {
                            const float value = window[(r * IN + c * STEP) * C + j];
                            UNROLL for (int v = 0; v < V; v++)
                                add_product<T, L>(sum[r][c][v], value, weight[v]);
                        }
                }
            }
            UNROLL for (int r = 0; r < DOWN; r++)
                UNROLL for (int c = 0; c < ACROSS; c++)
                    UNROLL for (int v = 0; v < V; v++)
                        store<L>(y + ((row + r) * COLUMNS + column + c) * O + v * L, sum[r][c][v]);
        }
}

// Add to dw (K, K, C, O) the products of x (IN, IN, C) and dy; a row of dy is `stride` words long. A word
// of two holds a pixel and the one to its right.
template <class T, int C, int O, int K, int IN>
void add_weight_gradient(const float *x, const float *dy, int stride, float *dw) {
    constexpr int SIDE = IN - K + 1, L = lanes(O), V = O / L, STEP = 4 / sizeof(T);
    constexpr int BLOCK = divisor(K * C, REGISTERS / V);
    for (int k = 0; k < K; k++)
        for (int j = 0; j < K * C; j += BLOCK) {  // (dx, channel)
            float *gradient = dw + (k * K * C + j) * O;
            Vec<L> sum[BLOCK][V];
            UNROLL for (int b = 0; b < BLOCK; b++)
                UNROLL for (int v = 0; v < V; v++) sum[b][v] = load<L>(gradient + b * O + v * L);
            for (int row = 0; row < SIDE; row++)
                for (int column = 0; column < SIDE; column += STEP) {
                    const float *window = x + ((row + k) * IN + column) * C + j;
                    const float *pixel = dy + row * stride + column / STEP * O;
                    Vec<L> above[V];
                    UNROLL for (int v = 0; v < V; v++) above[v] = load<L>(pixel + v * L);
                    UNROLL for (int b = 0; b < BLOCK; b++)
                        UNROLL for (int v = 0; v < V; v++)
                            add_product<T, L>(sum[b][v], window[b], above[v]);
                }
            UNROLL for (int b = 0; b < BLOCK; b++)
                UNROLL for (int v = 0; v < V; v++) store<L>(gradient + b * O + v * L, sum[b][v]);
        }
}

// ---- GELU

// e^x for -87 < x <= 0, to 2e-7: 2^n · 2^f, the latter by its Taylor series, |f| <= 0.5.
template <int N> inline Vec<N> exponential(Vec<N> x) {
    const Vec<N> exponent = x * 1.44269504f;  // log2 e
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

// x·Φ(x), and its derivative Φ(x) + x·φ(x). Φ by Abramowitz & Stegun 7.1.26, good to 1e-7.
template <int N> inline Vec<N> gelu(Vec<N> x, Vec<N> *derivative) {
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

// ---- BatchNorm

struct Norm {
    const float *weight, *bias;
    float *weight_grad, *bias_grad, *running_mean, *running_var;
    double sum[widest()], product[widest()];  // forward: of a and a·a; backward: of dz and dz·a
    float mean[widest()], inverse[widest()];  // inverse: 1 / standard deviation
    float scale[widest()], shift[widest()];  // z = scale·a + shift
    float by_dz[widest()], by_a[widest()], rest[widest()];  // da = by_dz·dz + by_a·a + rest

    // Over a batch of `pictures`.
    void finish_forward(int row, int pictures) {
        const int channels = SHAPES[row].channels;
        const double n = pixels(row) * pictures;
        for (int c = 0; c < channels; c++) {
            const double m = sum[c] / n, square = product[c] / n - m * m;
            const double variance = square > 0 ? square : 0;
            mean[c] = m, inverse[c] = 1 / __builtin_sqrt(variance + 1e-5);
            scale[c] = weight[c] * inverse[c], shift[c] = bias[c] - mean[c] * scale[c];
            running_mean[c] += 0.1f * (float(m) - running_mean[c]);
            running_var[c] += 0.1f * (float(variance * n / (n - 1)) - running_var[c]);
            sum[c] = product[c] = 0;
        }
    }

    // In place of finish_forward where nothing is trained.
    void use_running_statistics(int row) {
        const int channels = SHAPES[row].channels;
        for (int c = 0; c < channels; c++) {
            scale[c] = weight[c] / __builtin_sqrtf(running_var[c] + 1e-5f);
            shift[c] = bias[c] - running_mean[c] * scale[c];
        }
    }

    void finish_backward(int row, int pictures) {
        const int channels = SHAPES[row].channels;
        const double n = pixels(row) * pictures;
        for (int c = 0; c < channels; c++) {
            bias_grad[c] = sum[c];
            weight_grad[c] = inverse[c] * (product[c] - mean[c] * sum[c]);
            by_dz[c] = scale[c];
            by_a[c] = -scale[c] * inverse[c] * weight_grad[c] / n;
            rest[c] = -scale[c] * bias_grad[c] / n - by_a[c] * mean[c];
        }
        for (int c = channels; c < LANES; c++) {  // for the other pixels of a span
            const int same = c % channels;
            by_dz[c] = by_dz[same], by_a[c] = by_a[same], rest[c] = rest[same];
        }
    }

    template <int L> Vec<L> backward(Vec<L> dz, Vec<L> a, int channel) const {
        return load<L>(by_dz + channel) * dz + load<L>(by_a + channel) * a + load<L>(rest + channel);
    }
};

// Sums by channel over the pixels of one picture, for its BatchNorm. Paper is the same all over:
// in float32 its thousands of equal summands would all be rounded the same way, so a row at most.
template <int C> struct Sums {
    static constexpr int L = lanes(C);
    Vec<L> sum[C / L] = {}, product[C / L] = {};
    typename Of<L>::doubles all[C / L] = {}, all_products[C / L] = {};
    void add(int v, Vec<L> a, Vec<L> b) { sum[v] += a, product[v] += a * b; }
    void end_row() {
        for (int v = 0; v < C / L; v++) {
            all[v] += __builtin_convertvector(sum[v], typename Of<L>::doubles);
            all_products[v] += __builtin_convertvector(product[v], typename Of<L>::doubles);
            sum[v] = product[v] = Vec<L>{};
        }
    }
    void add_to(Norm &norm, int channels = C) const {
        for (int c = 0; c < C; c++) {
            norm.sum[c % channels] += all[c / L][c % L];
            norm.product[c % channels] += all_products[c / L][c % L];
        }
    }
};

// A map that was activated, and what its derivative was.
template <int SIDE_, int C_> struct Map {
    static constexpr int SIDE = SIDE_, C = C_, SIZE = SIDE * SIDE * C, ROW = SIDE * C;
    // Of few channels, two pixels side by side share a register: a span is what repeats.
    static constexpr int SPAN = C < LANES && SIDE % 2 == 0 ? 2 * C : C;
    Number a[SIZE], slope[SIZE];
};

// y → a = gelu(y) and its slope; a's sums are added to the norm's.
template <class M> void activate(const float *y, M &map, Norm &norm) {
    constexpr int L = lanes(M::SPAN);
    Sums<M::SPAN> sums;
    for (int row = 0; row < M::SIZE; row += M::ROW) {
        for (int i = row; i < row + M::ROW; i += M::SPAN)
            UNROLL for (int v = 0; v < M::SPAN / L; v++) {
                const int at = i + v * L;
                Vec<L> slope;
                const Vec<L> a = gelu<L>(load<L>(y + at), &slope);
                store<L>(map.a + at, a), store<L>(map.slope + at, slope);
                sums.add(v, a, a);
            }
        sums.end_row();
    }
    sums.add_to(norm, M::C);
}

// Add a picture's sums of dz and dz·a, which make BatchNorm's gradients.
template <class M> void accumulate_gradients(const Number *dz, const M &map, Norm &norm) {
    constexpr int L = lanes(M::SPAN);
    Sums<M::SPAN> sums;
    for (int row = 0; row < M::SIZE; row += M::ROW) {
        for (int i = row; i < row + M::ROW; i += M::SPAN)
            UNROLL for (int v = 0; v < M::SPAN / L; v++)
                sums.add(v, load<L>(dz + i + v * L), load<L>(map.a + i + v * L));
        sums.end_row();
    }
    sums.add_to(norm, M::C);
}

// Put every pixel, or every STEP-th, and the one after it side by side; after the last is zero.
template <int PIXELS, int C, int STEP, class T> void pair_pixels(const T *x, uint32_t *pairs) {
    for (int p = 0; p + 1 < PIXELS; p += STEP, pairs += C)
        for (int c = 0; c < C; c++)
            pairs[c] = x[p * C + c].bits | uint32_t(x[(p + 1) * C + c].bits) << 16;
    if (STEP == 1)
        for (int c = 0; c < C; c++) pairs[c] = x[(PIXELS - 1) * C + c].bits;
}

// ---- a layer: a convolution and its weights, as the loops above want them

// O is the number of filters rounded up to a whole vector, FILTERS how many there are. T is what
// it multiplies.
template <class T, int IN_, int C_, int O_, int K_, int FILTERS = O_> struct Layer {
    static constexpr int IN = IN_, C = C_, O = O_, K = K_, TAPS = K * K;
    static constexpr int SIDE = IN - K + 1;                   // of y
    static constexpr int PAD = K - 1, WIDE = SIDE + 2 * PAD;  // dy, with zeros around it
    // Eight channels fill half a register of sixteen: two pixels side by side then share one.
    static constexpr int PAIR = O < LANES && SIDE % 2 == 0 ? 2 : 1;
    static constexpr int PAIR_BACK = C < LANES && IN % 2 == 0 ? 2 : 1;
    const float *weight, *bias;  // (FILTERS, C, K, K) and (FILTERS)
    float *weight_grad, *bias_grad;
    static constexpr int N = 4 / sizeof(T);  // numbers a word
    T forward_weights[K][K + PAIR - 1][C / N][PAIR][O][N];
    T backward_weights[K][K + PAIR_BACK - 1][O / N][PAIR_BACK][C][N];
    float offset[PAIR][O], nothing[PAIR_BACK * C];
    float gradient[K][K][C][O], bias_sum[O];
    T frame[WIDE][WIDE][O];  // dy of the picture that is on
    uint32_t x_pairs[N == 2 ? IN * IN * C : 1], dy_pairs[N == 2 ? SIDE * ((SIDE + 1) / 2) * O : 1];

    // Lay out the weights; the BatchNorm before this layer, if any, is folded into them.
    void fold(const Norm *before) {
        clear();
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
    }

    void clear() {
        memset(forward_weights, 0, sizeof forward_weights);
        memset(offset, 0, sizeof offset);
        memset(backward_weights, 0, sizeof backward_weights), memset(nothing, 0, sizeof nothing);
        memset(gradient, 0, sizeof gradient), memset(bias_sum, 0, sizeof bias_sum);
        memset(frame, 0, sizeof frame);
    }

    void run(const T *x, float *y) const {
        convolve<T, C / N, PAIR * O, K, K + PAIR - 1, PAIR, IN>(
            (const float *)x, (const float *)forward_weights, offset[0], y);
    }

    // With dy in the frame: add to the weights' gradient.
    void learn(const T *x) {
        float *dw = &gradient[0][0][0][0];
        if constexpr (N == 1) {
            add_weight_gradient<T, C, O, K, IN>(x, frame[PAD][PAD], WIDE * O, dw);
        } else {
            constexpr int ROW = (SIDE + 1) / 2 * O;
            pair_pixels<IN * IN, C, 1>(x, x_pairs);
            for (int row = 0; row < SIDE; row++)  // to the right of an odd row is zero
                pair_pixels<SIDE + 1, O, 2>(frame[row + PAD][PAD], dy_pairs + row * ROW);
            add_weight_gradient<T, C, O, K, IN>((float *)x_pairs, (float *)dy_pairs, ROW, dw);
        }
    }

    // With dy in the frame: give dx.
    template <class X> void run_back(X *dx) const {
        convolve<T, O / N, PAIR_BACK * C, K, K + PAIR_BACK - 1, PAIR_BACK, WIDE>(
            (const float *)frame, (const float *)backward_weights, nothing, dx);
    }

    // Write the gradients out. What the layer read was a, not z = scale·a + shift.
    void unfold(const Norm *before) const {
        for (int o = 0; o < FILTERS; o++) {
            bias_grad[o] = bias_sum[o];
            for (int c = 0; c < C; c++)
                for (int k = 0; k < TAPS; k++) {
                    const float g = gradient[k / K][k % K][c][o];
                    weight_grad[(o * C + c) * TAPS + k] =
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
        for (int c = 0; c < SPAN; c++) layer.bias_sum[c % Y::O] += sum[c / L][c % L];
    }
};

// dy (SIDE, SIDE, O) → the layer's frame, as it is.
template <int SIDE, class Y> void frame_whole(const float *dy, Y &layer) {
    constexpr int L = lanes(Y::O);
    Frame<Y, Y::O> frame{layer};
    for (int i = 0; i < SIDE * SIDE; i++)
        for (int v = 0; v < Y::O / L; v++)
            frame.put(i / SIDE, i % SIDE, v, load<L>(dy + i * Y::O + v * L));
}

// Back through BatchNorm and GELU: dz → dy in the layer's frame.
template <class M, class Y>
void deactivate(const Number *dz, const M &map, const Norm &norm, Y &layer) {
    constexpr int L = lanes(M::SPAN);
    Frame<Y, M::SPAN> frame{layer};
    for (int row = 0; row < M::SIDE; row++)
        for (int column = 0; column < M::ROW / M::SPAN; column++)
            UNROLL for (int v = 0; v < M::SPAN / L; v++) {
                const int at = row * M::ROW + column * M::SPAN + v * L;
                const Vec<L> da = norm.backward<L>(load<L>(dz + at), load<L>(map.a + at), v * L);
                frame.put(row, column, v, da * load<L>(map.slope + at));
            }
}

// ---- pooling: the largest z of each 2×2, then GELU

template <int SIDE, int C> struct Pooled : Map<SIDE, C> {
    Number top[SIDE * SIDE * C];  // the a, below, whose z was the largest
};

template <class M, class P> void pool(const M &below, const Norm &norm_below, P &map, Norm &norm) {
    constexpr int L = lanes(M::C);
    Sums<M::C> sums;
    for (int row = 0; row < P::SIDE; row++) {
        for (int column = 0; column < P::SIDE; column++)
            UNROLL for (int v = 0; v < M::C / L; v++) {
                const Number *corner = below.a + (2 * row * M::SIDE + 2 * column) * M::C + v * L;
                const Vec<L> scale = load<L>(norm_below.scale + v * L), zero = {};
                const Ints<L> falling = scale < zero;  // then the smallest a has the largest z
                Vec<L> top = load<L>(corner);
                UNROLL for (int k = 1; k < 4; k++) {
                    const Vec<L> next = load<L>(corner + (k / 2 * M::SIDE + k % 2) * M::C);
                    const Ints<L> larger = next > top, smaller = next < top;
                    top = (falling ? smaller : larger) ? next : top;
                }
                const int at = (row * P::SIDE + column) * M::C + v * L;
                Vec<L> slope;
                const Vec<L> a = gelu<L>(scale * top + load<L>(norm_below.shift + v * L), &slope);
                store<L>(map.top + at, top), store<L>(map.a + at, a), store<L>(map.slope + at, slope);
                sums.add(v, a, a);
            }
        sums.end_row();
    }
    sums.add_to(norm);
}

// Back through the pooled map's BatchNorm and GELU: dz → dz of the largest, in place.
template <class P> void unpool(Number *dz, const P &map, const Norm &norm, Norm &norm_below) {
    constexpr int L = lanes(P::C);
    Sums<P::C> sums;
    for (int row = 0; row < P::SIZE; row += P::SIDE * P::C) {
        for (int i = row; i < row + P::SIDE * P::C; i += P::C)
            UNROLL for (int v = 0; v < P::C / L; v++) {
                const int at = i + v * L;
                const Vec<L> da = norm.backward<L>(load<L>(dz + at), load<L>(map.a + at), v * L);
                const Vec<L> below = da * load<L>(map.slope + at);
                store<L>(dz + at, below);
                sums.add(v, below, load<L>(map.top + at));
            }
        sums.end_row();
    }
    sums.add_to(norm_below);
}

// Give each dz to the first of its four that was the largest, then as in deactivate.
template <class P, class M, class Y>
void deactivate_pooled(const Number *dz, const P &map, const M &below, const Norm &norm, Y &layer) {
    constexpr int L = lanes(M::C);
    const Vec<L> zero = {};
    Frame<Y, Y::O> frame{layer};
    for (int row = 0; row < P::SIDE; row++)
        for (int column = 0; column < P::SIDE; column++)
            UNROLL for (int v = 0; v < M::C / L; v++) {
                const int from = (row * P::SIDE + column) * M::C + v * L;
                const Vec<L> top = load<L>(map.top + from);
                Vec<L> left = load<L>(dz + from);  // until it is given
                UNROLL for (int k = 0; k < 4; k++) {
                    const int r = 2 * row + k / 2, c = 2 * column + k % 2;
                    const int at = (r * M::SIDE + c) * M::C + v * L;
                    const Vec<L> a = load<L>(below.a + at);
                    const Ints<L> is_top = a == top;
                    const Vec<L> da = norm.backward<L>(is_top ? left : zero, a, v * L);
                    left = is_top ? zero : left;
                    frame.put(r, c, v, da * load<L>(below.slope + at));
                }
            }
}

// ---- the network

template <int ROW> using MapOf = Map<SHAPES[ROW].side, SHAPES[ROW].channels>;
template <int ROW> using PooledOf = Pooled<SHAPES[ROW].side, SHAPES[ROW].channels>;
template <class T, int ROW, int PADDED = SHAPES[ROW].channels>
using LayerOf = Layer<T, SHAPES[ROW].side_in, SHAPES[ROW].inputs, PADDED, SHAPES[ROW].kernel,
                      SHAPES[ROW].channels>;

struct Network {
    LayerOf<float, CONV1> conv1;
    LayerOf<Number, CONV2> conv2;
    LayerOf<Number, CONV3> conv3;
    LayerOf<Number, CONV4> conv4;
    LayerOf<Number, CONV5> conv5;
    LayerOf<float, CLASSIFIER, PADDED_CLASSES> classifier;
    Norm norm1, norm2, norm2_pooled, norm3, norm3_pooled, norm4;
};

// What is kept of a picture for the backward pass.
struct Activations {
    float x[PIXELS];
    MapOf<CONV1> one;
    MapOf<CONV2> two;
    PooledOf<POOL1> two_pooled;
    MapOf<CONV3> three;
    PooledOf<POOL2> three_pooled;
    MapOf<CONV4> four;
    Number dz[largest_read()];  // of the map that the backward pass has reached
};

// Where the network's numbers lie, in the order of MnistNet.parameters() and buffers().
struct Cursor {
    const float *parameters;
    float *gradients, *statistics;

    template <class T> void take(T &part, int weights, int biases) {
        part.weight = parameters, part.bias = parameters + weights;
        part.weight_grad = gradients, part.bias_grad = gradients + weights;
        parameters += weights + biases, gradients += weights + biases;
    }
    template <class T> void take_layer(T &layer, int row) {
        take(layer, SHAPES[row].channels * columns(row), SHAPES[row].channels);
    }
    void take_norm(Norm &norm, int row) {
        const int channels = SHAPES[row].channels;
        take(norm, channels, channels);
        norm.running_mean = statistics, norm.running_var = statistics + channels;
        statistics += 2 * channels;
        memset(norm.sum, 0, sizeof norm.sum), memset(norm.product, 0, sizeof norm.product);
    }
};

static void connect(Network &net, Cursor at) {
    at.take_layer(net.conv1, CONV1), at.take_norm(net.norm1, CONV1);
    at.take_layer(net.conv2, CONV2), at.take_norm(net.norm2, CONV2);
    at.take_norm(net.norm2_pooled, POOL1);
    at.take_layer(net.conv3, CONV3), at.take_norm(net.norm3, CONV3);
    at.take_norm(net.norm3_pooled, POOL2);
    at.take_layer(net.conv4, CONV4), at.take_norm(net.norm4, CONV4);
    at.take_layer(net.conv5, CONV5);
    at.take_layer(net.classifier, CLASSIFIER);
}

static void forward(Network &net, Activations *pictures, int n) {
    float y[largest_output()];
    net.conv1.fold(nullptr);
    for (Activations *k = pictures; k < pictures + n; k++)
        net.conv1.run(k->x, y), activate(y, k->one, net.norm1);
    net.norm1.finish_forward(CONV1, n);
    net.conv2.fold(&net.norm1);
    for (Activations *k = pictures; k < pictures + n; k++)
        net.conv2.run(k->one.a, y), activate(y, k->two, net.norm2);
    net.norm2.finish_forward(CONV2, n);
    for (Activations *k = pictures; k < pictures + n; k++)
        pool(k->two, net.norm2, k->two_pooled, net.norm2_pooled);
    net.norm2_pooled.finish_forward(POOL1, n);
    net.conv3.fold(&net.norm2_pooled);
    for (Activations *k = pictures; k < pictures + n; k++)
        net.conv3.run(k->two_pooled.a, y), activate(y, k->three, net.norm3);
    net.norm3.finish_forward(CONV3, n);
    for (Activations *k = pictures; k < pictures + n; k++)
        pool(k->three, net.norm3, k->three_pooled, net.norm3_pooled);
    net.norm3_pooled.finish_forward(POOL2, n);
    net.conv4.fold(&net.norm3_pooled);
    for (Activations *k = pictures; k < pictures + n; k++)
        net.conv4.run(k->three_pooled.a, y), activate(y, k->four, net.norm4);
    net.norm4.finish_forward(CONV4, n);
}

struct Prediction {
    double loss;
    int correct;
};

// The cross-entropy of one picture's logits against its target, ten probabilities, times `weight`;
// they become its derivatives.
static Prediction cross_entropy(float *logits, const float *target, float weight) {
    int best = 0, wanted = 0;
    double total = 0, loss = 0;
    for (int k = 0; k < CLASSES; k++) {
        best = logits[k] > logits[best] ? k : best;
        wanted = target[k] > target[wanted] ? k : wanted;
    }
    for (int k = 0; k < CLASSES; k++) total += __builtin_exp(double(logits[k]) - logits[best]);
    const double norm = logits[best] + __builtin_log(total);  // log-softmax is logit - norm
    for (int k = 0; k < CLASSES; k++) {
        loss += target[k] * (norm - logits[k]);
        logits[k] = weight * (__builtin_exp(logits[k] - norm) - target[k]);
    }
    memset(logits + CLASSES, 0, (PADDED_CLASSES - CLASSES) * sizeof(float));  // the padding
    return {weight * loss, best == wanted};
}

// The last two layers, forward and backward: no BatchNorm between them waits for the batch.
static Prediction head(Network &net, Activations &k, const float *target, float weight) {
    float y[size(CONV5)], dy[size(CONV5)], logits[PADDED_CLASSES];
    net.conv5.run(k.four.a, y);
    net.classifier.run(y, logits);
    const Prediction prediction = cross_entropy(logits, target, weight);
    frame_whole<SHAPES[CLASSIFIER].side>(logits, net.classifier);
    net.classifier.learn(y);
    net.classifier.run_back(dy);
    frame_whole<SHAPES[CONV5].side>(dy, net.conv5);
    net.conv5.learn(k.four.a);
    net.conv5.run_back(k.dz);
    accumulate_gradients(k.dz, k.four, net.norm4);
    return prediction;
}

static void backward(Network &net, Activations *pictures, int n) {
    net.norm4.finish_backward(CONV4, n);
    for (Activations *k = pictures; k < pictures + n; k++) {
        deactivate(k->dz, k->four, net.norm4, net.conv4);
        net.conv4.learn(k->three_pooled.a);
        net.conv4.run_back(k->dz);
        accumulate_gradients(k->dz, k->three_pooled, net.norm3_pooled);
    }
    net.norm3_pooled.finish_backward(POOL2, n);
    for (Activations *k = pictures; k < pictures + n; k++)
        unpool(k->dz, k->three_pooled, net.norm3_pooled, net.norm3);
    net.norm3.finish_backward(CONV3, n);
    for (Activations *k = pictures; k < pictures + n; k++) {
        deactivate_pooled(k->dz, k->three_pooled, k->three, net.norm3, net.conv3);
        net.conv3.learn(k->two_pooled.a);
        net.conv3.run_back(k->dz);
        accumulate_gradients(k->dz, k->two_pooled, net.norm2_pooled);
    }
    net.norm2_pooled.finish_backward(POOL1, n);
    for (Activations *k = pictures; k < pictures + n; k++)
        unpool(k->dz, k->two_pooled, net.norm2_pooled, net.norm2);
    net.norm2.finish_backward(CONV2, n);
    for (Activations *k = pictures; k < pictures + n; k++) {
        deactivate_pooled(k->dz, k->two_pooled, k->two, net.norm2, net.conv2);
        net.conv2.learn(k->one.a);
        net.conv2.run_back(k->dz);
        accumulate_gradients(k->dz, k->one, net.norm1);
    }
    net.norm1.finish_backward(CONV1, n);
    for (Activations *k = pictures; k < pictures + n; k++) {
        deactivate(k->dz, k->one, net.norm1, net.conv1);
        net.conv1.learn(k->x);
    }
    net.conv1.unfold(nullptr), net.conv2.unfold(&net.norm1), net.conv3.unfold(&net.norm2_pooled);
    net.conv4.unfold(&net.norm3_pooled), net.conv5.unfold(&net.norm4), net.classifier.unfold(nullptr);
}

// ---- what compiled.py calls

extern "C" int64_t workspace_bytes(int64_t n) { return sizeof(Network) + n * sizeof(Activations); }

// parameters, gradients: float (20826), in the order of MnistNet.parameters().
// statistics: float (272), each BatchNorm's running mean and variance in turn; updated.
// images: uint8 (n, 28, 28); labels: int64 (n), 0-9.
// brightness, darkness: a pixel's value is brightness·grey + darkness.
// weight: of a picture's loss in the batch's mean. smoothing: see smoothed_loss.
// workspace: workspace_bytes(n) bytes, aligned as malloc does.
// correct: written, the number of correct predictions. Returns the share's part of the batch's loss.
extern "C" double gradients(const float *parameters, float *gradients, float *statistics,
                            const uint8_t *images, const float *targets, int64_t n,
                            float brightness, float darkness, float weight,
                            char *workspace, int64_t *correct) {
    Network &net = *(Network *)workspace;
    Activations *pictures = (Activations *)(workspace + sizeof(Network));
    connect(net, {parameters, gradients, statistics});
    for (int64_t i = 0; i < n; i++)
        for (int p = 0; p < PIXELS; p++)
            pictures[i].x[p] = images[i * PIXELS + p] * brightness + darkness;
    forward(net, pictures, n);
    double loss = 0;
    net.conv5.fold(&net.norm4), net.classifier.fold(nullptr);
    for (int64_t i = 0; i < n; i++) {
        const Prediction prediction = head(net, pictures[i], targets + i * CLASSES, weight);
        loss += prediction.loss, *correct += prediction.correct;
    }
    backward(net, pictures, n);
    return loss;
}

// The network as it is used: logits, float (n, 10), with the statistics that it has gathered.
extern "C" void logits(float *parameters, float *statistics, const uint8_t *images, int64_t n,
                       float brightness, float darkness, char *workspace, float *logits) {
    Network &net = *(Network *)workspace;
    Activations &k = *(Activations *)(workspace + sizeof(Network));  // of one image at a time
    connect(net, {parameters, parameters, statistics});  // there are no gradients to write
    net.norm1.use_running_statistics(CONV1);
    net.norm2.use_running_statistics(CONV2);
    net.norm2_pooled.use_running_statistics(POOL1);
    net.norm3.use_running_statistics(CONV3);
    net.norm3_pooled.use_running_statistics(POOL2);
    net.norm4.use_running_statistics(CONV4);
    net.conv1.fold(nullptr), net.conv2.fold(&net.norm1), net.conv3.fold(&net.norm2_pooled);
    net.conv4.fold(&net.norm3_pooled), net.conv5.fold(&net.norm4), net.classifier.fold(nullptr);
    float y[largest_output()], answer[PADDED_CLASSES];
    for (int64_t i = 0; i < n; i++) {
        for (int p = 0; p < PIXELS; p++) k.x[p] = images[i * PIXELS + p] * brightness + darkness;
        net.conv1.run(k.x, y), activate(y, k.one, net.norm1);
        net.conv2.run(k.one.a, y), activate(y, k.two, net.norm2);
        pool(k.two, net.norm2, k.two_pooled, net.norm2_pooled);
        net.conv3.run(k.two_pooled.a, y), activate(y, k.three, net.norm3);
        pool(k.three, net.norm3, k.three_pooled, net.norm3_pooled);
        net.conv4.run(k.three_pooled.a, y), activate(y, k.four, net.norm4);
        net.conv5.run(k.four.a, y);
        net.classifier.run(y, answer);
        memcpy(logits + i * CLASSES, answer, CLASSES * sizeof(float));
    }
}
