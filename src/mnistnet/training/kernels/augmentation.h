// Augmentation of one image, float (28, 28), by the random numbers drawn for it (see draws.py):
// warp, stroke, downsample, contrast, noise, each where there are draws for it.
#pragma once

#include "interface.h"
#include "shapes.h"
#include "vectors.h"

namespace {

constexpr int KNOTS = 5;    // the elastic field is drawn on 5×5 points and smooth in between
constexpr int STRIDE = 32;  // a row of 28 pixels, in whole vectors
constexpr float HALF = SIDE / 2.0f;  // pixels from the centre to the edge, coordinates -1 to 1
constexpr int COARSE = 7;            // side of coarse noise
static_assert(SIDE == 28, "rows of 28 pixels in 32");

struct Image {
    float of[SIDE][STRIDE];
};

// Weights of the knots at each pixel of a side: bicubic, a = -0.75, corners aligned; as torch.
struct KnotWeights {
    float of[SIDE][KNOTS] = {}, transposed[KNOTS][STRIDE] = {};
    KnotWeights() {
        for (int p = 0; p < SIDE; p++) {
            const float at = p * float(KNOTS - 1) / (SIDE - 1);
            const int first = at >= KNOTS - 1 ? KNOTS - 1 : int(at);
            for (int tap = -1; tap <= 2; tap++) {
                const int near = first + tap, inside = near < 0 ? 0 : near;
                of[p][inside < KNOTS ? inside : KNOTS - 1] += cubic(at - near);
            }
            for (int knot = 0; knot < KNOTS; knot++) transposed[knot][p] = of[p][knot];
        }
    }
    static float cubic(float t) {
        const float a = -0.75f, x = t < 0 ? -t : t;
        if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    }
};

// ---- warp: one bilinear resampling, zero outside

// An image of bytes with zeros around it: a corner of four is at (row + 1, column + 1).
struct Source {
    uint8_t of[SIDE + 4][STRIDE] = {};
    explicit Source(const uint8_t *image) {
        for (int row = 0; row < SIDE; row++) memcpy(of[row + 1] + 1, image + row * SIDE, SIDE);
    }
};

// The four bytes from each index on.
template <int N> inline Ints<N> gather(const uint8_t *bytes, Ints<N> index) {
#if defined(__AVX512F__)
    if constexpr (N == 16) return (Ints<N>)_mm512_i32gather_epi32((__m512i)index, bytes, 1);
#endif
#if defined(__AVX2__)
    if constexpr (N == 8)
        return (Ints<N>)_mm256_i32gather_epi32((const int *)bytes, (__m256i)index, 1);
#endif
    Ints<N> words;
    for (int lane = 0; lane < N; lane++) {
        int32_t word;
        memcpy(&word, bytes + index[lane], sizeof word);
        words[lane] = word;
    }
    return words;
}

// Grey at coordinates (x, y) of -1 to 1, corners not aligned.
template <int N> inline Vec<N> sample(const Source &source, Vec<N> x, Vec<N> y) {
    const Vec<N> least = Vec<N>{} - 1.0f, most = Vec<N>{} + float(SIDE);
    x = x * HALF + (HALF - 0.5f), y = y * HALF + (HALF - 0.5f);
    x = smaller<N>(larger<N>(x, least), most), y = smaller<N>(larger<N>(y, least), most);
    const Ints<N> column = __builtin_convertvector(x + 1.0f, Ints<N>);  // rounded towards 0
    const Ints<N> row = __builtin_convertvector(y + 1.0f, Ints<N>);
    const Vec<N> right = x + 1.0f - __builtin_convertvector(column, Vec<N>);
    const Vec<N> down = y + 1.0f - __builtin_convertvector(row, Vec<N>);
    const Ints<N> index = row * STRIDE + column;
    const Ints<N> above = gather<N>(source.of[0], index);
    const Ints<N> below = gather<N>(source.of[1], index);
    auto across = [&](Ints<N> pair) {
        const Vec<N> a = __builtin_convertvector(pair & 255, Vec<N>);
        const Vec<N> b = __builtin_convertvector(pair >> 8 & 255, Vec<N>);
        return a + (b - a) * right;
    };
    const Vec<N> upper = across(above), lower = across(below);
    return upper + (lower - upper) * down;
}

// Coordinates of pixels, and of what fills a row up.
struct Centres {
    float of[STRIDE] = {};
    constexpr Centres() {
        for (int p = 0; p < STRIDE; p++) of[p] = (p + 0.5f) / HALF - 1;
    }
};

// grid: the weights of x, y and 1 in each coordinate; then those of the knots in each.
void warp(const uint8_t *image, const float *grid, bool elastic, const KnotWeights &knots,
          Image &out) {
    constexpr int N = LANES;
    static constexpr Centres centres;
    const Source source(image);
    for (int row = 0; row < SIDE; row++) {
        const float y = centres.of[row];
        float along[2][KNOTS] = {};  // the elastic field of this row, at the knots' columns
        for (int k = 0; elastic && k < 2 * KNOTS * KNOTS; k++)
            along[k / (KNOTS * KNOTS)][k % KNOTS] +=
                grid[6 + k] * knots.of[row][k % (KNOTS * KNOTS) / KNOTS];
        for (int column = 0; column < STRIDE; column += N) {
            const Vec<N> x = load<N>(centres.of + column);
            Vec<N> at[2];
            for (int i = 0; i < 2; i++) {
                at[i] = x * grid[3 * i] + (grid[3 * i + 1] * y + grid[3 * i + 2]);
                for (int k = 0; elastic && k < KNOTS; k++)
                    at[i] += along[i][k] * load<N>(knots.transposed[k] + column);
            }
            store<N>(out.of[row] + column, sample<N>(source, at[0], at[1]));
        }
    }
}

// ---- stroke

// The largest of each pixel and its eight neighbours, or, if `least`, the smallest.
void over_neighbours(const Image &x, bool least, Image &out) {
    auto extreme = [=](float a, float b) { return (a > b) == least ? b : a; };
    Image across;
    for (int row = 0; row < SIDE; row++) {
        const float *in = x.of[row];
        across.of[row][0] = extreme(in[0], in[1]);
        for (int p = 1; p < SIDE - 1; p++)
            across.of[row][p] = extreme(extreme(in[p - 1], in[p]), in[p + 1]);
        across.of[row][SIDE - 1] = extreme(in[SIDE - 2], in[SIDE - 1]);
    }
    for (int row = 0; row < SIDE; row++) {
        const float *above = across.of[row ? row - 1 : 0], *here = across.of[row];
        const float *below = across.of[row < SIDE - 1 ? row + 1 : row];
        for (int p = 0; p < SIDE; p++)
            out.of[row][p] = extreme(extreme(above[p], here[p]), below[p]);
    }
}

// One grey dilation or erosion moves an edge by a pixel; a fraction of a pixel is a blend.
void dilate_or_erode(Image &x, float px) {
    const bool erode = px < 0;
    const float amount = erode ? -px : px;
    Image moved;
    for (int step = 0; step < amount && step < SIDE; step++) {
        float part = amount - step < 1 ? amount - step : 1;
        if (erode) part *= 0.6f;
        over_neighbours(x, erode, moved);
        for (int row = 0; row < SIDE; row++)
            for (int p = 0; p < SIDE; p++)
                x.of[row][p] += part * (moved.of[row][p] - x.of[row][p]);
        if (erode) break;  // twice would make thin strokes vanish
    }
}

// ---- downsample

// in (SIDE), every `stride`-th → out alike, averaged to `side` numbers and interpolated back.
void downsample_line(float *line, int stride, int side) {
    float small[SIDE];
    for (int i = 0; i < side; i++) {
        const int from = i * SIDE / side, to = ((i + 1) * SIDE + side - 1) / side;
        float sum = 0;
        for (int p = from; p < to; p++) sum += line[p * stride];
        small[i] = sum / (to - from);
    }
    for (int p = 0; p < SIDE; p++) {
        float at = (p + 0.5f) * side / SIDE - 0.5f;
        at = at > 0 ? at : 0;
        const int i = int(at), next = i + 1 < side ? i + 1 : i;
        line[p * stride] = small[i] + (at - i) * (small[next] - small[i]);
    }
}

void downsample(Image &x, int side) {
    for (int row = 0; row < SIDE; row++) downsample_line(x.of[row], 1, side);
    for (int column = 0; column < SIDE; column++) downsample_line(x.of[0] + column, STRIDE, side);
}

// ---- contrast and noise

void change_contrast(Image &x, float black, float gain, float top) {
    for (int row = 0; row < SIDE; row++)
        for (int p = 0; p < SIDE; p++) {
            const float moved = (x.of[row][p] - black) * gain;
            const float floored = moved > 0 ? moved : 0;
            x.of[row][p] = floored < top ? floored : top;
        }
}

void add_grain(Image &x, const float *grain, float level) {
    for (int row = 0; row < SIDE; row++)
        for (int p = 0; p < SIDE; p++) x.of[row][p] += grain[row * SIDE + p] * level;
}

// Between the points of `coarse`, bilinear; where positive.
void add_stains(Image &x, const float *coarse, float level) {
    int first[SIDE], second[SIDE];
    float part[SIDE];
    for (int p = 0; p < SIDE; p++) {
        const float at = (p + 0.5f) * COARSE / SIDE - 0.5f, clamped = at > 0 ? at : 0;
        first[p] = int(clamped), part[p] = clamped - first[p];
        second[p] = first[p] + 1 < COARSE ? first[p] + 1 : first[p];
    }
    for (int row = 0; row < SIDE; row++)
        for (int p = 0; p < SIDE; p++) {
            auto across = [&](int line) {
                const float *of = coarse + line * COARSE, a = of[first[p]], b = of[second[p]];
                return a + part[p] * (b - a);
            };
            const float upper = across(first[row]), lower = across(second[row]);
            const float stain = upper + part[row] * (lower - upper);
            x.of[row][p] += (stain > 0 ? stain : 0) * level * 2;
        }
}

void cut_gaps(Image &x, const float *coarse) {
    for (int row = 0; row < SIDE; row++)
        for (int p = 0; p < SIDE; p++)
            x.of[row][p] *= 1 - coarse[row * COARSE / SIDE * COARSE + p * COARSE / SIDE];
}

// image: uint8 (28, 28); i: its row in the draws.
void augment(const uint8_t *image, const Draws &draws, int64_t i, const KnotWeights &knots,
             Image &x) {
    if (draws.grid) {
        warp(image, draws.grid + i * draws.grid_columns, draws.grid_columns > 6, knots, x);
    } else {
        for (int p = 0; p < PIXELS; p++) x.of[p / SIDE][p % SIDE] = image[p];
    }
    if (draws.stroke && draws.stroke[i] != 0) dilate_or_erode(x, draws.stroke[i]);
    if (draws.downsample && draws.downsample[i]) downsample(x, draws.downsample[i]);
    const float *contrast = draws.contrast ? draws.contrast + 3 * i : nullptr;
    if (contrast && contrast[1] != 0) change_contrast(x, contrast[0], contrast[1], contrast[2]);
    const int kind = draws.noise_kind ? draws.noise_kind[i] : NO_NOISE;
    if (kind == NO_NOISE) return;
    const int64_t from = draws.noise_offset[i] * int64_t(kind == GRAIN ? PIXELS : COARSE * COARSE);
    if (kind == GRAIN) add_grain(x, draws.grain + from, draws.noise_level[i]);
    if (kind == STAIN) add_stains(x, draws.coarse + from, draws.noise_level[i]);
    if (kind == GAPS) cut_gaps(x, draws.coarse + from);
}

// Whole grey levels, 0–255.
inline Vec<4> whole_grey(const float *x) {
    const Vec<4> zero = {};
    return rounded<4>(smaller<4>(larger<4>(load<4>(x), zero), zero + 255.0f));
}

void augment_to_bytes(const uint8_t *image, const Draws &draws, int64_t i,
                      const KnotWeights &knots, uint8_t *out) {
    Image x;
    augment(image, draws, i, knots, x);
    for (int p = 0; p < PIXELS; p += 4) {
        const Vec<4> grey = whole_grey(x.of[p / SIDE] + p % SIDE);
        for (int lane = 0; lane < 4; lane++) out[p + lane] = uint8_t(grey[lane]);
    }
}

// Into the network's input.
void augment_to_input(const uint8_t *image, const Draws &draws, int64_t i,
                      const KnotWeights &knots, float *out) {
    Image x;
    augment(image, draws, i, knots, x);
    for (int p = 0; p < PIXELS; p += 4)
        store<4>(out + p, whole_grey(x.of[p / SIDE] + p % SIDE) * BRIGHTNESS + DARKNESS);
}

}  // namespace
